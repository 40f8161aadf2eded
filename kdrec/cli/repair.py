"""`kdrec repair`."""

from typing import Annotated

import typer

from kdrec.cli.options import DataArguments, Json, Split, Token, load_like
from kdrec.cli.teacher_options import (
    Device,
    NamedTeacher,
    RecordedTeacher,
    TeacherArguments,
    Weights,
    WeightsKey,
)
from kdrec.cli.terminal import progress_bar, say, show_json, show_rows, size
from kdrec.client import FileSource, RepairReport, open_copy, open_recording
from kdrec.client import repair as run
from kdrec.errors import EXIT_INTEGRITY, InvalidInputError, NotFoundError
from kdrec.store import find_manifest, open_place


def repair(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="Folder of the recording, whole or partial, or s3://BUCKET/NAME.zarr.",
        ),
    ],
    copy: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="COPY",
            help="Another copy: a folder, http://HOST/v1/recordings/NAME, s3://BUCKET/NAME.zarr.",
        ),
    ] = None,
    teacher: RecordedTeacher = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    teacher_arg: TeacherArguments = None,
    device: Device = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data it was recorded from; by default those the recording keeps.",
            rich_help_panel="Teacher",
        ),
    ] = None,
    data_arg: DataArguments = [],  # noqa: B006 - typer copies it
    split: Split = None,
    only_damaged: Annotated[
        bool,
        typer.Option(
            "--only-damaged",
            help="Leave out blocks that are not here at all, as in a partial copy.",
        ),
    ] = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Put back what is damaged or missing: from another copy, or by recording only that again.

    Nothing is written but the bytes that were recorded: a sealed recording ends as it was sealed,
    or stays damaged (exit 4) and says why.
    """
    if (copy is None) == (teacher is None):
        raise InvalidInputError("say where from: --from COPY or --teacher NAME, one of them")
    if teacher is not None:
        named = NamedTeacher(teacher, teacher_arg, weights, weights_key, device)
        source: FileSource = _recomputed(recording, named, data, data_arg, split)
    else:
        source = open_copy(copy or "", token=token)
    with progress_bar("repairing", "blocks") as bar:
        for report in run(recording, source, only_damaged=only_damaged):
            bar.update(report.blocks, report.total, f"{len(report.repaired)} files put back")
    _show(recording, report, as_json=as_json)
    if report.broken:
        raise typer.Exit(EXIT_INTEGRITY)


def _recomputed(
    where: str, named: NamedTeacher, data: str | None, data_arg: list[str], split: str | None
) -> FileSource:
    from kdrec.recorder import RecomputedFiles

    storage = open_place(where)
    manifest = find_manifest(storage, where=where)
    if manifest is None:
        raise NotFoundError(f"no recording at {where}, or it has lost its zarr.json: give --from")
    if data is None:
        samples = open_recording(where).samples()
    else:
        samples = load_like(manifest.plan.data, data, data_arg, split)
    return RecomputedFiles(storage, named.load(manifest.plan), samples, where=where)


def _show(where: str, report: RepairReport, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "recording": where,
                "checked": report.checked,
                "repaired": report.repaired,
                "bytes": report.num_bytes,
                "broken": report.broken,
                "absent": [block.name for block in report.absent],
            }
        )
        return
    verdict = "what is here is whole" if report.absent else "whole"
    verdict = "still damaged" if report.broken else verdict
    for line in report.broken:
        say(line)
    for block in report.absent:
        say(f"{block} is not here, and was left out")
    show_rows(
        {
            "recording": where,
            "verdict": verdict,
            "checked": f"{report.checked} files",
            "put back": f"{len(report.repaired)} files, {size(report.num_bytes)}",
            "still wrong": str(len(report.broken)),
        }
    )
