"""`kdrec record`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdrec.augment import format_augmentation, parse_augmentation
from kdrec.cli.cost import Trial, cost_as_json, show_cost
from kdrec.cli.options import Config, Json
from kdrec.cli.teacher_options import TEACHER_HELP, TeacherArguments, Weights, WeightsKey
from kdrec.cli.terminal import (
    Bar,
    describe_score,
    progress_bar,
    say,
    say_warning,
    show_json,
    show_rows,
    size,
)
from kdrec.errors import InvalidInputError
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet, load_samples
from kdrec.store import ENCODINGS, MOST_COMPACT_CLASSES

if TYPE_CHECKING:
    from kdrec.recorder import (
        FoundRecording,
        ProbeReport,
        RecordProgress,
        RecordRequest,
        RecordResult,
        TeacherScore,
    )

_TEACHER, _DATA, _PLAN = "Teacher", "Data", "Plan"


def record(
    out: Annotated[
        str, typer.Argument(help="Folder of the recording, NAME.zarr, or s3://BUCKET/NAME.zarr.")
    ],
    teacher: Annotated[
        str,
        typer.Option(help=TEACHER_HELP, rich_help_panel=_TEACHER),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="An .npz or .h5 file, a folder of .h5 files, module:factory or file.py:factory "
            "returning a data set, or `shapes` for the built-in ones.",
            rich_help_panel=_DATA,
        ),
    ],
    weights: Weights = None,
    weights_key: WeightsKey = None,
    teacher_arg: TeacherArguments = None,
    teacher_classes: Annotated[
        Path | None,
        typer.Option(
            help="Text file with the teacher's class names, one a line.", rich_help_panel=_TEACHER
        ),
    ] = None,
    input_layout: Annotated[
        Literal["BN3", "B3N"],
        typer.Option(help="Points last, or channels first.", rich_help_panel=_TEACHER),
    ] = "BN3",
    output: Annotated[
        str | None,
        typer.Option(
            help="Entry of the tuple (0) or dict (logits) that the teacher returns.",
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:1.", rich_help_panel=_TEACHER)
    ] = "cpu",
    precision: Annotated[
        Literal["float32", "tf32", "bf16", "fp16"],
        typer.Option(help="Of the teacher's arithmetic.", rich_help_panel=_TEACHER),
    ] = "float32",
    votes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Keep the mean logits of K more draws on top of each view.",
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    vote_augment: Annotated[
        str | None,
        typer.Option(
            help="What is drawn for each vote; by default --augment once more.",
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the CPU; part of the plan, all cores by default.",
            rich_help_panel=_TEACHER,
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
        typer.Option(
            metavar="FIELD=VALUE", help="Only samples whose field has this value: split=0.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    num_points: Annotated[
        int | None,
        typer.Option(min=1, help="Points of a cloud; all by default.", rich_help_panel=_DATA),
    ] = None,
    point_choice: Annotated[
        Literal["first", "farthest"],
        typer.Option(help="Which points, of a larger cloud.", rich_help_panel=_DATA),
    ] = "first",
    class_map: Annotated[
        str | None,
        typer.Option(
            help="Teacher column of each class of the data: 1,2,8 or a field of the data; "
            "by default matched by class names.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    with_samples: Annotated[
        bool | None,
        typer.Option(
            "--with-samples/--without-samples",
            help="Keep the clouds in the recording, so that a student needs nothing else; "
            "by default up to 2 GiB.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    augment: Annotated[
        str,
        typer.Option(
            help="Ordered list, e.g. scale=0.9:1.1,rotate_y=-15:15,translate=0.05,normalize; "
            "also reflect_x, subset=512.",
            rich_help_panel=_PLAN,
        ),
    ] = "none",
    views: Annotated[
        int, typer.Option(min=1, help="Views of every cloud.", rich_help_panel=_PLAN)
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the views.", rich_help_panel=_PLAN)] = 0,
    encoding: Annotated[
        str | None,
        typer.Option(
            help=f"Of the logits: {', '.join(ENCODINGS)}; by default compact, and topk above "
            f"{MOST_COMPACT_CLASSES} classes.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    kept: Annotated[
        int | None,
        typer.Option(help="Classes that topk keeps; 32 by default.", rich_help_panel=_PLAN),
    ] = None,
    max_kl: Annotated[
        float | None,
        typer.Option(
            help="What compact and portable keep: the mean KL divergence, both ways, at "
            "temperatures 1, 2, 4 and 8; 2.5e-4 by default.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(help="Or the greatest error of every logit: 0.05.", rich_help_panel=_PLAN),
    ] = None,
    group: Annotated[
        int, typer.Option(min=1, help="Views coded together.", rich_help_panel=_PLAN)
    ] = 8,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Clouds at once.", rich_help_panel=_PLAN)
    ] = 32,
    block_samples: Annotated[
        int | None,
        typer.Option(
            min=1, help="Samples of a block, the unit of commit; derived by default.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    trial: Trial = None,
    config: Config = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run a teacher over augmented views of a data set and keep what it says.

    The same command continues a recording that was stopped, at any moment, to the same bytes.
    """
    from kdrec.recorder import (
        RecordRequest,
        TeacherOptions,
        Votes,
        estimate,
        load_teacher,
        read_class_map,
        read_class_names,
    )
    from kdrec.recorder import record as run

    augmentation = parse_augmentation(augment)
    vote_augmentation = parse_augmentation(augment if vote_augment is None else vote_augment)
    if vote_augment is not None and votes is None:
        raise InvalidInputError(
            "--vote-augment says how votes are drawn; say how many by --votes K"
        )
    samples = load_samples(
        data,
        arguments=parse_arguments(data_arg or []),
        split=split,
        num_points=num_points,
        point_choice=point_choice,
    )
    options = TeacherOptions(
        factory=teacher,
        arguments=parse_arguments(teacher_arg or []),
        weights=weights,
        weights_key=weights_key,
        input_layout=input_layout,
        output=output,
        device=device,
        precision=precision,
        votes=None if votes is None else Votes(votes, vote_augmentation),
    )
    request = RecordRequest(
        out=out,
        teacher=options,
        augmentation=augmentation,
        views=views,
        seed=seed,
        encoding=encoding,
        max_kl=max_kl,
        max_error=max_error,
        kept=kept,
        group=group,
        batch_size=batch_size,
        block_samples=block_samples,
        threads=threads,
        point_choice=point_choice,
        with_samples=with_samples,
        class_map=None if class_map is None else read_class_map(class_map, data),
        teacher_classes=None if teacher_classes is None else read_class_names(teacher_classes),
    )
    say(f"{len(samples)} clouds x {views} views under {format_augmentation(augmentation)}")
    if trial is not None:
        found = estimate(
            request, load_teacher(options), samples, clock=time.perf_counter, trial_records=trial
        )
        show_json(cost_as_json(found)) if as_json else show_cost(found)
        return
    started = time.monotonic()
    with progress_bar("recording", "records") as bar:
        result = run(request, load_teacher(options), samples, _Watcher(bar))
    _show(request, samples, result, time.monotonic() - started, as_json=as_json)


