"""Two teachers' recordings of views that another program drew.

The views are those of `logits/densepoint_views.npz`: scaled and shifted clouds, with the logits of
a DensePoint. The PointNet is asked about the same views here, centred and scaled into the unit
sphere, which it needs; DensePoint's logits were computed without that. So both recordings give
students the normalised clouds, and differ in their logits alone. Parameters are rounded to the grid
of a recording.

Shape letters: V views, S samples, P parameters, C classes, M proof records.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kdrec.augment import ViewParameters, fingerprint
from kdrec.recorder import Teacher
from kdrec.samples import SampleSet, identify
from kdrec.store import (
    BlockGrid,
    Classes,
    LocalStorage,
    Plan,
    ProofRecords,
    RecordingWriter,
    SampleContents,
    choose_proof,
)
from kdrec.testing import make_plan

GIVEN = ("densepoint", "pointnet")
_AUGMENTATION = "scale=0.66:1.51,translate=0.21,normalize"
_BATCH = 32

Floats = npt.NDArray[np.float32]


def write_given(
    folder: Path,
    views_file: Path,
    *,
    samples: SampleSet,
    rows_S: npt.NDArray[np.int64],
    class_map: tuple[int, ...],
    teacher: Teacher | None,
) -> None:
    """Write a recording of the given views.

    Args:
        folder: To write to; must not exist.
        views_file: With `params` and `logits` of all clouds.
        samples: Of which the recording is.
        rows_S: Their numbers among all clouds.
        class_map: The teacher's column of each class of the data.
        teacher: Who is asked about the views; None takes the logits of the file.
    """
    with np.load(views_file) as found:
        given_VSP, logits_VSC = found["params"][:, rows_S], found["logits"][:, rows_S]
    plan = make_plan(
        samples,
        views=len(given_VSP),
        group=1,
        block_samples=_BATCH * -(-len(samples) // _BATCH),
        augment=_AUGMENTATION,
        class_map=class_map,
    )
    steps_P = np.array([column.step for column in plan.augmentation.columns])
    values_VSP = (np.round(given_VSP / steps_P) * steps_P).astype(np.float32)
    seen = [_seen(plan, samples, view, values_SP) for view, values_SP in enumerate(values_VSP)]
    if teacher is not None:
        logits_VSC = np.stack([_ask(teacher, seen_SND) for seen_SND in seen])
    _write(folder, plan, samples, values_VSP, logits_VSC, seen)


def _seen(plan: Plan, samples: SampleSet, view: int, values_SP: Floats) -> Floats:
    """The clouds of a view, (S, N, D)."""
    numbers_S = np.arange(len(samples))
    names = tuple(column.name for column in plan.augmentation.columns)
    views_S = np.full(len(samples), view)
    drawn = ViewParameters(names, values_SP, plan.seed, views_S, numbers_S)
    seen_SND: Floats = plan.augmentation.apply(samples.points_SND, drawn, channels=samples.channels)
    return seen_SND


def _ask(teacher: Teacher, seen_SND: Floats) -> Floats:
    batches = torch.split(torch.from_numpy(seen_SND), _BATCH)
    return torch.cat([teacher.logits(batch_BND) for batch_BND in batches]).numpy()


def _write(
    folder: Path,
    plan: Plan,
    samples: SampleSet,
    values_VSP: Floats,
    logits_VSC: Floats,
    seen: list[Floats],
) -> None:
    identity = identify(samples)
    contents = SampleContents(
        digests=identity.digests,
        sketches=identity.sketches,
        labels_S=samples.labels_S,
        names=samples.names,
        points_SND=samples.points_SND,
    )
    views_M, samples_M = choose_proof(plan)
    proof = ProofRecords(
        views_M,
        samples_M,
        logits_VSC[views_M, samples_M],
        np.concatenate(
            [fingerprint(seen[v][[s]]) for v, s in zip(views_M, samples_M, strict=True)]
        ),
    )
    writer = RecordingWriter(LocalStorage(folder), where=str(folder))
    writer.prepare()
    classes = Classes(num_teacher=logits_VSC.shape[-1], data=samples.class_names)
    writer.begin(plan, classes, contents, proof)
    for block in BlockGrid.of(plan):
        rows = slice(block.views.start, block.views.stop)
        writer.commit(block, values_VSP[rows], logits_VSC[rows], correct=None)
    writer.seal()
