"""`kdrec convert`."""

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from kdrec.cli.fidelity import fidelity_as_json, show_fidelity
from kdrec.cli.inspection import logit_bytes_per_record
from kdrec.cli.options import Cache, Json, RecordingArgument, Token, parse_views
from kdrec.cli.terminal import progress_bar, say, show_json, show_rows
from kdrec.client import ConvertRequest, Recording, open_recording
from kdrec.client import convert as run
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.store import ENCODINGS, EncodingPlan, plan_encoding


def convert(
    recording: RecordingArgument,
    out: Annotated[
        str,
        typer.Argument(help="Folder of the new recording, NAME.zarr, or s3://BUCKET/NAME.zarr."),
    ],
    views: Annotated[
        str | None, typer.Option(metavar="FIRST:END", help="Views to keep; all by default.")
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:END|FILE",
            help="Samples to keep, or a text file of their numbers; all by default.",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help=f"Of the logits: {', '.join(ENCODINGS)}; the same by default."),
    ] = None,
    max_kl: Annotated[
        float | None, typer.Option(help="What compact and portable keep; see kdrec record.")
    ] = None,
    max_error: Annotated[float | None, typer.Option(help="Or the greatest error.")] = None,
    kept: Annotated[int | None, typer.Option(help="Classes that topk keeps.")] = None,
    group: Annotated[
        int | None, typer.Option(min=1, help="Views coded together; as many by default.")
    ] = None,
    block_samples: Annotated[
        int | None, typer.Option(min=1, help="Samples of a block; derived by default.")
    ] = None,
    with_samples: Annotated[
        bool | None,
        typer.Option(
            "--with-samples/--without-samples", help="Keep the clouds; as it is by default."
        ),
    ] = None,
    cache: Cache = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a recording of fewer views or samples, in another encoding or group size.

    Every block is read back and compared as it is written; the same command continues. The new
    recording names the one it was made from, and its bound counts both encodings.
    """
    source = open_recording(recording, cache=cache, token=token)
    request = ConvertRequest(
        views=parse_views(views),
        samples_S=None if samples is None else _parse_samples(samples),
        encoding=_plan_encoding(source, encoding, max_kl, max_error, kept),
        group=group,
        block_samples=block_samples,
        with_samples=with_samples,
    )
    with progress_bar("converting", "blocks") as bar:
        for progress in run(source, out, request):
            bar.update(progress.done, progress.total)
    _show(source, open_recording(out, cache=cache), as_json=as_json)


def _plan_encoding(
    source: Recording,
    name: str | None,
    max_kl: float | None,
    max_error: float | None,
    kept: int | None,
) -> EncodingPlan | None:
    """The encoding asked for: that of the source where only its fidelity is another."""
    if name is None and max_kl is None and max_error is None and kept is None:
        return None
    name = name or source.manifest.plan.encoding.name
    return plan_encoding(name, max_kl=max_kl, max_error=max_error, kept=kept)


def _parse_samples(text: str) -> npt.NDArray[np.int64]:
    """`0:100`, or a text file with one number a line."""
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if found is not None:
        return np.arange(int(found[1]), int(found[2]))
    path = Path(text)
    if not path.is_file():
        raise NotFoundError(f"no file {text}; give samples as FIRST:END or a file of numbers")
    words = path.read_text(errors="replace").split()
    wrong = [word for word in words if not re.fullmatch(r"[0-9]{1,18}", word)]
    if wrong:
        raise InvalidInputError(f"{text} must hold sample numbers, a line each; got {wrong[0]!r}")
    return np.array(words, dtype=np.int64)


def _show(source: Recording, made: Recording, *, as_json: bool) -> None:
    measured, manifest = made.fidelity(), made.manifest
    per_record = logit_bytes_per_record(made)
    if as_json:
        show_json(
            {
                "recording": made.where,
                "identity": made.identity,
                "origin": source.identity,
                "views": made.num_views,
                "samples": made.num_samples,
                "bounds": [bound.model_dump() for bound in manifest.bounds],
                "proof_records": manifest.num_proof,
                "logit_bytes_per_record": per_record,
                "fidelity": None if measured is None else fidelity_as_json(measured),
            }
        )
        return
    show_rows(
        {
            "recording": made.where,
            "identity": made.identity or "",
            "made from": f"{source.where}, identity {source.identity}",
            "records": f"{made.num_views} views x {made.num_samples} samples, all read back",
            "encoding": f"{manifest.plan.encoding}; bound on every logit: "
            + ", then ".join(map(str, manifest.bounds)),
            "proof": f"{manifest.num_proof} records with exact logits and fingerprints",
            "logits per record": f"{per_record or 0:.1f} B",
        }
    )
    if measured is not None:
        show_fidelity(measured, made)
    if manifest.plan.with_samples:
        say("The clouds are kept in it: share it only as the licence of the data allows.")
