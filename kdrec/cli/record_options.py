"""The options of `kdrec record`, by the panels of its help; defaults stand with the command."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from kdrec.cli.options import DATA_PANEL
from kdrec.cli.teacher_options import TEACHER_HELP
from kdrec.errors import InvalidInputError
from kdrec.samples import PRESETS, find_preset
from kdrec.store import ENCODINGS, MOST_COMPACT_CLASSES


def apply_preset(context: typer.Context, name: str | None) -> str | None:
    """Make the values of a preset the defaults of this command, below those of `--config`.

    Raises:
        InvalidInputError: There is no such preset.
    """
    if name is not None:
        preset = find_preset(name)
        values = {"augment": preset.augment, "num_points": preset.num_points}
        context.default_map = {**values, **(context.default_map or {})}
    return name


_TEACHER, _PLAN, _RUN = "Teacher", "Plan", "This process"

Out: TypeAlias = Annotated[
    str, typer.Argument(help="Folder of the recording, NAME.zarr, or s3://BUCKET/NAME.zarr.")
]

# Teacher
TeacherFactory: TypeAlias = Annotated[
    str,
    typer.Option(
        "--teacher",
        help=TEACHER_HELP,
        rich_help_panel=_TEACHER,
    ),
]
TeacherClasses: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Text file with the teacher's class names, one a line.", rich_help_panel=_TEACHER
    ),
]
Layout: TypeAlias = Annotated[
    Literal["BN3", "B3N"],
    typer.Option(help="Points last, or channels first.", rich_help_panel=_TEACHER),
]
Output: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Entry of the tuple (0) or dict (logits) that the teacher returns.",
        rich_help_panel=_TEACHER,
    ),
]
Device: TypeAlias = Annotated[
    str, typer.Option(help="cpu, cuda or cuda:1.", rich_help_panel=_TEACHER)
]
Arithmetic: TypeAlias = Annotated[
    Literal["float32", "tf32", "bf16", "fp16"],
    typer.Option(help="Of the teacher's arithmetic.", rich_help_panel=_TEACHER),
]
NumVotes: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Keep the mean logits of K more draws on top of each view.",
        rich_help_panel=_TEACHER,
    ),
]
VoteAugment: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What is drawn for each vote; by default --augment once more.",
        rich_help_panel=_TEACHER,
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of the CPU; part of the plan, all cores by default.",
        rich_help_panel=_TEACHER,
    ),
]

Preset: TypeAlias = Annotated[
    str | None,
    typer.Option(
        is_eager=True,
        callback=apply_preset,
        help=f"A recipe for --augment, --num-points and class names: {', '.join(PRESETS)}; what is "
        "said otherwise wins.",
        rich_help_panel=DATA_PANEL,
    ),
]

# Data; those that other commands have too are in kdrec.cli.options
Data: TypeAlias = Annotated[
    str,
    typer.Option(
        help="An .npz or .h5 file, a folder of .h5 files, of CLASS/*.off|ply|stl meshes or of "
        "CLASS/*.txt points, module:factory or file.py:factory returning a data set, or `shapes` "
        "for the built-in ones.",
        rich_help_panel=DATA_PANEL,
    ),
]
NumPoints: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Points of a cloud; all by default.", rich_help_panel=DATA_PANEL),
]
Choice: TypeAlias = Annotated[
    Literal["first", "farthest"],
    typer.Option(help="Which points, of a larger cloud.", rich_help_panel=DATA_PANEL),
]
ClassMap: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Teacher column of each class of the data: 1,2,8 or a field of the data; "
        "by default matched by class names.",
        rich_help_panel=DATA_PANEL,
    ),
]
WithSamples: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--with-samples/--without-samples",
        help="Keep the clouds in the recording, so that a student needs nothing else; "
        "by default up to 2 GiB.",
        rich_help_panel=DATA_PANEL,
    ),
]

# Plan
Augment: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Ordered list, e.g. scale=0.9:1.1,rotate_y=-15:15,translate=0.05,normalize; "
        "also reflect_x, subset=512.",
        rich_help_panel=_PLAN,
    ),
]
Views: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Views of every cloud.", rich_help_panel=_PLAN)
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Of the views.", rich_help_panel=_PLAN)]
EncodingName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"Of the logits: {', '.join(ENCODINGS)}; by default compact, and topk above "
        f"{MOST_COMPACT_CLASSES} classes.",
        rich_help_panel=_PLAN,
    ),
]
Kept: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Classes that topk keeps; 32 by default.", rich_help_panel=_PLAN),
]
MaxKl: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="What compact and portable keep: the mean KL divergence, both ways, at "
        "temperatures 1, 2, 4 and 8; 2.5e-4 by default.",
        rich_help_panel=_PLAN,
    ),
]
MaxError: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Or the greatest error of every logit: 0.05.", rich_help_panel=_PLAN),
]
Group: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Views coded together.", rich_help_panel=_PLAN)
]
BatchSize: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="COUNT|auto",
        help="Clouds at once; auto tries what the device has the memory for.",
        rich_help_panel=_PLAN,
    ),
]
BlockSamples: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Samples of a block, the unit of commit; derived by default.",
        rich_help_panel=_PLAN,
    ),
]
Fast: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Bytes may differ from run to run: a GPU chooses algorithms by speed, and a block for "
        "which there is no memory is recorded in halved batches. Part of the plan.",
        rich_help_panel=_PLAN,
    ),
]
Compile: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the teacher by torch.compile, on a GPU to CUDA graphs. Part of the plan.",
        rich_help_panel=_PLAN,
    ),
]

# This process: nothing here changes the recording
Part: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="K/N",
        help="Begin with the K-th of N shares of the blocks, as a part of a job array; torchrun "
        "and srun say it by themselves.",
        rich_help_panel=_RUN,
    ),
]
BeginTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long to wait for another process to begin the recording.",
        rich_help_panel=_RUN,
    ),
]
RetrySeconds: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long a disk or store that fails is asked again.",
        rich_help_panel=_RUN,
    ),
]
LogFile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="A JSON line for each block goes there; by default NAME.log.jsonl beside a local "
        "recording; none for no log.",
        rich_help_panel=_RUN,
    ),
]
PricePerHour: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Of what this process runs on, to say what a million records cost.",
        rich_help_panel=_RUN,
    ),
]


def parse_batch_size(text: str) -> int | Literal["auto"]:
    """`32`, or `auto`.

    Raises:
        InvalidInputError: It is neither.
    """
    if text == "auto":
        return "auto"
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise InvalidInputError(f"batch size must be a whole number from 1, or auto, got {text!r}")
    return int(text)
