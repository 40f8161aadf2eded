from pathlib import Path

import pytest

from bench.odd_logits import measure_odd, odd_logits


@pytest.mark.parametrize("name", odd_logits())
def test_logits_of_any_kind_take_no_more_than_float16(name: str, tmp_path: Path) -> None:
    sizes = measure_odd(tmp_path / "odd", odd_logits()[name])
    assert sizes.compact <= max(sizes.half, sizes.numbers)
    assert sizes.divergence <= 2.5e-4
