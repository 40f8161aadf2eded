"""`kdrec inspect`."""

from typing import Annotated

import typer

from kdrec.augment import format_augmentation
from kdrec.cli.fidelity import fidelity_as_json, show_fidelity
from kdrec.cli.options import Cache, Json, RecordingArgument, Token
from kdrec.cli.terminal import describe_score, percent, show_json, show_rows, size
from kdrec.client import ProofFidelity, Recording, is_address, open_recording
from kdrec.errors import IntegrityError

_SOME_RECORDS = 50_000
"""Records that may have to be decoded for a look: some tenths of a second."""


def inspect(
    recording: RecordingArgument,
    cache: Cache = None,
    token: Token = None,
    fidelity: Annotated[
        bool | None,
        typer.Option(
            "--fidelity/--no-fidelity",
            help="Compare what is stored with the exact logits of all proof records; without either"
            " with some of them, and not at all over a network, where it fetches whole blocks.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is in a recording: plan, identity, progress, sizes, fidelity, teacher accuracy."""
    found = open_recording(recording, cache=cache, token=token)
    committed, total = found.progress()
    correct = found.correct()
    measured, why_not = _measure(found, fidelity)
    if as_json:
        show_json(
            {
                "recording": found.where,
                "identity": found.identity,
                "header": found.reader.header.digest,
                "blocks": {"committed": committed, "total": total},
                "correct": correct.model_dump(),
                "manifest": found.manifest.model_dump(mode="json"),
                "logit_bytes_per_record": logit_bytes_per_record(found),
                "fidelity": None if measured is None else fidelity_as_json(measured),
            }
        )
        return
    rows = {
        "recording": found.where,
        "state": f"{_describe_state(found.identity, committed, total)}; {committed} of {total} "
        f"blocks ({percent(committed, total)})",
        "identity": found.identity or "none before it is sealed",
    }
    rows |= _describe_plan(found) | _describe_origin(found)
    if correct.records:
        rows["teacher accuracy"] = describe_score(correct)
    rows |= _describe_size(found)
    if measured is None:
        rows["fidelity"] = why_not
    show_rows(rows)
    if measured is not None:
        show_fidelity(measured, found)


def _describe_state(identity: str | None, committed: int, total: int) -> str:
    if identity:
        return "sealed"
    if committed < total:
        return "being recorded, or stopped"
    return "recorded, but not sealed: run the same kdrec record, or kdrec repair"


def _measure(recording: Recording, wanted: bool | None) -> tuple[ProofFidelity | None, str]:
    """What was measured, or why nothing was."""
    if wanted is False or (wanted is None and is_address(recording.where)):
        return None, "not measured; --fidelity measures it, and fetches whole blocks for it"
    try:
        measured = recording.fidelity(most_records=None if wanted else _SOME_RECORDS)
    except IntegrityError as error:
        if wanted:
            raise
        return None, f"unknown; {error}"  # a damaged recording can still be looked at
    return measured, "unknown; no proof record is in a block that is here"


def _describe_plan(recording: Recording) -> dict[str, str]:
    plan, classes = recording.manifest.plan, recording.manifest.classes
    arguments = ", ".join(f"{name}={value}" for name, value in plan.teacher.arguments.items())
    mapped = "" if plan.class_map is None else f", mapped to {len(plan.class_map)} of the data"
    return {
        "teacher": f"{plan.teacher.name}({arguments}), tensors {plan.teacher.tensors[:12]}..",
        "computed in": f"{plan.precision} on {plan.device}, {plan.threads} threads, batches of "
        f"{plan.batch_size}",
        "data": f"{plan.data.num_samples:,} clouds of {plan.data.num_points} points "
        f"({', '.join(plan.data.channels)}), digest {plan.data.digest[:12]}..",
        "classes": f"{classes.num_teacher} of the teacher{mapped}",
        "views": f"{plan.views} in groups of {plan.group}, seed {plan.seed}",
        "augmentation": format_augmentation(plan.augmentation),
        "parameters": ", ".join(c.name for c in recording.manifest.parameters) or "none",
        "encoding": f"{plan.encoding}; bound on every logit: "
        + ", then ".join(map(str, recording.manifest.bounds)),
        "proof": f"{recording.manifest.num_proof} records with exact logits and fingerprints",
        "clouds kept": "yes" if plan.with_samples else "no",
    }


def _describe_origin(recording: Recording) -> dict[str, str]:
    origin = recording.manifest.origin
    if origin is None:
        return {}
    return {
        "converted from": f"{origin.identity}, {origin.encoding}, from its view {origin.first_view}"
    }


def _describe_size(recording: Recording) -> dict[str, str]:
    reader = recording.reader
    header = sum(file.size for file in reader.header.files.values())
    blocks = sum(reader.shard_sizes().values())
    per_record = logit_bytes_per_record(recording)
    return {
        "size": f"{size(header + blocks)}, of which records {size(blocks)}",
        "logits per record": "-"
        if per_record is None
        else f"{per_record:.1f} B, {per_record / (2 * recording.num_classes):.2g} of float16",
    }


def logit_bytes_per_record(recording: Recording) -> float | None:
    """Stored bytes of the logits and all that belongs to them, a record; None without a block."""
    reader = recording.reader
    records = sum(len(block.views) * len(block.samples) for block in reader.committed())
    sizes = (num for array, num in reader.shard_sizes().items() if array != "params")
    return sum(sizes) / records if records else None
