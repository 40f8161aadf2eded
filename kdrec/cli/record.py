"""`kdrec record`."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from kdrec.augment import format_augmentation, parse_augmentation
from kdrec.cli import record_options as options
from kdrec.cli.cost import Trial, cost_as_json, show_cost
from kdrec.cli.options import Config, DataArguments, Json, Split
from kdrec.cli.teacher_options import TeacherArguments, Weights, WeightsKey
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
from kdrec.client import open_recording
from kdrec.errors import ConflictError, InvalidInputError, NotFoundError
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet, align, load_samples

if TYPE_CHECKING:
    from kdrec.recorder import (
        FoundRecording,
        ProbeReport,
        RecordProgress,
        RecordRequest,
        RecordResult,
        TeacherScore,
    )


def record(
    out: options.Out,
    teacher: options.TeacherFactory,
    data: options.Data,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    teacher_arg: TeacherArguments = None,
    teacher_classes: options.TeacherClasses = None,
    input_layout: options.Layout = "BN3",
    output: options.Output = None,
    device: options.Device = "cpu",
    precision: options.Arithmetic = "float32",
    votes: options.NumVotes = None,
    vote_augment: options.VoteAugment = None,
    threads: options.Threads = None,
    data_arg: DataArguments = [],  # noqa: B006 - typer copies it
    split: Split = None,
    num_points: options.NumPoints = None,
    point_choice: options.Choice = "first",
    class_map: options.ClassMap = None,
    with_samples: options.WithSamples = None,
    augment: options.Augment = "none",
    views: options.Views = 20,
    seed: options.Seed = 0,
    encoding: options.EncodingName = None,
    max_kl: options.MaxKl = None,
    max_error: options.MaxError = None,
    kept: options.Kept = None,
    group: options.Group = 8,
    batch_size: options.BatchSize = 32,
    block_samples: options.BlockSamples = None,
    trial: Trial = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
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
    data_arguments = parse_arguments(data_arg)
    vote_augmentation = parse_augmentation(augment if vote_augment is None else vote_augment)
    if vote_augment is not None and votes is None:
        raise InvalidInputError(
            "--vote-augment says how votes are drawn; say how many by --votes K"
        )
    samples = load_samples(
        data,
        arguments=data_arguments,
        split=split,
        num_points=num_points,
        point_choice=point_choice,
    )
    teacher_options = TeacherOptions(
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
        teacher=teacher_options,
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
        class_map=None if class_map is None else read_class_map(class_map, data, data_arguments),
        teacher_classes=None if teacher_classes is None else read_class_names(teacher_classes),
    )
    say(f"{len(samples)} clouds x {views} views under {format_augmentation(augmentation)}")
    if trial is not None:
        found = estimate(
            request,
            load_teacher(teacher_options),
            samples,
            clock=time.perf_counter,
            trial_records=trial,
        )
        show_json(cost_as_json(found)) if as_json else show_cost(found)
        return
    _check_continued(out, samples)
    started = time.monotonic()
    with progress_bar("recording", "records") as bar:
        result = run(request, load_teacher(teacher_options), samples, _Watcher(bar))
    if result.new_records < result.records:
        say(
            "the blocks that were there were compared with the ledger by size alone; "
            f"`kdrec verify --bytes {out}` reads every byte"
        )
    _show(request, samples, result, time.monotonic() - started, as_json=as_json)


def _check_continued(out: str, samples: SampleSet) -> None:
    """Name the sample that differs where the plan could only say that its data are others."""
    try:
        begun = open_recording(out)
    except NotFoundError:
        return
    try:
        align(begun.sample_identity(), samples)
    except ConflictError as error:
        raise ConflictError(
            f"{out} was recorded from other data: {error}; or give another name to record anew",
            kind=error.kind,
        ) from error


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
    if open_recording(request.out).manifest.plan.with_samples:
        say(
            f"The {len(samples)} clouds are kept in the recording: share it only as the licence of "
            "the data allows, or record with --without-samples."
        )
