"""examples/ is true: the commands in it are understood up to the files that are not here."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.programs import Finished, environment, kdrec

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LAUNCHERS = ("kdrec", "torchrun", "srun")


def stand_in(folder: Path, name: str) -> None:
    """A launcher that starts its command once, as the first process; kdrec says what it is told."""
    told = 'printf "%s\\0" "$@"'
    program = {
        "kdrec": told,
        "torchrun": f'while [ "$1" != kdrec.cli ]; do shift; done; shift; {told}',
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    }[name]
    path = folder / name
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)


def run(script: str, folder: Path, env: dict[str, str]) -> Finished:
    """Run a script, and the one command of kdrec that is in it."""
    (folder / "bin").mkdir()
    for name in LAUNCHERS:
        stand_in(folder / "bin", name)
    found = {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    # No GPU is needed to see that the command is understood.
    script = script.replace("--device cuda", "--device cpu")
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(found | env),
        timeout=120,
        check=True,
    )
    *arguments, nothing_after = done.stdout.split("\0")
    assert nothing_after == ""
    return kdrec(*arguments, cwd=folder, env=env)


@pytest.mark.parametrize("name", ["torchrun.sh", "slurm_array.sh", "slurm_srun.sh"])
def test_a_script_is_understood_up_to_the_files_that_are_not_here(
    name: str, tmp_path: Path
) -> None:
    done = run((EXAMPLES / name).read_text(), tmp_path, {"SLURM_ARRAY_TASK_ID": "3"})
    assert done.code == 3, done.err
    assert "modelnet40_hdf5/" in done.err


def test_the_command_of_the_kubernetes_job_is_understood(tmp_path: Path) -> None:
    text = (EXAMPLES / "kubernetes.yaml").read_text()
    (block,) = re.findall(r">-\n((?: {14}.*\n)+)", text)
    done = run(" ".join(block.split()), tmp_path, {"JOB_COMPLETION_INDEX": "7"})
    assert done.code == 3, done.err
    assert "/data/modelnet40_hdf5/" in done.err


def test_every_example_is_looked_at() -> None:
    looked_at = {"torchrun.sh", "slurm_array.sh", "slurm_srun.sh", "kubernetes.yaml"}
    assert {path.name for path in EXAMPLES.iterdir()} == looked_at
