"""From what a user asks for to the plan of a recording."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from pydantic import ValidationError

from kdrec.augment import Augmentation
from kdrec.errors import InvalidInputError, describe_invalid
from kdrec.recorder.batch_size import largest_batch_size
from kdrec.recorder.classes import match_classes
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.resident import resident_points
from kdrec.recorder.teacher import Argument, Teacher, TeacherOptions
from kdrec.recorder.votes import recorded_votes
from kdrec.samples import PointChoice, SampleIdentity, SampleSet
from kdrec.store import (
    Classes,
    DataPlan,
    Plan,
    SampleContents,
    TeacherPlan,
    default_block_samples,
    plan_encoding,
)

DEFAULT_GROUP = 8
DEFAULT_BATCH_SIZE = 32
MOST_SAMPLE_BYTES = 2 * 2**30

BatchSize: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """What to record.

    Attributes:
        out: Folder of the recording, or its address in an object store.
        teacher: Which teacher, and how it is called.
        augmentation: Of the views.
        views: V.
        seed: Of everything that is drawn.
        encoding: Name of the logits' encoding, None to choose by the number of classes.
        max_kl: What the encoding keeps, see `kdrec.store.plan_encoding`.
        max_error: Likewise.
        kept: Likewise.
        group: Views coded together.
        batch_size: Clouds at once; `auto` for the largest that the device has the memory for, or
            the recording's own.
        block_samples: Samples of a block, None to derive it.
        threads: Of the CPU, None for the recording's own, or `default_threads`.
        default_threads: Of a new recording, None for what torch would take.
        point_choice: How the samples' points were chosen, for the plan.
        with_samples: Whether to keep the points, None for "up to 2 GiB".
        class_map: Teacher column of each class of the data, None to match by name.
        teacher_classes: Names of the teacher's classes, None for what the teacher says.
        fast: Whether bytes may differ from run to run for the sake of speed, see `Plan`.
    """

    out: Path | str
    teacher: TeacherOptions
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 1
    seed: int = 0
    encoding: str | None = None
    max_kl: float | None = None
    max_error: float | None = None
    kept: int | None = None
    group: int = DEFAULT_GROUP
    batch_size: BatchSize = DEFAULT_BATCH_SIZE
    block_samples: int | None = None
    threads: int | None = None
    default_threads: int | None = None
    point_choice: PointChoice = "first"
    with_samples: bool | None = None
    class_map: tuple[int, ...] | None = None
    teacher_classes: tuple[str, ...] | None = None
    fast: bool = False


def draft_plan(
    request: RecordRequest,
    teacher: Teacher,
    samples: SampleSet,
    identity: SampleIdentity,
    *,
    recorded: Plan | None,
) -> tuple[Plan, Classes]:
    """The plan, and what the columns of the logits mean.

    Args:
        request: What was asked for.
        teacher: Loaded.
        samples: Preprocessed.
        identity: Of these samples.
        recorded: See `make_plan`.

    Raises:
        InvalidInputError: A value is out of range, or the classes cannot be matched.
    """
    num_classes = _count_columns(teacher, samples)
    names = request.teacher_classes or teacher.class_names
    class_map = match_classes(
        samples, num_teacher=num_classes, teacher_names=names, class_map=request.class_map
    )
    if request.batch_size == "auto":
        tried = recorded.batch_size if recorded else _try_batches(request, teacher, samples)
        request = replace(request, batch_size=tried)
    plan = make_plan(
        request,
        teacher,
        samples,
        identity,
        num_classes=num_classes,
        class_map=class_map,
        recorded=recorded,
    )
    return plan, Classes(num_teacher=num_classes, teacher=names, data=samples.class_names)


def _count_columns(teacher: Teacher, samples: SampleSet) -> int:
    one_BND = torch.tensor(samples.points_SND[:1], device=teacher.device)
    return int(teacher.uncompiled().logits(one_BND).shape[1])


def _try_batches(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> int:
    return largest_batch_size(
        TeacherPass(
            teacher.uncompiled(),
            samples,
            request.augmentation,
            request.seed,
            batch_size=1,
            resident=resident_points(samples, teacher.device),
        )
    )


def make_plan(
    request: RecordRequest,
    teacher: Teacher,
    samples: SampleSet,
    identity: SampleIdentity,
    *,
    num_classes: int,
    class_map: tuple[int, ...] | None,
    recorded: Plan | None,
) -> Plan:
    """The plan of a request.

    Args:
        request: What was asked for, its batch size a number.
        teacher: Loaded.
        samples: Preprocessed.
        identity: Of these samples.
        num_classes: C, the teacher's columns.
        class_map: Matched.
        recorded: Plan of the recording that is continued; what depends on the machine, the number
            of threads, is taken from it unless it was asked for.

    Raises:
        InvalidInputError: A value is out of range.
    """
    assert request.batch_size != "auto", "draft_plan tries it"
    request.augmentation.num_points(samples.num_points)
    group = min(request.group, request.views)
    try:
        return Plan(
            teacher=_teacher_plan(teacher),
            data=_data_plan(samples, identity, request.point_choice),
            augmentation=request.augmentation,
            seed=request.seed,
            views=request.views,
            group=group,
            precision=teacher.options.precision,
            device=torch.device(teacher.options.device).type,
            batch_size=request.batch_size,
            block_samples=request.block_samples
            or default_block_samples(
                num_samples=len(samples),
                group=max(1, group),
                classes=num_classes,
                batch_size=request.batch_size,
            ),
            threads=_threads(request, recorded),
            encoding=plan_encoding(
                request.encoding,
                num_classes=num_classes,
                max_kl=request.max_kl,
                max_error=request.max_error,
                kept=request.kept,
            ),
            with_samples=_keeps_samples(request, samples),
            class_map=class_map,
            fast=request.fast,
            compiled=teacher.options.compiled,
        )
    except ValidationError as error:
        raise InvalidInputError(describe_invalid(error)) from error


def _threads(request: RecordRequest, recorded: Plan | None) -> int:
    if request.threads is None and recorded is not None:
        return recorded.threads
    return request.threads or request.default_threads or torch.get_num_threads()


def sample_contents(plan: Plan, samples: SampleSet, identity: SampleIdentity) -> SampleContents:
    """What a recording under this plan keeps of its samples."""
    return SampleContents(
        digests=identity.digests,
        sketches=identity.sketches,
        labels_S=samples.labels_S,
        names=samples.names,
        points_SND=samples.points_SND if plan.with_samples else None,
    )


def recorded_options(
    plan: Plan,
    *,
    factory: str,
    arguments: Mapping[str, Argument],
    weights: Path | None = None,
    weights_key: str | None = None,
    device: str | None = None,
) -> TeacherOptions:
    """How the teacher of a plan is made again: what the plan knows is taken from it.

    Args:
        plan: Of the recording.
        factory: As in `TeacherOptions`; a plan has no paths.
        arguments: Of the factory.
        weights: File of its tensors.
        weights_key: Entry of that file.
        device: None for the plan's kind of device.
    """
    return TeacherOptions(
        factory=factory,
        arguments=arguments,
        weights=weights,
        weights_key=weights_key,
        input_layout=plan.teacher.input_layout,
        output=plan.teacher.output,
        device=device or plan.device,
        precision=plan.precision,
        votes=recorded_votes(plan.teacher.arguments),
        fast=plan.fast,
        compiled=plan.compiled,
    )


def _teacher_plan(teacher: Teacher) -> TeacherPlan:
    return TeacherPlan(
        name=teacher.name,
        arguments=dict(teacher.described_arguments),
        tensors=teacher.digest,
        input_layout=teacher.options.input_layout,
        output=teacher.options.output,
    )


def _data_plan(samples: SampleSet, identity: SampleIdentity, point_choice: PointChoice) -> DataPlan:
    return DataPlan(
        digest=identity.digest,
        num_samples=len(samples),
        num_points=samples.num_points,
        channels=samples.channels,
        point_choice=point_choice,
    )


def _keeps_samples(request: RecordRequest, samples: SampleSet) -> bool:
    if request.with_samples is not None:
        return request.with_samples
    return samples.points_SND.nbytes <= MOST_SAMPLE_BYTES
