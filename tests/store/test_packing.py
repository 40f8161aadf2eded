"""Parameters packed to the bits of their grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.store.packing import PackedGridCodec

columns = st.tuples(st.integers(-(2**20), 2**20), st.integers(0, 2**20), st.integers(0, 20)).map(
    lambda c: (c[0], c[0] + c[1], c[2])
)


@given(
    grid=st.lists(columns, min_size=1, max_size=4),
    filled=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
def test_any_values_on_the_grid_come_back_bit_for_bit(
    grid: list[tuple[int, int, int]], filled: tuple[int, int], seed: int
) -> None:
    codec = PackedGridCodec(tuple(grid))
    generator = np.random.default_rng(seed)
    values = np.full((4, 6, len(grid)), np.nan, dtype=np.float32)
    for column, (low, high, exponent) in enumerate(grid):
        numbers = generator.integers(low, high, filled, endpoint=True)
        values[: filled[0], : filled[1], column] = np.ldexp(numbers.astype(float), -exponent)
    data = codec.encode_chunk(values)
    np.testing.assert_array_equal(codec.decode_chunk(data, values.shape), values)
    bits = filled[0] * filled[1] * sum(int(high - low).bit_length() for low, high, _ in grid)
    assert len(data) == 6 + -(-bits // 8)


@pytest.mark.parametrize("value", [0.3, 9.0, -1.0, np.nan])
def test_a_value_off_the_grid_is_refused(value: float) -> None:
    values = np.zeros((2, 3, 1), dtype=np.float32)
    values[1, 1, 0] = value
    with pytest.raises(ValueError, match=r"off its grid|NaN"):
        PackedGridCodec(((0, 8, 2),)).encode_chunk(values)


def test_a_chunk_of_another_shape_is_refused() -> None:
    codec = PackedGridCodec(((0, 8, 2),))
    data = codec.encode_chunk(np.zeros((2, 3, 1), dtype=np.float32))
    for damaged, shape in ((data, (1, 3, 1)), (data[:-1], (2, 3, 1)), (b"", (2, 3, 1))):
        with pytest.raises(ValueError, match="chunk of parameters"):
            codec.decode_chunk(damaged, shape)
