"""Which records are proof records: a seeded sample of single records over the whole plan."""

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.store.plan import BlockGrid, Plan

LEAST_RECORDS, MOST_RECORDS = 8, 256
_SHARE = 400  # one record in so many
_SHARE_OF_KEPT = 4000  # where a proof record holds all of thousands of classes, a stored one few
_STREAM = 0xF2


def choose_proof(plan: Plan) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Views and samples of the proof records, each drawn by itself, ascending, none twice.

    Whole view groups would be fewer draws for the same bytes, and so say less of the recording.
    """
    grid = BlockGrid.of(plan)
    share = _SHARE if plan.encoding.kept is None else _SHARE_OF_KEPT
    wanted = grid.views * grid.samples // share
    count = min(max(LEAST_RECORDS, min(MOST_RECORDS, wanted)), grid.views * grid.samples)
    words = rng.words(plan.seed, view=0, stream=_STREAM, samples_B=np.arange(count), num_words=2)
    views = rng.integers(words[:, 0], 0, grid.views - 1)
    samples = rng.integers(words[:, 1], 0, grid.samples - 1)
    records_M2 = np.unique(np.stack([views, samples], axis=1), axis=0).astype(np.int64)
    return records_M2[:, 0].copy(), records_M2[:, 1].copy()
