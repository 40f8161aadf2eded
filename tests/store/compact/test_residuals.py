"""Residuals to streams and back.

Shape letters: G views, K columns, S samples.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec.store.compact.residuals import decode_residuals, encode_residuals, measure_levels

Integers = npt.NDArray[np.int32]


def dealt(shape: tuple[int, int, int], *, seed: int, scale: float) -> tuple[Integers, Integers]:
    """Residuals, 0 in the top class, and the top classes."""
    generator = np.random.default_rng(seed)
    sizes = scale * generator.gamma(1.0, size=(1, shape[1], shape[2]))
    residuals = np.rint(sizes * generator.normal(size=shape)).astype(np.int32)
    tops = generator.integers(shape[1] - 1, size=(shape[0], shape[2]), dtype=np.int32)
    np.put_along_axis(residuals, tops[:, None], 0, axis=1)
    return residuals, tops


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 9), st.integers(1, 40)),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.0, 1.0, 100.0, 1e6]),
    by_size=st.booleans(),
)
def test_any_residuals_come_back(
    shape: tuple[int, int, int], seed: int, scale: float, by_size: bool
) -> None:
    residuals, tops = dealt(shape, seed=seed, scale=scale)
    levels = measure_levels(residuals, tops)
    streams = encode_residuals(residuals, tops, levels, by_size=by_size)
    assert sum(map(len, streams.values())) == residuals.size - tops.size
    found = decode_residuals(streams, tops, levels, by_size=by_size)
    np.testing.assert_array_equal(found, residuals)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_stream_of_another_length_is_refused(change: int) -> None:
    residuals, tops = dealt((3, 6, 50), seed=0, scale=5.0)
    levels = measure_levels(residuals, tops)
    streams = encode_residuals(residuals, tops, levels, by_size=True)
    number = max(streams, key=lambda n: len(streams[n]))
    streams[number] = np.resize(streams[number], len(streams[number]) + change)
    with pytest.raises(ValueError, match=r"too short|too long"):
        decode_residuals(streams, tops, levels, by_size=True)


def test_records_that_came_out_large_go_to_streams_of_their_own() -> None:
    residuals, tops = dealt((6, 20, 400), seed=1, scale=1.0)
    residuals[:, :, ::2] *= 8
    levels = measure_levels(residuals, tops)
    streams = encode_residuals(residuals, tops, levels, by_size=True)
    sizes = [float(np.abs(streams[number]).mean()) for number in sorted(streams)]
    assert sizes[0] < 0.5 * sizes[-1]