class _Watcher:
    """Shows what the recorder tells."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._waited = False

    def on_probe(self, report: "ProbeReport", score: "TeacherScore | None") -> None:
        say(f"teacher probed: answers repeat within {report.repeatability:.2g}")
        if score is None:
            return
        say(f"teacher on {score.clean.records} clean clouds: {describe_score(score.clean)}")
        say(f"teacher on the same under the plan: {describe_score(score.planned)}")
        if score.is_large_loss:
            say_warning(
                f"the augmentation costs this teacher {100 * score.loss:.1f} points of accuracy; "
                "a teacher trained on centred and scaled clouds wants normalize as the last entry "
                "of --augment, or smaller ranges"
            )

    def on_wait(self) -> None:
        if not self._waited:
            say("another process records this; waiting for it to finish or stop")
        self._waited = True

    def on_found(self, found: "FoundRecording") -> None:
        if found.took_over:
            say("took over from a recorder that stopped without giving its lock back")
        if found.unfinished:
            say(f"removed {len(found.unfinished)} half-written files of a recorder that was killed")
        say(f"continuing: {found.blocks} of {found.total} blocks are there")

    def on_progress(self, progress: "RecordProgress") -> None:
        self._bar.update(progress.records, progress.total)


def _show(
    request: "RecordRequest",
    samples: SampleSet,
    result: "RecordResult",
    seconds: float,
    *,
    as_json: bool,
) -> None:
    if as_json:
        found = asdict(result) | {"correct": result.correct.model_dump(), "seconds": seconds}
        show_json({"recording": str(request.out), **found})
        return
    rows = {"recording": str(request.out), "identity": result.identity}
    rows["records"] = f"{result.records:,}, of which {result.new_records:,} now"
    if result.correct.records:
        rows["teacher accuracy"] = describe_score(result.correct)
    rows["size"] = size(result.num_bytes)
    rows["logits per record"] = f"{result.logit_bytes / result.records:.1f} B"
    rows["time"] = f"{seconds:.1f} s"
    show_rows(rows)
    if request.with_samples is not False:
        say(
            f"The {len(samples)} clouds are kept in the recording: share it only as the licence of "
            "the data allows, or record with --without-samples."
        )
