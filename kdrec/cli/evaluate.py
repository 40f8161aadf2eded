"""`kdrec evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdrec.augment import Augmentation, parse_augmentation
from kdrec.cli.allocator import keep_freed_memory
from kdrec.cli.options import Config, Json, Split
from kdrec.cli.terminal import say, show_json, show_rows
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet, load_samples

if TYPE_CHECKING:
    from kdrec.student import CheckpointInfo, EvaluationReport

_USUAL_VIEWS = "scale=0.9:1.1,rotate_y=-15:15,translate=0.05"


def evaluate(
    weights: Annotated[
        Path, typer.Argument(help="Folder of a training, or a .safetensors file of it.")
    ],
    data: Annotated[
        str, typer.Option(help="Labelled data: a file, a factory, or `shapes`, as for `record`.")
    ],
    data_arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the data's factory."),
    ] = None,
    split: Split = None,
    num_points: Annotated[
        int | None, typer.Option(min=1, help="Points of a cloud; all by default.")
    ] = None,
    point_choice: Annotated[
        Literal["first", "farthest"], typer.Option(help="Which points, of a larger cloud.")
    ] = "first",
    student: Annotated[
        str | None,
        typer.Option(help="Its name or factory; needed where it came from a factory."),
    ] = None,
    votes: Annotated[
        int, typer.Option(min=0, help="Augmented views that vote beside the cloud as it is.")
    ] = 0,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Of these views, as for `record`; by default scale, rotate_y and translate, and "
            "normalize where the recording did."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of these views.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes a GPU where there is one.")
    ] = "auto",
    confusion: Annotated[
        Path | None, typer.Option(help="Draw what is taken for what, a PNG; needs matplotlib.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Score a trained student on labelled data."""
    from kdrec.student import Votes, load_student
    from kdrec.student import evaluate as run
    from kdrec.student.devices import find_device
    from kdrec.student.evaluation import check_test_samples

    keep_freed_memory()
    trained = load_student(weights, student=student)
    samples = load_samples(
        data,
        arguments=parse_arguments(data_arg or []),
        split=split,
        num_points=num_points,
        point_choice=point_choice,
        channels=trained.info.recording.channels,
    )
    check_test_samples(samples, trained.info.recording)
    report = run(
        trained.model,
        samples,
        batch_size=batch_size,
        device=find_device(device),
        normalize=trained.info.recording.normalized,
        class_columns=trained.info.recording.class_columns,
        votes=Votes(_augmentation(augment, trained.info), votes, seed) if votes else None,
    )
    _draw(confusion, report, samples)
    _show(report, trained.info, samples, as_json=as_json)


def _augmentation(text: str | None, info: "CheckpointInfo") -> Augmentation:
    if text is None:
        text = _USUAL_VIEWS + (",normalize" if info.recording.normalized else "")
    return parse_augmentation(text)


def _draw(path: Path | None, report: "EvaluationReport", samples: SampleSet) -> None:
    if path is None:
        return
    from kdrec.student.pictures import draw_confusion

    draw_confusion(report, path, class_names=samples.class_names)
    say(f"drew {path}")


def _show(
    report: "EvaluationReport", info: "CheckpointInfo", samples: SampleSet, *, as_json: bool
) -> None:
    recording = info.recording.identity or "not finished when the student was trained"
    if as_json:
        show_json(
            {
                **asdict(report),
                "class_names": samples.class_names,
                "student": info.settings.student,
                "recording": info.recording.model_dump(mode="json"),
            }
        )
        return
    show_rows(
        {
            "accuracy": f"{100 * report.accuracy:.1f} % of {report.count}",
            "mean over classes": f"{100 * report.mean_class_accuracy:.1f} %",
            "student": f"{info.settings.student}, {len(info.epochs)} epochs",
            "recording": recording,
        }
    )
