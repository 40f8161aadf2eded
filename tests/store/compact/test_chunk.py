"""A chunk of `compact`, from logits to bytes and back.

Shape letters: G views, S samples, C classes.
"""

import os
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.errors import InvalidInputError
from kdrec.store.compact import CompactCodec, Dial, fit_grid
from kdrec.store.compact.divergence import divergences

Logits = npt.NDArray[np.float32]
CODEC = CompactCodec(step=0.22, spread=16.0, max_kl=2.5e-4)


def teacher_logits(num_views: int, num_samples: int, num_classes: int, *, seed: int = 0) -> Logits:
    """Views of the same samples, a class far above the rest, classes that go together."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(num_classes, 6))
    samples_S = 4 * generator.normal(size=(num_samples, 6)) @ mixing.T
    noise = generator.normal(size=(num_views, num_samples, num_classes))
    return (samples_S + noise).astype(np.float32)


def divergence(teacher: Logits, decoded: Logits) -> float:
    flat = [x.reshape(-1, x.shape[-1]).T.copy() for x in (teacher, decoded)]
    return float(divergences(*flat).mean(axis=2).max())


@pytest.mark.parametrize("max_kl", [2.5e-5, 2.5e-4, 2e-3])
@pytest.mark.parametrize("shape", [(8, 300, 40), (4, 100, 10), (2, 9, 1000), (1, 1, 40), (1, 1, 1)])
def test_a_chunk_keeps_the_mean_divergence_whatever_the_grid_was_fitted_to(
    shape: tuple[int, int, int], max_kl: float
) -> None:
    fitted_to = teacher_logits(1, 64, shape[2], seed=9) * np.float32(0.3)
    grid = fit_grid(np.ascontiguousarray(fitted_to[0].T), Dial(max_kl=max_kl))
    codec = CompactCodec(grid.step, grid.spread, max_kl)
    teacher = teacher_logits(*shape)
    decoded = codec.decode_chunk(codec.encode_chunk(teacher), shape)
    assert divergence(teacher, decoded) <= max_kl


@pytest.mark.parametrize(
    ("name", "logits"),
    [
        ("narrow", np.clip(teacher_logits(8, 200, 40), -7, 7)),
        ("ten classes", teacher_logits(8, 200, 10)),
        ("a thousand classes", teacher_logits(2, 40, 1000)),
        ("constant", np.full((8, 200, 40), 3.5, dtype=np.float32)),
        ("huge", teacher_logits(8, 200, 40) * np.float32(4000)),
        ("sorted by class", np.sort(teacher_logits(8, 200, 40), axis=1)),
        ("one sample", teacher_logits(8, 1, 40)),
        ("one view", teacher_logits(1, 200, 40)),
        ("one record", teacher_logits(1, 1, 40)),
    ],
)
def test_any_teacher_fits_in_less_than_float16(name: str, logits: Logits) -> None:
    some = logits.reshape(-1, logits.shape[-1])[::7]
    grid = fit_grid(np.ascontiguousarray(some.T), Dial(max_kl=2.5e-4))
    codec = CompactCodec(grid.step, grid.spread, 2.5e-4)
    data = codec.encode_chunk(logits)
    assert len(data) < 2 * logits.size + 20, name  # float16 and its checksum, header, codec
    assert divergence(logits, codec.decode_chunk(data, logits.shape)) <= 2.5e-4


@settings(deadline=None, max_examples=40)
@given(
    filled=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 3)),
    data=st.data(),
)
def test_padding_comes_back_as_nan_and_nothing_else_does(
    filled: tuple[int, int], padding: tuple[int, int], data: st.DataObject
) -> None:
    logits = data.draw(arrays(np.float32, (*filled, 4), elements=st.floats(-60, 60, width=32)))
    shape = (filled[0] + padding[0], filled[1] + padding[1], 4)
    padded = np.full(shape, np.nan, dtype=np.float32)
    padded[: filled[0], : filled[1]] = logits
    decoded = CODEC.decode_chunk(CODEC.encode_chunk(padded), shape)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(padded))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_among_the_records_is_refused(value: float) -> None:
    logits = teacher_logits(2, 5, 4)
    logits[1, 2, 3] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        CODEC.encode_chunk(logits)


def test_a_logit_beyond_the_grid_is_refused() -> None:
    logits = teacher_logits(2, 5, 4)
    logits[0, 0, 0] = 1e9
    with pytest.raises(ValueError, match=r"holds logits up to .* got 1e\+09; use --enc"):
        CODEC.encode_chunk(logits)


def test_no_cut_or_flipped_chunk_allocates_or_crashes() -> None:
    """Checksums find damage before; a decoder still meets hostile bytes with ValueError alone."""
    data = bytearray(CODEC.encode_chunk(teacher_logits(3, 20, 6)))
    generator = np.random.default_rng(0)
    for _ in range(300):
        hostile = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            hostile[place] ^= 1 << generator.integers(0, 8)
        cut = bytes(hostile[: generator.integers(0, len(data) + 1)])
        for damaged in (bytes(hostile), cut):
            try:
                decoded = CODEC.decode_chunk(damaged, (3, 20, 6))
            except ValueError:
                continue
            assert decoded.shape == (3, 20, 6)


def test_a_chunk_that_says_to_be_larger_than_it_may_is_refused() -> None:
    data = CODEC.encode_chunk(teacher_logits(3, 20, 6))
    with pytest.raises(ValueError, match="holds"):
        CODEC.decode_chunk(data, (3, 19, 6))
    with pytest.raises(ValueError, match="a chunk has step"):
        CODEC.decode_chunk(data[:12] + struct.pack("<d", 1e-300) + data[20:], (3, 20, 6))
    with pytest.raises(ValueError, match="version 7"):
        CODEC.decode_chunk(b"\x07" + data[1:], (3, 20, 6))


_SCRIPT = """
import sys
from hashlib import sha256
import numpy as np
from tests.store.compact.test_chunk import CODEC, teacher_logits
data = CODEC.encode_chunk(teacher_logits(8, 3000, 41))
print(sha256(data).hexdigest(), sha256(CODEC.decode_chunk(data, (8, 3000, 41))).hexdigest())
"""


@pytest.mark.parametrize("settings", [{"OMP_NUM_THREADS": "1"}, {"OPENBLAS_CORETYPE": "Prescott"}])
def test_bytes_and_values_are_the_same_on_any_threads_and_blas(settings: dict[str, str]) -> None:
    logits = teacher_logits(8, 3000, 41)
    data = CODEC.encode_chunk(logits)
    decoded = CODEC.decode_chunk(data, logits.shape)
    here = sha256(data).hexdigest(), sha256(decoded.tobytes()).hexdigest()
    root = Path(__file__).parents[3]
    there = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=os.environ | settings | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(there.stdout.split()) == here


@pytest.mark.parametrize(
    "asked", [{}, {"max_kl": 1e-3, "max_error": 0.1}, {"max_kl": 0.0}, {"max_error": 5.0}]
)
def test_a_fidelity_that_cannot_be_is_refused(asked: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"max_kl|max_error"):
        Dial(**asked)
