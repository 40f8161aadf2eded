"""A recording converted: fewer views or samples, another encoding or group size.

Every record keeps the address by which its augmentation was drawn, so that replay stays exact, and
the proof records that remain keep the teacher's exact logits, so that the bound stays provable.

Shape letters: S samples, M proof records, G views of a block, P parameters, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from kdrec.augment import fingerprint
from kdrec.client.recording import Recording
from kdrec.client.refusal import WriterRefusal
from kdrec.errors import (
    ConflictError,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    describe_invalid,
)
from kdrec.store import (
    Block,
    BlockGrid,
    Bound,
    Correct,
    EncodingPlan,
    Manifest,
    Origin,
    Plan,
    ProofRecords,
    RecordingPlace,
    RecordingReader,
    RecordingWriter,
    SampleContents,
    choose_proof,
    count_correct,
    default_block_samples,
    open_place,
)

Index = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ConvertRequest:
    """What to make of a recording; None keeps what it has.

    Attributes:
        views: Those to keep.
        samples_S: Numbers of those to keep, in any order; each keeps its place among them.
        encoding: Of the logits.
        group: Views coded together.
        block_samples: Samples of a block; derived anew by default.
        with_samples: Whether to keep the points.
    """

    views: range | None = None
    samples_S: Index | None = None
    encoding: EncodingPlan | None = None
    group: int | None = None
    block_samples: int | None = None
    with_samples: bool | None = None


@dataclass(frozen=True, slots=True)
class ConvertProgress:
    """How far a conversion is.

    Attributes:
        done: Blocks written and read back.
        total: Blocks of the new recording.
    """

    done: int
    total: int


def convert(
    source: Recording,
    out: str | Path,
    request: ConvertRequest,
    *,
    place: RecordingPlace | None = None,
) -> Iterator[ConvertProgress]:
    """Convert a recording; each block is read back and compared with its source before the next.

    Args:
        source: Sealed; of a partial copy, the records asked for must be here.
        out: Folder of the new recording, or its address in an object store; the same call
            continues one that was stopped.
        request: What to make of it.
        place: What is at `out`; opened by default.

    Raises:
        InvalidInputError: It cannot be converted so; says why.
        IncompleteError: The source is not sealed, or lacks a record.
        ConflictError: `out` holds another recording, or one that somebody writes.
        IntegrityError: A file of the source is damaged, or what was written reads back otherwise.
    """
    chosen = _choose(source, request)
    draft = _draft(source, request, chosen)
    place = open_place(out) if place is None else place
    with place.lock(while_waiting=WriterRefusal(place, where=str(out))):
        yield from _Conversion(source, place, chosen, draft, where=str(out)).run()


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """The records to keep, by their numbers in the source."""

    views: range
    samples_S: Index


def _choose(source: Recording, request: ConvertRequest) -> _Chosen:
    if source.identity is None:
        raise IncompleteError(
            f"{source.where} is not sealed, so that there is no identity to name as the origin; "
            "finish it with the same kdrec record, then convert"
        )
    grid = source.reader.grid
    views = range(grid.views) if request.views is None else request.views
    if not 0 <= views.start < views.stop <= grid.views:
        raise InvalidInputError(
            f"views must lie within 0:{grid.views}, got {views.start}:{views.stop}"
        )
    samples_S = np.arange(grid.samples) if request.samples_S is None else request.samples_S
    unique_S = np.unique(samples_S)
    if len(unique_S) == 0 or unique_S[0] < 0 or unique_S[-1] >= grid.samples:
        raise InvalidInputError(
            f"samples must be one or more numbers from 0 to {grid.samples - 1}, got "
            + (f"{unique_S[0]} to {unique_S[-1]}" if len(unique_S) else "none")
        )
    return _Chosen(views, unique_S.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """All that the new recording begins with."""

    plan: Plan
    origin: Origin
    contents: SampleContents
    proof: ProofRecords


def _draft(source: Recording, request: ConvertRequest, chosen: _Chosen) -> _Draft:
    recorded = source.manifest
    contents = _contents(source, chosen, with_samples=request.with_samples)
    plan = _plan(source, request, chosen, with_samples=contents.points_SND is not None)
    _check_not_promising_lost_bits(source, plan)
    _check_not_promising_lost_classes(source, plan)
    assert source.identity is not None
    origin = Origin(
        identity=source.identity,
        encoding=recorded.plan.encoding.name,
        bounds=recorded.bounds,
        first_view=chosen.views.start + (recorded.origin.first_view if recorded.origin else 0),
    )
    return _Draft(plan, origin, contents, _proof(source, plan, chosen))


def _contents(source: Recording, chosen: _Chosen, *, with_samples: bool | None) -> SampleContents:
    rows, reader = chosen.samples_S, source.reader
    identity, names = source.sample_identity(), reader.sample_names()
    keeps = source.manifest.plan.with_samples if with_samples is None else with_samples
    return SampleContents(
        digests=identity.digests[rows],
        sketches=identity.sketches[rows],
        labels_S=None if identity.labels_S is None else identity.labels_S[rows],
        names=None if names is None else tuple(names[row] for row in rows.tolist()),
        points_SND=source.samples().points_SND[rows] if keeps else None,
        numbers_S=_numbers(reader, rows),
    )


def _numbers(reader: RecordingReader, rows: Index) -> Index | None:
    """By which number each kept sample was drawn; None where all are kept in their places."""
    numbers_S = reader.sample_numbers()
    if numbers_S is not None:
        return numbers_S[rows]
    return None if len(rows) == reader.grid.samples else rows


def _plan(
    source: Recording, request: ConvertRequest, chosen: _Chosen, *, with_samples: bool
) -> Plan:
    recorded, num_samples = source.manifest.plan, len(chosen.samples_S)
    group = min(request.group or recorded.group, len(chosen.views))
    block_samples = request.block_samples or default_block_samples(
        num_samples=num_samples,
        group=max(1, group),
        classes=source.num_classes,
        batch_size=recorded.batch_size,
    )
    identity = source.sample_identity()
    rows = chosen.samples_S
    labels_S = None if identity.labels_S is None else identity.labels_S[rows]
    digest = replace(identity, digests=identity.digests[rows], labels_S=labels_S).digest
    changed: dict[str, Any] = {
        "views": len(chosen.views),
        "group": group,
        "block_samples": block_samples,
        "encoding": (request.encoding or recorded.encoding).model_dump(),
        "with_samples": with_samples,
        "data": recorded.data.model_dump() | {"digest": digest, "num_samples": num_samples},
    }
    try:
        return Plan.model_validate(recorded.model_dump() | changed)
    except ValidationError as error:
        raise InvalidInputError(describe_invalid(error)) from error


def _is_exact(recording: Recording) -> bool:
    return all(bound == Bound() for bound in recording.manifest.bounds)


def _check_not_promising_lost_bits(source: Recording, plan: Plan) -> None:
    if plan.encoding.name == "exact" and not _is_exact(source):
        lost = ", then ".join(str(bound) for bound in source.manifest.bounds)
        raise InvalidInputError(
            f"encoding exact keeps the teacher's logits bit for bit, and {source.where} has them "
            f"only within its bound ({lost}); choose a lossy encoding, or record again"
        )


def _check_not_promising_lost_classes(source: Recording, plan: Plan) -> None:
    there, wanted = source.manifest.plan.encoding.kept, plan.encoding.kept
    num_classes = source.num_classes
    if there is None or there >= num_classes or (wanted is not None and wanted <= there):
        return
    raise InvalidInputError(
        f"{source.where} keeps {there} of {num_classes} classes, and no bound holds for the "
        f"others; choose the encoding topk with at most {there} of them, or record again"
    )


def _proof(source: Recording, plan: Plan, chosen: _Chosen) -> ProofRecords:
    """The proof records that remain; of a lossless source any record can be one.

    Raises:
        InvalidInputError: None remains, and what is lost cannot be proved without.
    """
    kept = source.reader.proof()
    remains = np.isin(kept.views_M, np.asarray(chosen.views))
    remains &= np.isin(kept.samples_M, chosen.samples_S)
    if remains.any():
        rows = kept.rows(np.flatnonzero(remains))
        samples_M = np.searchsorted(chosen.samples_S, rows.samples_M).astype(np.int64)
        return replace(rows, views_M=rows.views_M - chosen.views.start, samples_M=samples_M)
    if _is_exact(source) and source.manifest.plan.with_samples:
        return _new_proof(source, plan, chosen)
    there = sorted({int(view) for view in kept.views_M})
    raise InvalidInputError(
        f"none of the {len(kept)} proof records is among these views and samples, so that nothing "
        f"could prove the bound; keep some of the views {there[:12]} and of the samples "
        f"{sorted({int(sample) for sample in kept.samples_M})[:12]}"
    )


def _new_proof(source: Recording, plan: Plan, chosen: _Chosen) -> ProofRecords:
    views_M, samples_M = choose_proof(plan)
    places_M = chosen.samples_S[samples_M]
    parameters, logits_MC = source.read(views_M + chosen.views.start, places_M)
    seen_MND = source.replay(source.samples().points_SND[places_M], parameters)
    return ProofRecords(views_M, samples_M, logits_MC, fingerprint(seen_MND))


def _read(source: Recording, block: Block, chosen: _Chosen) -> tuple[Values, Values]:
    """Parameters (G, S, P) and logits (G, S, C) of a block of the new recording."""
    samples_S = chosen.samples_S[block.samples.start : block.samples.stop]
    records = [source.read(chosen.views[view], samples_S) for view in block.views]
    values = [parameters.values_BP for parameters, _ in records]
    return np.stack(values), np.stack([logits_SC for _, logits_SC in records])


class _Conversion:
    """One process at work on one conversion, holding its lock."""

    def __init__(
        self,
        source: Recording,
        place: RecordingPlace,
        chosen: _Chosen,
        draft: _Draft,
        *,
        where: str,
    ) -> None:
        self._source, self._chosen, self._draft = source, chosen, draft
        self._storage, self._where = place, where
        self._writer = RecordingWriter(self._storage, where=self._where)

    def run(self) -> Iterator[ConvertProgress]:
        existing = self._writer.prepare()
        self._storage.remove_unfinished()
        draft = self._draft
        if existing is None:
            self._writer.begin(
                draft.plan,
                self._source.manifest.classes,
                draft.contents,
                draft.proof,
                origin=draft.origin,
            )
        else:
            self._check_same(existing)
            self._writer.resume(existing)
        committed, grid = self._writer.committed(), BlockGrid.of(draft.plan)
        for done, block in enumerate(grid, start=1):
            parameters_GSP, logits_GSC = _read(self._source, block, self._chosen)
            if block.name not in committed:
                correct = self._correct(block, logits_GSC)
                self._writer.commit(block, parameters_GSP, logits_GSC, correct=correct)
            self._compare(block, parameters_GSP, logits_GSC)
            yield ConvertProgress(done, len(grid))
        self._writer.seal()

    def _check_same(self, existing: Manifest) -> None:
        same_origin = existing.origin == self._draft.origin
        if existing.plan == self._draft.plan and same_origin:
            return
        differences = existing.plan.differences(self._draft.plan)
        if not same_origin:
            differences.append("converted from another recording, or from other views of it")
        raise ConflictError(
            f"{self._where} holds another recording ({'; '.join(differences)}); give another name"
        )

    def _correct(self, block: Block, logits_GSC: Values) -> Correct | None:
        labels_S = self._draft.contents.labels_S
        if labels_S is None:
            return None
        part_S = labels_S[block.samples.start : block.samples.stop]
        return count_correct(logits_GSC, part_S, self._draft.plan.class_map)

    def _compare(self, block: Block, parameters_GSP: Values, logits_GSC: Values) -> None:
        """Read a block back from the disk, as a student would, and compare it with its source."""
        reader = RecordingReader(self._storage, where=self._where)
        samples_S = np.asarray(block.samples)
        for place, view in enumerate(block.views):
            parameters, _ = reader.read(view, samples_S)
            same = np.array_equal(parameters.values_BP, parameters_GSP[place])
            views_S = np.full_like(samples_S, view)
            # Against the source alone: its own error is what the manifest says of both.
            step = (reader.manifest.bound,)
            if not same or reader.beyond_bound(views_S, samples_S, logits_GSC[place], step).any():
                raise IntegrityError(
                    f"{block} of {self._where} does not read back as it was written (view {view}); "
                    "delete the folder, check the disk and convert again"
                )
