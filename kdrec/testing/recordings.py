"""Small recordings for tests: made by the real writer, with logits from the generator."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.augment import fingerprint, parse_augmentation
from kdrec.samples import SampleSet, identify, make_shapes
from kdrec.store import (
    BlockGrid,
    Classes,
    DataPlan,
    EncodingPlan,
    LocalStorage,
    MemoryStorage,
    Plan,
    ProofRecords,
    RecordingWriter,
    SampleContents,
    Storage,
    TeacherPlan,
    plan_encoding,
)

_STREAM = 0xF4


def make_logits(plan: Plan, num_classes: int) -> npt.NDArray[np.float32]:
    """Logits of every record, (V, N, C): a keyed number for each, the same every time."""
    samples = np.arange(plan.data.num_samples)
    words = [
        rng.words(plan.seed, view=v, stream=_STREAM, samples_B=samples, num_words=num_classes)
        for v in range(plan.views)
    ]
    return (8 * rng.uniform(np.stack(words)) - 4).astype(np.float32)


def make_plan(
    samples: SampleSet,
    *,
    views: int = 5,
    group: int = 2,
    block_samples: int = 8,
    encoding: str | EncodingPlan = "exact",
    augment: str = "scale=0.9:1.1,rotate_y=15",
    seed: int = 0,
    with_samples: bool = True,
    class_map: tuple[int, ...] | None = None,
) -> Plan:
    """A plan over these samples, cut into several blocks."""
    return Plan(
        teacher=TeacherPlan(name="generator", tensors="0" * 64),
        data=DataPlan(
            digest=identify(samples).digest,
            num_samples=len(samples),
            num_points=samples.points_SND.shape[1],
            channels=samples.channels,
        ),
        augmentation=parse_augmentation(augment),
        seed=seed,
        views=views,
        group=group,
        batch_size=4,
        block_samples=block_samples,
        threads=1,
        encoding=plan_encoding(encoding) if isinstance(encoding, str) else encoding,
        with_samples=with_samples,
        class_map=class_map,
    )


def make_recording(
    folder: Path,
    samples: SampleSet | None = None,
    *,
    plan: Plan | None = None,
    num_classes: int = 12,
    storage: Storage | None = None,
    blocks: int | None = None,
) -> npt.NDArray[np.float32]:
    """Write a recording, or continue one, and give the logits that went into it.

    Args:
        folder: Where.
        samples: 20 built-in shapes of 32 points by default.
        plan: `make_plan(samples)` by default.
        num_classes: C.
        storage: Over the folder; wrap it to let it fail. Without one, what has the defaults is a
            copy of what the writer made the first time.
        blocks: How many blocks to commit at most; all, and the seal, by default.
    """
    if samples is None and plan is None and storage is None and not folder.exists():
        files, logits_VSC = _usual_recording(num_classes, blocks)
        for key in files.keys(""):
            LocalStorage(folder).write(key, files.read(key))
        return logits_VSC.copy()
    samples = samples or make_shapes(20, seed=0, num_points=32)
    plan = plan or make_plan(samples)
    logits_VSC = make_logits(plan, num_classes)
    writer = RecordingWriter(storage or LocalStorage(folder), where=str(folder))
    manifest = writer.prepare()
    if manifest is not None:
        writer.resume(manifest)
    else:
        classes = Classes(num_teacher=num_classes, data=samples.class_names)
        proof = _proof(plan, samples, logits_VSC)
        writer.begin(plan, classes, _contents(plan, samples), proof)
    committed = writer.committed()
    missing = [block for block in BlockGrid.of(plan) if block.name not in committed]
    for block in missing[:blocks]:
        drawn = [plan.augmentation.draw(plan.seed, views=v, samples_B=block.samples)
                 for v in block.views]  # fmt: skip
        views, rows = block.views, block.samples
        logits = logits_VSC[views.start : views.stop, rows.start : rows.stop]
        writer.commit(block, np.stack([d.values_BP for d in drawn]), logits, correct=None)
    if blocks is None:
        writer.seal()
    return logits_VSC


@cache
def _usual_recording(
    num_classes: int, blocks: int | None
) -> tuple[MemoryStorage, npt.NDArray[np.float32]]:
    """The default one, which nearly every test asks for."""
    storage = MemoryStorage()
    logits_VSC = make_recording(
        Path("usual.zarr"), num_classes=num_classes, storage=storage, blocks=blocks
    )
    return storage, logits_VSC


def _contents(plan: Plan, samples: SampleSet) -> SampleContents:
    identity = identify(samples)
    return SampleContents(
        digests=identity.digests,
        sketches=identity.sketches,
        labels_S=samples.labels_S,
        names=samples.names,
        points_SND=samples.points_SND if plan.with_samples else None,
    )


def _proof(plan: Plan, samples: SampleSet, logits_VSC: npt.NDArray[np.float32]) -> ProofRecords:
    views_M, samples_M = np.array([0, plan.views - 1]), np.array([0, len(samples) - 1])
    drawn = plan.augmentation.draw(plan.seed, views=views_M, samples_B=samples_M)
    seen = plan.augmentation.apply(samples.points_SND[samples_M], drawn, channels=samples.channels)
    return ProofRecords(views_M, samples_M, logits_VSC[views_M, samples_M], fingerprint(seen))
