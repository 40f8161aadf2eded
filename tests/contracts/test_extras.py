"""Each extra alone: what it must be able to do does work, what it cannot do says what to install.

Needs the package index, so it runs where KDREC_TEST_INSTALL=1 says that there is one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kdrec.testing import make_recording
from tests.programs import Finished, environment, running_service
from tests.promises.conftest import TEACHERS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    os.environ.get("KDREC_TEST_INSTALL") != "1",
    reason="installs from the package index; set KDREC_TEST_INSTALL=1 where it can be reached",
)


@dataclass(frozen=True, slots=True)
class Installed:
    """kdrec with one extra in a virtual environment of its own."""

    extra: str
    program: Path

    def run(self, *arguments: str | Path, cwd: Path) -> Finished:
        done = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, cwd=cwd, env=_alone(),
            timeout=300,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves its folders beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT / "kdrec", folder / "source" / "kdrec")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    (built,) = folder.glob("kdrec-*.whl")
    return built


@pytest.fixture(scope="module", params=["", "serve", "record", "train"])
def installed(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    folder = tmp_path_factory.mktemp(f"extra-{request.param}")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    requirement = f"kdrec[{request.param}] @ {wheel.as_uri()}" if request.param else str(wheel)
    constraints = ROOT / "constraints.txt"
    python = folder / "bin" / "python"
    # Compiled when it is imported: most of torch never is.
    _pip(python, "install", "--no-compile", "--constraint", constraints, requirement)
    return Installed(request.param, folder / "bin" / "kdrec")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording and a teacher's file, as a user has them in a folder."""
    make_recording(tmp_path / "r.zarr")
    (tmp_path / "my_teachers.py").write_text(TEACHERS)
    return tmp_path


def _alone() -> dict[str, str]:
    """Without this working tree on the path."""
    return {key: value for key, value in environment().items() if key != "PYTHONPATH"}


def _pip(python: str | Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, env=_alone()
    )
    assert done.returncode == 0, done.stderr


def record(folder: Path) -> Sequence[str]:
    return (
        "record", str(folder / "mine.zarr"), "--teacher", "my_teachers.py:PointsLast",
        "--data", "shapes", "--data-arg", "count=24", "--data-arg", "num_points=32",
        "--views", "2", "--threads", "1",
    )  # fmt: skip


def train(folder: Path) -> Sequence[str]:
    return "train", "r.zarr", "--out", str(folder / "student"), "--epochs", "1", "--threads", "1"


def test_every_extra_reads_and_verifies(installed: Installed, folder: Path) -> None:
    for arguments in (["--help"], ["inspect", "r.zarr"], ["verify", "r.zarr", "--bytes"]):
        done = installed.run(*arguments, cwd=folder)
        assert done.code == 0, done.err


def test_record_and_train_need_their_extra(installed: Installed, folder: Path) -> None:
    # The two hold the same packages today: a teacher and a student are both networks.
    works = installed.extra in ("record", "train")
    for arguments in (record(folder), train(folder)):
        done = installed.run(*arguments, cwd=folder)
        assert done.code == (0 if works else 2), done.err
        if not works:
            assert "torch is not installed; run `pip install kdrec[" in done.err
    assert (folder / "mine.zarr" / "seal.json").exists() == works


def test_serve_needs_its_extra_and_fetch_needs_none(installed: Installed, folder: Path) -> None:
    if installed.extra != "serve":
        done = installed.run("serve", ".", cwd=folder)
        assert done.code == 2
        assert "pip install 'kdrec[serve]'" in done.err
        return
    command: list[str | Path] = [installed.program, "serve", ".", "--port", "0"]
    with running_service(command, cwd=folder, env=_alone()) as url:
        fetched = installed.run("fetch", f"{url}/v1/recordings/r", "copy.zarr", cwd=folder)
    assert fetched.code == 0, fetched.err
    assert installed.run("verify", "copy.zarr", "--bytes", cwd=folder).code == 0


def test_the_demo_needs_all_and_says_so_before_it_begins(
    installed: Installed, folder: Path
) -> None:
    done = installed.run("demo", "--folder", "demo", cwd=folder)
    assert done.code == 2
    assert "run `pip install kdrec[all]`" in done.err
    assert not (folder / "demo").exists()
