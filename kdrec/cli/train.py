"""`kdrec train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdrec.cli.options import Cache, Config, Json, RecordingArgument, Token, load_like
from kdrec.cli.terminal import Bar, progress_bar, say, show_json, show_rows, size
from kdrec.client import Recording, open_recording
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet

if TYPE_CHECKING:
    from kdrec.student import EpochReport, TrainResult

_DATA, _LOSS = "Data", "Loss"


def train(
    recording: RecordingArgument,
    out: Annotated[Path, typer.Option(help="Folder for weights and results; resumed if begun.")],
    student: Annotated[
        str, typer.Option(help="A name from `kdrec models`, or file.py:factory.")
    ] = "pointnet-s",
    student_arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the student."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epoch e reads view e mod V.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW; falls along a cosine.")] = 1e-3,
    weight_decay: Annotated[float, typer.Option()] = 0.05,
    label_weight: Annotated[
        float, typer.Option(help="Of the cross-entropy.", rich_help_panel=_LOSS)
    ] = 0.1,
    teacher_weight: Annotated[
        float, typer.Option(help="Of the distillation loss.", rich_help_panel=_LOSS)
    ] = 0.9,
    temperature: Annotated[
        float, typer.Option(help="Of the distillation loss.", rich_help_panel=_LOSS)
    ] = 4.0,
    labels_only: Annotated[
        bool,
        typer.Option(
            "--labels-only", help="Same clouds, no teacher: what it adds is the difference.",
            rich_help_panel=_LOSS,
        ),
    ] = False,
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
    test_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="An argument of the test data's factory.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    test_split: Annotated[
        str | None,
        typer.Option(metavar="FIELD=VALUE", help="Of --test.", rich_help_panel=_DATA),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order, dropout.")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read and replay.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU.")] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="How long to wait for a view that is being recorded."
        ),
    ] = 0,
    cache: Cache = None,
    token: Token = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train a student from a recording, by path or address; the teacher is not needed.

    The same command continues a training that was stopped.
    """
    from kdrec.student import TrainSettings
    from kdrec.student import train as run

    settings = TrainSettings(
        student=student,
        student_arguments=parse_arguments(student_arg or []),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        label_weight=label_weight,
        teacher_weight=teacher_weight,
        temperature=temperature,
        labels_only=labels_only,
        seed=seed,
        device=device,
        num_workers=num_workers,
        threads=threads,
    )
    opened = open_recording(recording, cache=cache, token=token, wait=wait)
    samples = _load(opened, data, data_arg, split)
    test_samples = _load(opened, test, test_arg, test_split)
    with progress_bar("training", "epochs") as bar:
        result = run(
            opened,
            settings,
            out,
            samples=samples,
            test=test_samples,
            on_progress=lambda report: _update(bar, report, epochs),
        )
    _show(out, result, as_json=as_json)


def _load(
    recording: Recording, source: str | None, arguments: list[str] | None, split: str | None
) -> SampleSet | None:
    if source is None:
        return None
    return load_like(recording.manifest.plan.data, source, arguments or [], split)


def _update(bar: Bar, report: "EpochReport", epochs: int) -> None:
    accuracy = "" if report.test_accuracy is None else f", test {100 * report.test_accuracy:.1f} %"
    bar.update(report.epoch + 1, epochs, f"loss {report.loss:.3f}{accuracy}")


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
    say(f"all of it in {out / 'results.json'}")
