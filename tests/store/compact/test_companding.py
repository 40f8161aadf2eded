"""Logits to integers and back.

Shape letters: K records, C classes.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kdrec.store import EncodingPlan, beyond_bound, find_encoding
from kdrec.store.compact import Dial, Grid, fit_grid
from kdrec.store.compact.fitting import BALANCED

Logits = npt.NDArray[np.float32]


def logits(most: float) -> st.SearchStrategy[Logits]:
    shapes = array_shapes(min_dims=2, max_dims=2, max_side=12)
    return arrays(np.float32, shapes, elements=st.floats(-most, most, width=32))


@settings(deadline=None)
@given(logits_CK=logits(2000.0), step=st.sampled_from([0.01, 0.22, 0.5]))
def test_a_uniform_grid_is_never_off_by_more_than_half_a_step(
    logits_CK: Logits, step: float
) -> None:
    grid = Grid(step)
    error = np.abs(grid.restore(*grid.quantize(logits_CK)).astype(np.float64) - logits_CK)
    assert (error <= step / 2 + 2.0**-23 * np.abs(logits_CK)).all()


@settings(deadline=None)
@given(logits_CK=logits(2000.0), max_kl=st.sampled_from([2.5e-5, 2.5e-4, 1e-2]))
def test_a_widening_grid_keeps_the_bound_that_is_stated(logits_CK: Logits, max_kl: float) -> None:
    fitted = find_encoding("compact").fit(
        EncodingPlan(name="compact", max_kl=max_kl), np.ascontiguousarray(logits_CK.T)
    )
    codec = fitted.arrays[0].serializer
    grid = Grid(codec.step, codec.spread)
    decoded_CK = grid.restore(*grid.quantize(logits_CK))
    assert not beyond_bound(logits_CK.T, decoded_CK.T, (fitted.bound,)).any()


@pytest.mark.parametrize(
    ("step", "spread"),
    [(0.5, 64.0), (0.25, 8.0), (0.22, 16.0), (0.01, 16.0), (2.0**-11, 8.0), (2.0**-12, 8.0)],
)
def test_the_fast_way_to_a_cell_finds_the_one_whose_border_is_next(
    step: float, spread: float
) -> None:
    from kdrec.store.compact.companding import _borders

    ends = _borders(step, spread).ends
    near = np.nextafter(ends, np.float32(np.inf)), ends, np.nextafter(ends, np.float32(0))
    drawn = np.random.default_rng(0).random(20_000, dtype=np.float32) * ends[-1]
    depths = np.concatenate([*near, drawn, [np.float32(0)]])
    depths = depths[depths <= ends[-1]]
    cells_CK = Grid(step, spread).quantize(np.stack([np.zeros_like(depths), -depths]))[1]
    np.testing.assert_array_equal(cells_CK[1], np.searchsorted(ends, depths))


def test_cells_widen_with_depth_and_then_stop() -> None:
    grid = Grid(step=0.25, spread=16.0)
    depths = np.linspace(0, 200, 100_000, dtype=np.float32)
    logits_CK = np.stack([np.zeros_like(depths), -depths])
    _, cells_CK = grid.quantize(logits_CK)
    widths = np.bincount(cells_CK[1]) * (200 / 100_000)
    assert widths[1] == pytest.approx(0.25, rel=0.05)
    assert widths[40:45].mean() > 2 * widths[1:5].mean()
    assert widths[-20:-2] == pytest.approx(np.full(18, 16 * 0.25), rel=0.25)
    assert np.ptp(widths[-20:-2]) < 0.01


def test_the_largest_logit_is_exact_beside_the_others() -> None:
    grid = Grid(step=0.25, spread=16.0)
    logits_CK = np.array([[3.1], [3.1 - 1e-4], [-5.0]], dtype=np.float32)
    steps_K, cells_CK = grid.quantize(logits_CK)
    assert steps_K.tolist() == [12]
    assert cells_CK[:2].ravel().tolist() == [0, 0]


def test_a_border_decides_where_the_guess_is_rounded() -> None:
    """Every border between two cells, and its neighbours in single precision."""
    grid = Grid(step=0.22, spread=16.0)
    from kdrec.store.compact.companding import _borders

    ends = _borders(0.22, 16.0).ends
    for offset, expected in ((0, 0), (1, 1), (-1, 0)):
        depths = ends.copy()
        for _ in range(abs(offset)):
            depths = np.nextafter(depths, np.float32(np.inf * offset), dtype=np.float32)
        cells = grid.quantize(np.stack([np.zeros_like(depths), -depths]))[1][1]
        np.testing.assert_array_equal(cells, np.arange(len(ends)) + expected)


def test_a_few_records_never_choose_a_spread_and_many_do_where_it_pays() -> None:
    normal_CK = np.random.default_rng(0).normal(size=(40, 400)).astype(np.float32)
    flat_CK, steep_CK = 3 * normal_CK, 40 * normal_CK
    for logits_CK in (flat_CK, steep_CK):
        assert fit_grid(logits_CK[:, :127], Dial(max_kl=2.5e-4)).spread == BALANCED
    assert fit_grid(flat_CK, Dial(max_kl=2.5e-4)).spread == 8
    assert fit_grid(steep_CK, Dial(max_kl=2.5e-4)).spread == 23
