"""`kdrec demo`: the whole story with real parts, in about two minutes on two cores."""

import importlib.util
import io
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kdrec.cli.options import Json
from kdrec.cli.terminal import say, show_json, size
from kdrec.errors import (
    AlreadyExistsError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    ServiceError,
)

_POINTS = 128
_AUGMENT = "scale=0.9:1.1,rotate_y=-15:15,translate=0.05,normalize"
_READY_SECONDS = 60
_WIDTH = 100
_NEEDED = ("torch", "safetensors", "fastapi", "uvicorn")


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where everything goes; must not hold anything yet.")
    ] = Path("kdrec-demo"),
    clouds: Annotated[int, typer.Option(min=100, help="Training clouds.")] = 800,
    views: Annotated[int, typer.Option(min=1, help="Views of each.")] = 20,
    teacher_epochs: Annotated[int, typer.Option(min=1)] = 12,
    epochs: Annotated[int, typer.Option(min=1, help="Of each student.")] = 20,
    picture: Annotated[Path | None, typer.Option(help="Save the table as an SVG picture.")] = None,
    as_json: Json = False,
) -> None:
    """Train a teacher on built-in shapes, record it, serve it, train two students, compare.

    Everything runs as you would run it: the commands are shown and executed.
    """
    _check_installed()
    _check_free(folder)
    if picture is not None and not picture.parent.is_dir():
        raise NotFoundError(f"no folder {picture.parent} for --picture; make it first")
    folder.mkdir(parents=True, exist_ok=True)
    say(f"1/4 training a teacher: PointNet on {clouds} built-in shapes, {teacher_epochs} epochs")
    teacher = _train_teacher(folder / "teacher", clouds, teacher_epochs)
    say(f"2/4 recording it over {views} views")
    recording = _record(folder, clouds, views)
    say("3/4 serving the recording")
    with _service(folder) as url:
        say("4/4 training two students over HTTP, without the teacher")
        distilled = _train_student(folder, "distilled", url, epochs, [])
        plain = _train_student(folder, "labels-only", url, epochs, ["--labels-only"])
    results = {"teacher": teacher, "recording": recording, "distilled": distilled,
               "labels_only": plain}  # fmt: skip
    # The picture is drawn of the table, whether it is shown or not.
    console = Console(record=True, file=io.StringIO() if as_json else None, width=_WIDTH)
    _show(console, folder, results)
    if as_json:
        show_json({"folder": str(folder), **results})
    if picture is not None:
        console.save_svg(str(picture), title="kdrec demo")


def _check_installed() -> None:
    """Before the teacher is trained for nothing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"the demo needs {' and '.join(missing)}; run `pip install kdrec[all]`",
            kind=ErrorKind.MISSING_DEPENDENCY,
        )


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is no folder"
        raise AlreadyExistsError(
            f"{folder} exists and {what}; remove it or give another with --folder"
        )


def _train_teacher(out: Path, clouds: int, epochs: int) -> dict[str, Any]:
    """In a process of its own, so that its memory is its own."""
    arguments = [str(out), str(clouds), str(_POINTS), str(epochs)]
    command = [sys.executable, "-m", "kdrec.cli.demo_teacher", *arguments]
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)  # its traceback says why
    return _read_results(out)


def _record(folder: Path, clouds: int, views: int) -> dict[str, Any]:
    command = [
        "record", str(folder / "recordings" / "shapes.zarr"),
        "--teacher", "pointnet", "--weights", str(folder / "teacher" / "best.safetensors"),
        "--data", "shapes", "--data-arg", f"count={clouds}", "--data-arg", f"num_points={_POINTS}",
        "--views", str(views), "--augment", _AUGMENT, "--json",
    ]  # fmt: skip
    found: dict[str, Any] = json.loads(_run(command))
    return found


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    command = ["serve", str(folder / "recordings"), "--port", "0"]
    _show_command(command)
    process = subprocess.Popen(_as_process(command), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise ServiceError("the service did not start; run `kdrec serve` to see why")
        yield f"{url}/v1/recordings/shapes"
    finally:
        process.terminate()
        process.wait(timeout=_READY_SECONDS)


def _train_student(
    folder: Path, name: str, url: str, epochs: int, extra: list[str]
) -> dict[str, Any]:
    out = folder / name
    command = [
        "train", url, "--out", str(out), "--epochs", str(epochs), "--test", "shapes",
        "--test-arg", "count=600", "--test-arg", f"num_points={_POINTS}", "--test-arg", "seed=1",
        "--cache", str(folder / "cache"), *extra, "--json",
    ]  # fmt: skip
    started = time.monotonic()
    _run(command)
    return _read_results(out) | {"wall_seconds": time.monotonic() - started}


def _run(command: list[str]) -> str:
    _show_command(command)
    finished = subprocess.run(_as_process(command), stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)  # the command has said why
    return finished.stdout


def _show_command(command: list[str]) -> None:
    say(f"$ kdrec {shlex.join(command)}")


def _as_process(command: list[str]) -> list[str]:
    return [sys.executable, "-m", "kdrec.cli", *command]


def _read_results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return {
        "parameters": found["num_parameters"],
        "test_accuracy": found["final"]["test_accuracy"],
        "seconds": found["total_seconds"],
        "peak_memory_bytes": found["peak_memory_bytes"],
    }


def _show(console: Console, folder: Path, results: dict[str, dict[str, Any]]) -> None:
    table = Table(title="kdrec demo: one teacher, one recording, two students")
    for column in ("", "parameters", "test accuracy", "seconds", "peak memory"):
        table.add_column(column, justify="left" if not column else "right")
    named = {"teacher": "teacher (PointNet, labels)", "distilled": "student from the recording",
             "labels_only": "student from labels only"}  # fmt: skip
    for key, name in named.items():
        row = results[key]
        table.add_row(
            name,
            f"{row['parameters']:,}",
            f"{100 * row['test_accuracy']:.1f} %",
            f"{row['seconds']:.1f}",
            size(row["peak_memory_bytes"]),
        )
    recording = results["recording"]
    console.print(table)
    console.print(
        f"recording: {recording['records']:,} records in {recording['seconds']:.1f} s, "
        f"{recording['logit_bytes'] / recording['records']:.1f} B of logits a record, "
        f"{size(recording['num_bytes'])} with the clouds; everything is in {folder}{os.sep}"
    )
