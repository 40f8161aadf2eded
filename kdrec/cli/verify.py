"""`kdrec verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kdrec.cli.options import DataArguments, Json, Split, load_like
from kdrec.cli.terminal import progress_bar, say, show_json, show_rows, size
from kdrec.client import is_address, open_recording
from kdrec.errors import EXIT_DONE, EXIT_INTEGRITY, EXIT_NOT_FOUND, InvalidInputError
from kdrec.store import LocalStorage, RecordingReader, VerifyReport, verify_bytes

_SHOWN = 20


def verify(
    recording: Annotated[str, typer.Argument(help="Folder of a recording, whole or partial.")],
    check_bytes: Annotated[
        bool,
        typer.Option(
            "--bytes", help="Every file, every chunk, and the bound on the proof records."
        ),
    ] = False,
    replay: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="That this data set, replayed, is what the teacher saw."),
    ] = None,
    data_arg: DataArguments = [],  # noqa: B006 - typer copies it
    split: Split = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Allowed difference of coordinates, for --replay.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Check a recording: pass (exit 0), damaged (4), incomplete (3) or other data (5)."""
    if not (check_bytes or replay):
        raise InvalidInputError("say what to verify: --bytes, --replay DATA, or both")
    if is_address(recording):
        raise InvalidInputError(f"{recording} is an address; fetch it first, then verify the copy")
    if replay is not None:
        found = open_recording(recording)
        samples = load_like(found.manifest.plan.data, replay, data_arg, split)
        found.check(samples, tolerance=tolerance)
        say(f"{len(samples)} clouds are the recorded ones, and replay gives what the teacher saw")
    report = _check(Path(recording)) if check_bytes else None
    if as_json:
        show_json(_as_json(recording, replay, report))
    elif report is not None:
        _show(recording, report)
    code = EXIT_DONE if report is None else _exit_code(report)
    if code:
        raise typer.Exit(code)


def _exit_code(report: VerifyReport) -> int:
    return EXIT_INTEGRITY if report.damaged else EXIT_NOT_FOUND if report.absent else EXIT_DONE


def _as_json(recording: str, replay: str | None, report: VerifyReport | None) -> dict[str, Any]:
    found: dict[str, Any] = {"recording": recording, "replayed": replay}
    if report is not None:
        found |= {
            "files": report.files,
            "bytes": report.num_bytes,
            "proof_records": report.proof_checked,
            "damaged": report.damaged,
            "absent": [block.name for block in report.absent],
            "unlisted": report.unlisted,
        }
    return found


def _check(folder: Path) -> VerifyReport:
    storage = LocalStorage(folder)
    reader = RecordingReader(storage, where=str(folder))
    with progress_bar("verifying") as bar:
        for done, report in enumerate(verify_bytes(reader, storage)):  # noqa: B007 - the last one
            bar.update(done, len(reader.grid) + 1)
    return report


def _show(recording: str, report: VerifyReport) -> None:
    for line in report.damaged[:_SHOWN]:
        say(line)
    if len(report.damaged) > _SHOWN:
        say(f"... and {len(report.damaged) - _SHOWN} more")
    for block in report.absent[:_SHOWN]:
        say(f"{block} is not here")
    for key in report.unlisted[:_SHOWN]:
        say(f"{key} is no part of the recording; nothing reads it")
    verdict = "damaged" if report.damaged else "incomplete" if report.absent else "pass"
    show_rows(
        {
            "recording": recording,
            "verdict": verdict,
            "checked": f"{report.files} files, {size(report.num_bytes)}, "
            f"{report.proof_checked} of {report.proof_records} proof records",
            "damaged": str(len(report.damaged)),
            "absent blocks": str(len(report.absent)),
        }
    )
