"""Which records are proof records: a seeded sample of whole view groups over the whole plan."""

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.store.plan import BlockGrid, Plan

MOST_RECORDS = 256
_SHARE = 100  # at most one record in 100 is kept
_STREAM = 0xF2


def choose_proof(plan: Plan) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Views and samples of the proof records: all views of a group for each sample drawn."""
    grid = BlockGrid.of(plan)
    wanted = min(MOST_RECORDS, max(1, grid.views * grid.samples // _SHARE))
    count = max(1, min(wanted // grid.group, grid.num_groups * grid.samples))
    words = rng.words(plan.seed, view=0, stream=_STREAM, samples_B=np.arange(count), num_words=2)
    groups = rng.integers(words[:, 0], 0, grid.num_groups - 1)
    samples = rng.integers(words[:, 1], 0, grid.samples - 1)
    pairs = sorted({(int(g), int(s)) for g, s in zip(groups, samples, strict=True)})
    records = [(view, sample) for g, sample in pairs for view in grid.block(g, 0).views]
    views_M, samples_M = np.array(records, dtype=np.int64).T
    return views_M.copy(), samples_M.copy()
