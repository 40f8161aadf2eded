"""What the program says: progress and errors to stderr, results to stdout, JSON for machines."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from kdrec.store import Correct

# No emoji: `:x:` in a path or an option stays what it is.
stderr = Console(stderr=True, highlight=False, emoji=False)
stdout = Console(highlight=False, emoji=False)


def say(message: str) -> None:
    """A line for the person at the terminal."""
    stderr.print(_bracketed(message), soft_wrap=True)


def say_error(message: str) -> None:
    """The one line of an error."""
    stderr.print(f"[bold red]kdrec:[/] {_escaped(message)}", soft_wrap=True)


def say_warning(message: str) -> None:
    """Something the person should know before it is too late."""
    stderr.print(f"[bold yellow]warning:[/] {_escaped(message)}", soft_wrap=True)


def _escaped(message: str) -> str:
    return _bracketed(" ".join(message.split()))


def _bracketed(text: str) -> str:
    """Brackets as they are, not as rich's markup; names from anywhere steer no terminal."""
    printable = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    return printable.replace("[", r"\[")


def show_json(result: Mapping[str, Any]) -> None:
    """A result for machines: one JSON object on stdout."""
    sys.stdout.write(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def show_rows(rows: Mapping[str, str]) -> None:
    """A result for people: names and values."""
    width = max(map(len, rows))
    for name, value in rows.items():
        # Never wrapped: an identity must stay one word, for eyes and for grep.
        stdout.print(f"[bold]{name:{width}}[/]  {_bracketed(value)}", soft_wrap=True)


class Bar:
    """A progress bar with a count, a rate and the time left."""

    def __init__(self, progress: Progress, label: str, unit: str) -> None:
        self._progress = progress
        self._unit = unit
        self._task = progress.add_task(label, total=None, rate="")

    def update(self, done: float, total: float, note: str = "") -> None:
        """Show how far it is."""
        speed = self._progress.tasks[self._task].speed
        rate = f"{speed:,.0f} {self._unit}/s" if speed and self._unit else ""
        self._progress.update(
            self._task, completed=done, total=total, rate=f"{rate} {note}".strip()
        )


@contextmanager
def progress_bar(label: str, unit: str = "", *, shown: bool = True) -> Iterator[Bar]:
    """A bar on stderr for long work; a plain log gets only its end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, disable=not shown) as progress:
        yield Bar(progress, label, unit)


def percent(part: float, whole: float) -> str:
    """`85.0 %`, or a dash where there is nothing to divide by."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def describe_score(correct: Correct) -> str:
    """Accuracy over all teacher classes and over the data's."""
    return (
        f"{percent(correct.of_all, correct.records)} among all of the teacher's classes, "
        f"{percent(correct.of_mapped, correct.records)} among the data's"
    )


def size(num_bytes: float) -> str:
    """`518.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024 or unit == "GiB":
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    raise AssertionError("unreachable")
