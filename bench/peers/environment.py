"""The peers' own environment, and processes that measure: there, or where this one runs."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import platformdirs

from bench.peers.job import Answer, Job

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_ROOT = Path(__file__).parents[2]
_READY = "ready"
_MOST_SECONDS = 900
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # as a worker of torch's loader has


def default_folder() -> Path:
    """In the user's cache, one for each list of requirements."""
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return Path(platformdirs.user_cache_path("kdrec")) / f"bench-peers-{digest}"


def prepare(folder: Path) -> Path:
    """The interpreter of the environment, which is made on the first call.

    Raises:
        RuntimeError: It cannot be made; says what the last line of the error is.
    """
    python = folder / "bin" / "python"
    if not (folder / _READY).exists():
        print(f"making the peers' environment in {folder} (once)", file=sys.stderr)
        _call([sys.executable, "-m", "venv", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "-r", str(_REQUIREMENTS)])
        (folder / _READY).touch()
    return python


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])


def measure(job: Job, python: Path) -> Answer:
    """Run a job in a process of its own; one that dies is an answer as well."""
    try:
        done = subprocess.run(
            [str(python), "-m", "bench.peers.measure"],
            input=job.to_json(),
            capture_output=True,
            text=True,
            check=False,
            cwd=_ROOT,
            env={**os.environ, **_ONE_THREAD},
            timeout=_MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"not done after {_MOST_SECONDS} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        return Answer(error=f"exit status {done.returncode}: {said[-1]}")
    return Answer.from_json(lines[-1])
