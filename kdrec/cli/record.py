"""`kdrec record`."""

import os
import shlex
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from kdrec.augment import format_augmentation, parse_augmentation
from kdrec.cli import record_options as options
from kdrec.cli.allocator import keep_freed_memory
from kdrec.cli.cost import Trial, cost_as_json, show_cost
from kdrec.cli.options import Config, DataArguments, Json, Split
from kdrec.cli.record_log import RecordLog, find_log
from kdrec.cli.record_watch import RecordWatch
from kdrec.cli.teacher_options import TeacherArguments, Weights, WeightsKey
from kdrec.cli.terminal import (
    describe_score,
    percent,
    progress_bar,
    say,
    say_error,
    show_json,
    show_rows,
    size,
)
from kdrec.cli.termination import terminated_like_interrupted
from kdrec.client import open_recording
from kdrec.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet, align, find_preset, load_samples, name_classes

if TYPE_CHECKING:
    from kdrec.recorder import Conduct, RecordRequest, RecordResult


def record(
    context: typer.Context,
    out: options.Out,
    teacher: options.TeacherFactory,
    data: options.Data,
    preset: options.Preset = None,
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
    batch_size: options.BatchSize = "32",
    block_samples: options.BlockSamples = None,
    fast: options.Fast = False,
    compiled: options.Compile = False,
    part: options.Part = None,
    begin_timeout: options.BeginTimeout = 1800.0,
    retry_seconds: options.RetrySeconds = 300.0,
    log: options.LogFile = None,
    price_per_hour: options.PricePerHour = None,
    trial: Trial = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run a teacher over augmented views of a data set and keep what it says.

    The same command continues a recording that was stopped, at any moment, to the same bytes.
    Started several times, by hand, torchrun, srun or as a job array, it shares the work.
    """
    from kdrec.recorder import (
        Conduct,
        RecordRequest,
        TeacherOptions,
        Votes,
        count_gpus,
        default_threads,
        device_of_share,
        estimate,
        find_share,
        load_teacher,
        read_class_map,
        read_class_names,
    )

    keep_freed_memory()
    share = find_share(part, os.environ)
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
    if preset is not None:
        samples = name_classes(samples, find_preset(preset))
    teacher_options = TeacherOptions(
        factory=teacher,
        arguments=parse_arguments(teacher_arg or []),
        weights=weights,
        weights_key=weights_key,
        input_layout=input_layout,
        output=output,
        device=device_of_share(device, share, num_gpus=count_gpus()),
        precision=precision,
        votes=None if votes is None else Votes(votes, vote_augmentation),
        fast=fast,
        compiled=compiled,
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
        batch_size=options.parse_batch_size(batch_size),
        block_samples=block_samples,
        threads=threads,
        default_threads=default_threads(os.environ),
        point_choice=point_choice,
        with_samples=with_samples,
        class_map=None if class_map is None else read_class_map(class_map, data, data_arguments),
        teacher_classes=None if teacher_classes is None else read_class_names(teacher_classes),
        fast=fast,
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
    conduct = Conduct(
        share=share, begin_seconds=begin_timeout, retry_seconds=retry_seconds, clock=time.monotonic
    )
    journal_log = RecordLog(find_log(out, share, log), share, now=lambda: datetime.now(UTC))
    quiet = part is None and share.index > 0  # one process of a launcher speaks for all
    with terminated_like_interrupted(abandon=partial(_abandon, journal_log)):
        try:
            result, spent = _run(
                request, samples, conduct, journal_log, quiet=quiet, price_per_hour=price_per_hour
            )
        except InvalidInputError as error:
            if error.kind is ErrorKind.OUT_OF_MEMORY:
                raise _with_remedy(error, context.obj) from error
            raise
    if not quiet:
        if result.new_records < result.records:
            say(
                "the blocks that were there were compared with the ledger by size alone; "
                f"`kdrec verify --bytes {out}` reads every byte"
            )
        _show(request, samples, result, spent, as_json=as_json)


def _run(
    request: "RecordRequest",
    samples: SampleSet,
    conduct: "Conduct",
    log: RecordLog,
    *,
    quiet: bool,
    price_per_hour: float | None,
) -> tuple["RecordResult", dict[str, Any]]:
    """Record, watched; the result, and what it took."""
    from kdrec.recorder import load_teacher, record

    clock = conduct.clock
    started = clock()
    log.write("start", recording=str(request.out))
    try:
        with progress_bar("recording", "records", shown=not quiet) as bar:
            watch = RecordWatch(bar, log, conduct.share, views=request.views, clock=clock)
            teacher = load_teacher(request.teacher)
            result = record(request, teacher, samples, watch, conduct=conduct, journal=watch)
        spent = watch.spent.summary(clock() - started, price_per_hour=price_per_hour)
        log.write("end", identity=result.identity, **spent)
    except BaseException as error:
        log.write("stop", error=type(error).__name__, message=str(error))
        raise
    finally:
        log.close()
    return result, spent


def _abandon(log: RecordLog) -> None:
    """Last words of a process that was told to stop and cannot."""
    reason = "a store or device did not answer; what was at hand is abandoned"
    log.write("stop", error="Abandoned", message=reason)
    say_error(f"{reason}; what was committed stays, the same command continues")


def _with_remedy(error: InvalidInputError, arguments: list[str]) -> InvalidInputError:
    """An error that memory ran out, with the command that goes on."""
    command = shlex.join(["kdrec", *arguments])
    return InvalidInputError(
        f"{error}. The batch size of a recording that was begun stays: when the memory is free "
        f"again, continue with `{command}`; a new recording may have --fast, which halves the "
        "batch where it must",
        kind=error.kind,
    )


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


def _show(
    request: "RecordRequest",
    samples: SampleSet,
    result: "RecordResult",
    spent: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    if as_json:
        found = asdict(result) | {"correct": result.correct.model_dump()} | spent
        show_json({"recording": str(request.out), **found})
        return
    rows = {"recording": str(request.out), "identity": result.identity}
    rows["records"] = f"{result.records:,}, of which {result.new_records:,} now"
    if result.correct.records:
        rows["teacher accuracy"] = describe_score(result.correct)
    rows["size"] = size(result.num_bytes)
    rows["logits per record"] = f"{result.logit_bytes / result.records:.1f} B"
    rows["time"] = f"{spent['seconds']:.1f} s"
    if result.new_records:
        rows["speed"] = (
            f"{spent['records_per_second']:,.0f} records/s, "
            f"{percent(spent['teacher_share'], 1)} of the time at the teacher"
        )
    if spent["cost_per_million_records"] is not None:
        rows["cost per million records"] = f"{spent['cost_per_million_records']:.4g} (this process)"
    show_rows(rows)
    if open_recording(request.out).manifest.plan.with_samples:
        say(
            f"The {len(samples)} clouds are kept in the recording: share it only as the licence of "
            "the data allows, or record with --without-samples."
        )
