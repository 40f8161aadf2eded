"""How far decoded logits are off, measured and foreseen.

Shape letters: K records, C classes.
"""

import numpy as np
import pytest

from kdrec.store.compact import WIDEST, Grid, mean_divergence
from kdrec.store.compact.divergence import PRECISION, divergences, expected_divergence
from tests.store.compact.test_chunk import teacher_logits


@pytest.mark.parametrize("step", [0.05, 0.2])
@pytest.mark.parametrize("spread", [16.0, 23.0])
def test_what_a_grid_will_cost_is_foreseen_within_a_few_percent(step: float, spread: float) -> None:
    logits_CK = np.ascontiguousarray(teacher_logits(1, 6000, 40)[0].T)
    grid = Grid(step, spread)
    steps_K, cells_CK = grid.quantize(logits_CK)
    decoded_CK = grid.restore(steps_K, cells_CK)
    measured = mean_divergence(logits_CK, lambda piece: decoded_CK[:, piece])
    foreseen = step**2 * expected_divergence(logits_CK, spread, WIDEST)
    assert foreseen == pytest.approx(measured, rel=0.1)


def test_single_precision_measures_as_closely_as_is_said() -> None:
    logits_CK = np.ascontiguousarray(teacher_logits(1, 3000, 40)[0].T)
    grid = Grid(0.01, 16.0)
    decoded_CK = grid.restore(*grid.quantize(logits_CK))
    exact = divergences(logits_CK.astype(np.float64), decoded_CK.astype(np.float64))
    measured = mean_divergence(logits_CK, lambda piece: decoded_CK[:, piece])
    assert measured == pytest.approx(exact.mean(axis=2).max(), abs=PRECISION)
    few = mean_divergence(logits_CK[:, :3], lambda piece: decoded_CK[:, :3][:, piece])
    assert few == pytest.approx(exact[:, :, :3].mean(axis=2).max(), abs=1e-12)
