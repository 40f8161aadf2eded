"""`kdrec train`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdrec.cli.allocator import keep_freed_memory
from kdrec.cli.options import (
    Cache,
    CacheLimit,
    Config,
    Json,
    RecordingArgument,
    TestArguments,
    TestSplit,
    Token,
    load_like,
    parse_size,
)
from kdrec.cli.settings_options import with_settings
from kdrec.cli.terminal import Bar, progress_bar, say, show_json, show_rows, size
from kdrec.client import Recording, open_recording
from kdrec.samples import SampleSet
from kdrec.student.settings import TrainSettings

if TYPE_CHECKING:
    from kdrec.student import EpochReport, TrainResult

_DATA = "Data"


@with_settings(TrainSettings)
def train(
    recording: RecordingArgument,
    out: Annotated[Path, typer.Option(help="Folder for weights and results; resumed if begun.")],
    settings: TrainSettings,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECORDING",
            help="Another teacher's recording of the same views, mixed with the first.",
            rich_help_panel="Teachers",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The data it was recorded from; by default those the recording keeps.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    data_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="An argument of the data's factory.", rich_help_panel=_DATA
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="FIELD=VALUE", help="Of --data.", rich_help_panel=_DATA),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Labelled data to score each epoch on.", rich_help_panel=_DATA),
    ] = None,
    test_arg: TestArguments = None,
    test_split: TestSplit = None,
    pictures: Annotated[
        bool, typer.Option(help="Draw curves and confusion matrix; needs matplotlib.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="How long to wait for a view that is being recorded."
        ),
    ] = 0,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    token: Token = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Train a student from a recording, by path or address; the teacher is not needed.

    The same command continues a training that was stopped. For several processes:
    `torchrun --nproc-per-node G -m kdrec.cli train ...`.
    """
    from kdrec.student import join_teachers, joined_processes
    from kdrec.student import train as run

    keep_freed_memory()
    opened = [
        open_recording(
            name,
            cache=cache,
            cache_limit=parse_size(cache_limit),
            token=token,
            wait=wait,
            on_wait=say if os.environ.get("RANK", "0") == "0" else None,
        )
        for name in [recording, *(also or [])]
    ]
    samples = _load(opened[0], data, data_arg, split)
    test_samples = _load(opened[0], test, test_arg, test_split)
    source = join_teachers(opened, samples, settings)
    with (
        joined_processes(os.environ) as processes,
        progress_bar("training", "epochs", shown=processes.first) as bar,
    ):
        result = run(
            source,
            settings,
            out,
            test=test_samples,
            on_progress=lambda report: _update(bar, report, settings.epochs),
            processes=processes,
        )
    if not processes.first:
        return
    if pictures:
        _draw(out, result, test_samples)
    _show(out, result, as_json=as_json)


def _load(
    recording: Recording, source: str | None, arguments: list[str] | None, split: str | None
) -> SampleSet | None:
    if source is None:
        return None
    return load_like(recording.manifest.plan.data, source, arguments or [], split)


def _update(bar: Bar, report: "EpochReport", epochs: int) -> None:
    parts = {"labels": report.label_loss, "teacher": report.teacher_loss,
             "reverse": report.reverse_loss, "self": report.self_loss,
             "head": report.head_loss}  # fmt: skip
    shown = [f"{name} {value:.3g}" for name, value in parts.items() if value is not None]
    scores = {"train": report.train_accuracy, "test": report.test_accuracy}
    accuracy = "".join(f", {name} {100 * s:.1f} %" for name, s in scores.items() if s is not None)
    waited = 100 * report.wait_seconds / report.seconds
    bar.update(
        report.epoch + 1,
        epochs,
        f"loss {report.loss:.3f} ({', '.join(shown)}){accuracy}, waiting {waited:.0f} %",
    )


def _draw(out: Path, result: "TrainResult", test: SampleSet | None) -> None:
    from kdrec.student.pictures import draw_training

    for path in draw_training(out, result, test):
        say(f"drew {path}")


def _show(out: Path, result: "TrainResult", *, as_json: bool) -> None:
    if as_json:
        show_json({"out": str(out), **result.model_dump(mode="json")})
        return
    waited = sum(report.wait_seconds for report in result.epochs)
    rows = {
        "weights": str(out / "best.safetensors"),
        "student": f"{result.settings.student}, {result.num_parameters:,} parameters",
        "epochs": f"{len(result.epochs)}, {result.total_seconds:.1f} s, of which "
        f"{waited:.1f} s waiting for data",
        "peak memory": size(result.peak_memory_bytes),
    }
    if result.best.test_accuracy is not None and result.final.test_accuracy is not None:
        rows["test accuracy"] = (
            f"{100 * result.final.test_accuracy:.1f} % at the end, best "
            f"{100 * result.best.test_accuracy:.1f} % in epoch {result.best.epoch}"
        )
    show_rows(rows)
    say(f"all of it in {out / 'results.json'}, a row an epoch in {out / 'log.csv'}")
