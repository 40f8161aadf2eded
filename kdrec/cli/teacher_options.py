"""Options that name a teacher, shared by all commands that load one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdrec.cli.allocator import keep_freed_memory
from kdrec.factories import parse_arguments
from kdrec.store import Plan

if TYPE_CHECKING:
    from kdrec.recorder import Teacher

_TEACHER = "Teacher"
TEACHER_HELP = (
    "package.module:factory, file.py:factory, a name from `kdrec models`, an .onnx file, or a "
    ".toml file that names an ensemble."
)

RecordedTeacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        help=f"The teacher it was recorded from: {TEACHER_HELP}",
        rich_help_panel=_TEACHER,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Of the teacher: .safetensors, .npz, .pt, .pth, .t7; nothing in it is executed.",
        rich_help_panel=_TEACHER,
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        help="Entry of the file that holds the tensors, if it is not found by itself.",
        rich_help_panel=_TEACHER,
    ),
]
TeacherArguments = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher-arg",
        metavar="NAME=VALUE",
        help="An argument of the factory.",
        rich_help_panel=_TEACHER,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda or cuda:1; by default what it was recorded on.", rich_help_panel=_TEACHER
    ),
]


@dataclass(frozen=True, slots=True)
class NamedTeacher:
    """A teacher as the options name it."""

    factory: str
    arguments: list[str] | None
    weights: Path | None
    weights_key: str | None
    device: str | None

    def load(self, plan: Plan) -> "Teacher":
        """Called as the plan's was: layout, output and precision are taken from there."""
        from kdrec.recorder import load_teacher, recorded_options

        keep_freed_memory()
        options = recorded_options(
            plan,
            factory=self.factory,
            arguments=parse_arguments(self.arguments or []),
            weights=self.weights,
            weights_key=self.weights_key,
            device=self.device,
        )
        return load_teacher(options)
