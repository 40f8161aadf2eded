"""`kdrec verify`."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from kdrec.cli.options import Cache, DataArguments, Json, Split, Token, load_like
from kdrec.cli.teacher_options import (
    Device,
    NamedTeacher,
    RecordedTeacher,
    TeacherArguments,
    Weights,
    WeightsKey,
)
from kdrec.cli.terminal import percent, progress_bar, say, show_json, show_rows, size
from kdrec.client import Recording, is_address, open_recording
from kdrec.errors import (
    EXIT_CONFLICT,
    EXIT_DONE,
    EXIT_INTEGRITY,
    EXIT_NOT_FOUND,
    InvalidInputError,
)
from kdrec.samples import SampleSet
from kdrec.store import (
    CONFIDENCE,
    RecordingReader,
    VerifyReport,
    count_draws,
    is_object_address,
    open_place,
    unnoticed_share,
    verify_bytes,
)

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one of the checks found: for people, for machines, for the shell."""

    rows: dict[str, str]
    found: dict[str, Any]
    code: int = EXIT_DONE


def verify(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING",
            help="A folder, whole or partial, or a bucket's s3://, gs:// or az://; without --bytes"
            " also http(s)://.",
        ),
    ],
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
    teacher: RecordedTeacher = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    teacher_arg: TeacherArguments = None,
    device: Device = None,
    cache: Cache = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Check a recording: pass (exit 0), damaged (4), incomplete (3), other data or teacher (5).

    Incomplete is also what has all its blocks and no seal: it has no identity.

    --replay and --teacher look at the proof records, a seeded sample of the whole plan, and say how
    much of it could differ unnoticed. --teacher asks about the data of --replay, or about those
    that the recording keeps.
    """
    if not (check_bytes or replay or teacher):
        raise InvalidInputError(
            "say what to verify: --bytes, --replay DATA, --teacher NAME, or several of them"
        )
    if check_bytes and is_address(recording) and not is_object_address(recording):
        raise InvalidInputError(
            f"{recording} is behind a server, which may check its own; fetch it first, then verify "
            "the copy"
        )
    findings = [_verify_bytes(recording)] if check_bytes else []
    if (replay or teacher) and not any(finding.code == EXIT_INTEGRITY for finding in findings):
        found = open_recording(recording, cache=cache, token=token)
        samples = None
        if replay is not None:
            samples = load_like(found.manifest.plan.data, replay, data_arg, split)
            findings.append(_verify_replay(found, samples, tolerance))
        if teacher is not None:
            named = NamedTeacher(teacher, teacher_arg, weights, weights_key, device)
            findings.append(
                _verify_teacher(
                    found, named, found.samples() if samples is None else samples, tolerance
                )
            )
    _show(recording, replay, findings, as_json=as_json)
    code = max((finding.code for finding in findings), default=EXIT_DONE)
    if code:
        raise typer.Exit(code)


def _show(recording: str, replay: str | None, findings: list[_Finding], *, as_json: bool) -> None:
    if as_json:
        result: dict[str, Any] = {"recording": recording, "replayed": replay}
        for finding in findings:
            result |= finding.found
        show_json(result)
        return
    rows = {"recording": recording}
    for finding in findings:
        rows |= finding.rows
    show_rows(rows)


def _verify_bytes(where: str) -> _Finding:
    storage = open_place(where)
    remedy = f"run `kdrec repair {where} --from COPY`, or with --teacher in the place of --from"
    reader = RecordingReader(storage, where=where, remedy=remedy)
    with progress_bar("verifying") as bar:
        for done, report in enumerate(verify_bytes(reader, storage)):  # noqa: B007 - the last one
            bar.update(done, len(reader.grid) + 1)
    _say_lines(report, where)
    verdict, code = _judge(report)
    rows = {
        "verdict": verdict,
        "checked": f"{report.files} files, {size(report.num_bytes)}, "
        f"{report.proof_checked} of {report.proof_records} proof records",
        "damaged": str(len(report.damaged)),
        "absent blocks": str(len(report.absent)),
    }
    found = {
        "files": report.files,
        "bytes": report.num_bytes,
        "proof_records": report.proof_checked,
        "damaged": report.damaged,
        "absent": [block.name for block in report.absent],
        "sealed": report.sealed,
        "unlisted": report.unlisted,
    }
    return _Finding(rows, found, code)


def _judge(report: VerifyReport) -> tuple[str, int]:
    if report.damaged:
        return "damaged", EXIT_INTEGRITY
    if report.absent:
        return "incomplete", EXIT_NOT_FOUND
    return ("pass", EXIT_DONE) if report.sealed else ("not sealed", EXIT_NOT_FOUND)


def _say_lines(report: VerifyReport, where: str) -> None:
    for line in report.damaged[:_SHOWN]:
        say(line)
    if len(report.damaged) > _SHOWN:
        say(f"... and {len(report.damaged) - _SHOWN} more")
    for block in report.absent[:_SHOWN]:
        say(f"{block} is not here")
    for key in report.unlisted[:_SHOWN]:
        say(f"{key} is no part of the recording; nothing reads it")
    if not (report.sealed or report.absent):
        say(
            f"all blocks of {where} are there and intact, but its seal.json is not: it has no "
            "identity, and nothing proves that its ledger is the one that was sealed; run the same "
            f"kdrec record again, or `kdrec repair {where} --from COPY`"
        )


def _verify_replay(recording: Recording, samples: SampleSet, tolerance: float) -> _Finding:
    """Raises where the samples are others; what is shown is that they are not."""
    recording.check(samples, tolerance=tolerance)
    proof = recording.reader.proof()
    draws = count_draws(proof, recording.manifest)
    rows = {
        "replay": f"{len(samples)} clouds are the recorded ones, and {len(proof)} proof records "
        f"replayed give what the teacher saw; {_describe_confidence(draws)}",
    }
    found = {"clouds": len(samples), "proof_records": len(proof), **_confidence(draws)}
    return _Finding(rows, {"replay": found})


def _verify_teacher(
    recording: Recording, named: NamedTeacher, samples: SampleSet, tolerance: float
) -> _Finding:
    from kdrec.recorder import TeacherVerdict, verify_teacher

    teacher = named.load(recording.manifest.plan)
    compared = verify_teacher(recording, teacher, samples, tolerance=tolerance)
    rows = {"teacher": f"{compared.verdict}: {compared.reason}"}
    if compared.largest_difference is not None:
        rows["answers"] = (
            f"{compared.identical} of {compared.records} to the bit; largest difference "
            f"{compared.largest_difference:.2g} of the largest logit, {compared.allowed:g} may be "
            "rounding"
        )
    if compared.fidelity is not None:
        divergence = compared.fidelity.divergences[0]
        rows["agreement"] = (
            f"mean KL {divergence.larger:.2g} nats at T 1, same best class in "
            f"{percent(compared.fidelity.agreement, 1)}"
        )
    if compared.verdict is not TeacherVerdict.ANOTHER:
        rows["confidence"] = _describe_confidence(compared.draws)
    found = asdict(compared) | _confidence(compared.draws)
    another = compared.verdict is TeacherVerdict.ANOTHER
    return _Finding(rows, {"teacher": found}, EXIT_CONFLICT if another else EXIT_DONE)


def _confidence(draws: int) -> dict[str, float]:
    return {"confidence": CONFIDENCE, "unnoticed_share": unnoticed_share(draws)}


def _describe_confidence(draws: int) -> str:
    return (
        f"with {100 * CONFIDENCE:.0f} % confidence fewer than {100 * unnoticed_share(draws):.2g} % "
        f"of all records differ ({draws} were drawn)"
    )
