"""docs/commands.md is true: every command in it is understood, every verdict is one of ours."""

import re
import shlex
from pathlib import Path

import pytest

from kdrec.recorder import TeacherVerdict
from kdrec.store import TEACHER_SLACK
from tests.programs import kdrec

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "commands.md").read_text()
LINES = [
    line for body in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) for line in body.split("\n")
]


@pytest.mark.parametrize("line", [line for line in LINES if line and "://" not in line])
def test_a_command_is_understood_up_to_the_files_that_are_not_here(
    line: str, tmp_path: Path
) -> None:
    done = kdrec(*shlex.split(line)[1:], cwd=tmp_path)
    assert done.code == 3, done.err


def test_the_verdicts_and_tolerances_are_those_of_the_code() -> None:
    for verdict in TeacherVerdict:
        assert f"| {verdict}" in PAGE
    assert TEACHER_SLACK == {"float32": 1e-4, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
    assert "1e-4 of the largest logit for float32, 1e-2 for tf32 and fp16, 5e-2 for bf16" in PAGE
