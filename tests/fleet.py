"""Many recording processes at little cost: forked from a server that has loaded kdrec already."""

import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.programs import FORKING


def start(
    arguments: Sequence[str | Path], *, output: Path, env: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Start `kdrec ARGUMENTS` and go on; what it says goes to a file."""
    process = FORKING.Process(
        target=_run, args=(list(map(str, arguments)), output, dict(env or {}))
    )
    process.start()
    return process


def finish(process: ForkServerProcess) -> int:
    """Wait for its end; its exit code, negative for a signal."""
    process.join(timeout=120)
    assert process.exitcode is not None, "a recorder hangs"
    return process.exitcode


def kill(process: ForkServerProcess) -> bool:
    """`kill -9`; whether it was still at work."""
    process.kill()
    return finish(process) == -signal.SIGKILL


def _run(arguments: list[str], output: Path, env: dict[str, str]) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update({"OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1"} | env)
    from kdrec.cli import main

    main(arguments)
