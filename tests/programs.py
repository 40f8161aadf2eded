"""kdrec as a program: real processes, as a user would start them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KDREC = (sys.executable, "-m", "kdrec.cli")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a child: one thread, nothing of the user's, warnings shown but not fatal in libraries."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KDREC_")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1"} | dict(extra or {})


def kdrec(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Finished:
    """Run a command to its end."""
    done = subprocess.run(
        [*KDREC, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(env),
        timeout=300,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command and go on."""
    return subprocess.Popen(
        [*KDREC, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env=environment(),
    )


@contextmanager
def service(folder: Path, *options: str) -> Iterator[str]:
    """`kdrec serve` on a free port; gives the address of its recordings."""
    with serving(folder.resolve(), *options) as url:
        yield f"{url}/v1/recordings"


@contextmanager
def serving(
    folder: str | Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """`kdrec serve` on a free port; gives its address."""
    command = [*KDREC, "serve", str(folder), "--port", "0", *options]
    with running_service(command, env=environment(env)) as url:
        yield url


@contextmanager
def running_service(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A `kdrec serve` of any installation; gives its address."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env=environment() if env is None else env,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def options(settings: Mapping[str, object]) -> Sequence[str]:
    """`--name value` for each entry; True is a flag alone, a list repeats the option."""
    found: list[str] = []
    for name, value in settings.items():
        if value is True:
            found.append(f"--{name}")
            continue
        for item in value if isinstance(value, list) else [value]:
            found += [f"--{name}", str(item)]
    return found
