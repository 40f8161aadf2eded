"""Given logits, written by the real writer as `kdrec record` would write them, and their sizes.

Shape letters: V views, S samples, C classes, M proof records, G views of a block.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdrec.samples import make_shapes
from kdrec.store import (
    Block,
    BlockGrid,
    Classes,
    EncodingPlan,
    LocalStorage,
    Plan,
    ProofRecords,
    RecordingReader,
    RecordingWriter,
    SampleContents,
    choose_proof,
    default_block_samples,
)
from kdrec.testing import make_plan

Logits = npt.NDArray[np.float32]
AUGMENTATION = "scale=0.667:1.5,translate=0.2"
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Source:
    """Where the logits of a recording come from.

    Attributes:
        views: V.
        samples: S.
        classes: C.
        block: The logits of a block, (G, S, C).
        records: The logits of single records, by views and samples, (M, C).
    """

    views: int
    samples: int
    classes: int
    block: Callable[[Block], Logits]
    records: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Logits]

    @classmethod
    def of(cls, logits_VSC: Logits) -> "Source":
        """Logits in memory."""
        return cls(
            views=logits_VSC.shape[0],
            samples=logits_VSC.shape[1],
            classes=logits_VSC.shape[2],
            block=lambda b: logits_VSC[
                b.views.start : b.views.stop, b.samples.start : b.samples.stop
            ],
            records=lambda views_M, samples_M: logits_VSC[views_M, samples_M],
        )


def plan_recording(
    source: Source, encoding: EncodingPlan, *, group: int = 8, block_samples: int | None = None
) -> Plan:
    """The plan that `kdrec record` would make, its default block size included.

    Args:
        source: Of the logits.
        encoding: Of the logits.
        group: Views coded together.
        block_samples: Samples of a block; by default as `kdrec record` chooses.
    """
    group = min(group, source.views)
    plan = make_plan(
        make_shapes(1, seed=0, num_points=32),
        views=source.views,
        group=group,
        encoding=encoding,
        augment=AUGMENTATION,
        with_samples=False,
    )
    chosen = default_block_samples(
        num_samples=source.samples, group=group, classes=source.classes, batch_size=BATCH_SIZE
    )
    data = plan.data.model_copy(update={"num_samples": source.samples})
    return plan.model_copy(
        update={
            "data": data,
            "batch_size": BATCH_SIZE,
            "block_samples": block_samples or chosen,
        }
    )


def begin_recording(
    folder: Path, plan: Plan, source: Source, fitted_MC: Logits | None = None
) -> RecordingWriter:
    """A recording without blocks, its digests and sketches drawn at random.

    Args:
        folder: To write to; must not exist.
        plan: Of the recording.
        source: Of the logits.
        fitted_MC: Records to fit the encoding to instead of the proof records.
    """
    writer = RecordingWriter(LocalStorage(folder), where=folder.name)
    writer.prepare()
    draw = np.random.Generator(np.random.PCG64(0))
    contents = SampleContents(
        digests=draw.integers(256, size=(source.samples, 16), dtype=np.uint8),
        sketches=draw.random((source.samples, 16), dtype=np.float32),
        labels_S=draw.integers(source.classes, size=source.samples, dtype=np.int64),
    )
    classes = Classes(num_teacher=source.classes)
    writer.begin(plan, classes, contents, _proof(plan, source, fitted_MC))
    return writer


def write_recording(
    folder: Path, source: Source, encoding: EncodingPlan, *, fitted_MC: Logits | None = None
) -> RecordingReader:
    """Write a whole recording; see `begin_recording`."""
    plan = plan_recording(source, encoding)
    writer = begin_recording(folder, plan, source, fitted_MC)
    for block in BlockGrid.of(plan):
        writer.commit(block, draw_parameters(plan, block), source.block(block), correct=None)
    writer.seal()
    return RecordingReader(LocalStorage(folder), where=folder.name)


def draw_parameters(plan: Plan, block: Block) -> npt.NDArray[np.float32]:
    """The augmentation parameters of a block, as the recorder draws them."""
    drawn = [plan.augmentation.draw(plan.seed, views=v, samples_B=block.samples)
             for v in block.views]  # fmt: skip
    return np.stack([view.values_BP for view in drawn])


def _proof(plan: Plan, source: Source, fitted_MC: Logits | None) -> ProofRecords:
    views_M, samples_M = choose_proof(plan)
    logits_MC = source.records(views_M, samples_M) if fitted_MC is None else fitted_MC
    views_M, samples_M = (np.resize(a, len(logits_MC)) for a in (views_M, samples_M))
    fingerprints = np.random.Generator(np.random.PCG64(0)).normal(size=(len(logits_MC), 8))
    return ProofRecords(views_M, samples_M, logits_MC, fingerprints)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a recording by what they are for.

    Attributes:
        logits: Everything under `logits/`, and the codec's configuration once more in the
            consolidated metadata of the root `zarr.json`.
        parameters: Everything under `params/`.
        manifest: The rest of the root `zarr.json`.
        ledger: Ledger and seal.
        proof: The proof records.
        samples: Digests, sketches and labels.
    """

    logits: int
    parameters: int
    manifest: int
    ledger: int
    proof: int
    samples: int

    @property
    def total(self) -> int:
        """All of it."""
        parts = self.logits, self.parameters, self.manifest, self.ledger, self.proof, self.samples
        return sum(parts)


def measure_sizes(folder: Path) -> Sizes:
    """What a recording takes on disk, by what it is for."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}

    def under(*prefixes: str) -> int:
        return sum(path.stat().st_size for key, path in files.items() if key.startswith(prefixes))

    root = json.loads(files["zarr.json"].read_bytes())
    codecs = root["consolidated_metadata"]["metadata"]["logits"]["codecs"]
    copy = len(json.dumps(codecs, indent=2))
    return Sizes(
        logits=under("logits/") + copy,
        parameters=under("params/"),
        manifest=under("zarr.json") - copy,
        ledger=under("ledger/", "seal.json"),
        proof=under("proof/"),
        samples=under("samples/"),
    )


def project_sizes(sizes: Sizes, plan: Plan, *, views: int, samples: int) -> Sizes:
    """The sizes of a longer recording of the same plan, from those of a written one.

    What grows with records, samples, blocks or proof records grows in proportion; metadata stay.
    Larger chunks share their coefficients among more records, which is left out.
    """
    grid = BlockGrid.of(plan)
    longer = BlockGrid(views, samples, plan.group, _block_samples(plan, samples))
    of_plan = plan.model_copy(
        update={
            "views": views,
            "block_samples": longer.block_samples,
            "data": plan.data.model_copy(update={"num_samples": samples}),
        }
    )
    records = views * samples / (grid.views * grid.samples)
    proofs = len(choose_proof(of_plan)[0]) / len(choose_proof(plan)[0])
    return Sizes(
        logits=round(sizes.logits * records),
        parameters=round(sizes.parameters * records),
        manifest=sizes.manifest,
        ledger=round(sizes.ledger * len(longer) / len(grid)),
        proof=round(sizes.proof * proofs),
        samples=round(sizes.samples * samples / grid.samples),
    )


def _block_samples(plan: Plan, samples: int) -> int:
    """For 40 classes, as in `plan_recording`."""
    return default_block_samples(
        num_samples=samples, group=plan.group, classes=40, batch_size=plan.batch_size
    )
