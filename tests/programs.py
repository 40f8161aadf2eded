"""kdrec as a program: real processes, as a user would start them.

`kdrec`, `python`, `begin` and `service` fork from a process that has done the imports already,
which saves most of a command's time; `start` and `running_service`, which are read from while they
run, or are of another installation, begin from nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context, set_start_method
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

# There is one server for all tests of a process: whoever is first says what it imports.
FORKING = get_context("forkserver")
FORKING.set_forkserver_preload(["tests.preloaded"])
KDREC = (sys.executable, "-m", "kdrec.cli")
_LONGEST = 300.0  # seconds


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
    return _finished(arguments, cwd, env)


def python(code: str, *arguments: str | Path, cwd: Path | None = None) -> Finished:
    """Run code to its end, as `python -c` does."""
    return _finished(["-c", code, *arguments], cwd, None)


_TORCHRUN = """
import os
from torch.distributed.run import main
del os.environ["OMP_NUM_THREADS"]  # torchrun sets it, for its processes only
main()
"""


def torchrun(*arguments: str | Path) -> Finished:
    """Run a command in two processes, started by torchrun, to their end."""
    launched = ("--standalone", "--nproc-per-node", "2", "-m", "kdrec.cli")
    return python(_TORCHRUN, *launched, *arguments)


def _finished(
    arguments: Sequence[str | Path], cwd: Path | None, env: Mapping[str, str] | None
) -> Finished:
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        process = _fork(arguments, cwd, env, out.name, err.name)
        process.join(_LONGEST)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{arguments} runs for more than {_LONGEST} s")
        return Finished(process.exitcode, out.read().decode(), err.read().decode())


def begin(*arguments: str | Path) -> ForkServerProcess:
    """Begin a command that will be killed; it says nothing."""
    return _fork(arguments, None, None, os.devnull, os.devnull)


def _fork(
    arguments: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    out: str,
    err: str,
) -> ForkServerProcess:
    given = [str(argument) for argument in arguments]
    process = FORKING.Process(
        target=_run, args=(given, cwd or Path.cwd(), environment(env), out, err)
    )
    process.start()
    return process


def _run(arguments: list[str], cwd: Path, env: dict[str, str], out: str, err: str) -> None:
    """What a forked process does: `python -m kdrec.cli`, or `python -c`."""
    os.chdir(cwd)
    # Else what it starts would be forked by a server of its own, and outlive it if it is killed.
    set_start_method(None, force=True)
    os.environ.clear()
    os.environ |= env
    sys.path.insert(0, str(cwd))
    for file, stream in ((out, sys.stdout), (err, sys.stderr)):
        opened = os.open(file, os.O_WRONLY)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    if arguments[0] == "-c":
        _, code, *sys.argv[1:] = arguments
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), vars(main))
        return
    sys.argv = ["kdrec", *arguments]
    import_module("kdrec.cli").main()


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
    with tempfile.NamedTemporaryFile() as out:
        process = _fork(["serve", folder, "--port", "0", *options], None, env, out.name, os.devnull)
        try:
            yield _first_line(Path(out.name), process)
        finally:
            process.terminate()
            process.join(30)
            assert process.exitcode is not None


def _first_line(out: Path, process: ForkServerProcess) -> str:
    """What a program says when it is ready; what there is if it ends before."""
    while "\n" not in out.read_text() and process.is_alive():
        time.sleep(0.01)
    return out.read_text().partition("\n")[0].strip()


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
