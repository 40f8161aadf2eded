"""Ways that are measured in turn, and the table of what came out."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.environment import measure, prepare
from bench.peers.job import Answer, Job

PEERS = {"mds": "mosaicml-streaming (MDS)", "litdata": "litdata", "webdataset": "webdataset"}


@dataclass(frozen=True, slots=True)
class Row:
    """One way.

    Attributes:
        name: As the table calls it.
        way: As `bench.peers.measure` calls it.
        folder: Where its records are.
        python: Interpreter for it.
        error: Why it is not measured; empty where it is.
    """

    name: str
    way: str
    folder: Path
    python: Path = Path(sys.executable)
    error: str = ""

    def measure(self, act: str, *, batch: int, runs: int, seconds: float) -> Answer:
        """Read in its own process."""
        if self.error:
            return Answer(error=self.error)
        job = Job(self.way, act, "", str(self.folder), batch, runs, seconds)
        return measure(job, self.python)

    def num_bytes(self) -> int:
        """On disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def written_row(name: str, way: str, source: Path, folder: Path, python: Path) -> Row:
    """The records of a source, written by a way."""
    answer = measure(Job(way, "write", str(source), str(folder)), python)
    return Row(name, way, folder, python, answer.error)


def peer_rows(source: Path, work: Path, environment: Path) -> list[Row]:
    """The streaming libraries, each in their environment; all failed where it cannot be made."""
    try:
        python = prepare(environment)
    except (RuntimeError, OSError) as error:
        return [Row(name, way, work / way, error=f"no environment: {error}")
                for way, name in PEERS.items()]  # fmt: skip
    return [written_row(name, way, source, work / way, python) for way, name in PEERS.items()]


def shown(values: Sequence[float]) -> str:
    """Least, median and greatest, of thousands a second."""
    three = min(values), statistics.median(values), max(values)
    return " / ".join(f"{value / 1e3:,.1f}" for value in three)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown, in columns."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    form: Callable[[Sequence[str]], str] = lambda row: (  # noqa: E731
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    )
    print(form(heads))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        print(form(row))
