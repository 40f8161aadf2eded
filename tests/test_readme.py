"""The README is true: every command in it is executed, every path in it exists."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.programs import environment, kdrec, python, service

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"(?:<!-- (\w+) -->\n)?```(\w*)\n(.*?)```", README, re.DOTALL)
EXECUTED_ELSEWHERE = {
    "make demo": "tests/cli/test_demo.py runs what it runs",
    "make test": "this very run",
    "pip install .[all]": "what the Makefile sets up; the extras are looked at below",
}


def marked(name: str) -> list[str]:
    return [body for mark, _, body in BLOCKS if mark == name]


def run_lines(body: str, folder: Path, replace: tuple[str, str] = ("", "")) -> None:
    for line in body.strip().splitlines():
        words = shlex.split(line.replace(*replace) if replace[0] else line)
        env = {"PYTHONPATH": str(ROOT), "KDREC_CACHE": str(folder / "cache")}
        if words[0] == "kdrec":
            done = kdrec(*words[1:], cwd=folder, env=env)
            assert done.code == 0, f"{line}\n{done.err}"
        else:
            run_python(words[1:], folder, env)


def run_python(words: list[str], folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, env=environment(env)
    )
    assert done.returncode == 0, f"{words}\n{done.stderr}"


def test_the_tour_works_from_end_to_end(tmp_path: Path) -> None:
    (tour,), (serve,), (elsewhere,) = marked("tour"), marked("serve"), marked("elsewhere")
    run_lines(tour, tmp_path)
    assert serve.strip() == "kdrec serve recordings --port 8080"
    with service(tmp_path / "recordings") as url:
        run_lines(elsewhere, tmp_path, ("http://127.0.0.1:8080/v1/recordings", url))
    for snippet in marked("python"):
        done = python(snippet, cwd=tmp_path)
        assert done.code == 0, f"{snippet}\n{done.err}"


def test_the_command_for_a_teacher_of_ones_own_is_understood(tmp_path: Path) -> None:
    (line,) = [line for _, _, body in BLOCKS for line in body.splitlines() if "networks.py" in line]
    done = kdrec(*shlex.split(line)[1:], cwd=tmp_path)
    # Every option is known; what it names is not here.
    assert done.code == 3, done.err
    assert "modelnet40_hdf5" in done.err or "networks.py" in done.err


def test_every_other_command_is_accounted_for() -> None:
    for mark, language, body in BLOCKS:
        if mark or language or "networks.py" in body or "kdrec/  " in body:
            continue
        for line in body.strip().splitlines():
            assert line in EXECUTED_ELSEWHERE, f"no test executes: {line}"


def test_the_file_tree_is_the_tree() -> None:
    (tree,) = [body for _, _, body in BLOCKS if "kdrec/  " in body]
    for line in tree.splitlines():
        inside = line.startswith("  ")
        for name in re.match(r"\s*((?:[\w./]+ )+)", line).group(1).split():  # type: ignore[union-attr]
            assert ((ROOT / "kdrec" if inside else ROOT) / name).exists(), line


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_extras_named_are_the_extras_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\.\[(\w+)\]", README):
        assert extra in project["optional-dependencies"]
    plain = " ".join(project["dependencies"])
    assert "torch" not in plain
    assert "fastapi" not in plain
