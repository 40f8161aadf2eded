"""What one process of a recording reports while it works: block by block, and its troubles."""

import threading
from dataclasses import dataclass
from typing import Protocol

from kdrec.recorder.patience import Failure
from kdrec.store import Block


@dataclass(frozen=True, slots=True)
class BlockReport:
    """A block that was committed.

    Attributes:
        block: Of the plan.
        records: In it.
        num_bytes: Of its shards.
        began: When its first batch went to the teacher, by the clock of the run.
        ended: When it was committed.
        teacher_seconds: Spent on drawing, augmenting and asking.
        write_seconds: Spent on encoding and writing, while the teacher went on.
        took_over: Whether a process that died or fell silent had begun it.
        batch_size: That it was recorded with, None for the plan's.
        device_bytes: Most memory that the GPU gave to tensors so far, None on a CPU.
    """

    block: Block
    records: int
    num_bytes: int
    began: float
    ended: float
    teacher_seconds: float
    write_seconds: float
    took_over: bool
    batch_size: int | None
    device_bytes: int | None


class Journal(Protocol):
    """Hears of every block, and of what went wrong and was tried again; from any thread."""

    def on_block(self, report: BlockReport) -> None:
        """A block of this process was committed."""

    def on_failure(self, failure: Failure) -> None:
        """The storage failed; it is asked again."""

    def on_lost(self, block: Block) -> None:
        """Another process took a block over, because this one was silent for too long."""


class NoJournal:
    """Nobody listens."""

    def on_block(self, report: BlockReport) -> None: ...

    def on_failure(self, failure: Failure) -> None: ...

    def on_lost(self, block: Block) -> None: ...


class CountedJournal:
    """A journal that hears of one block at a time, and how many records it heard of."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self.records = 0

    def on_block(self, report: BlockReport) -> None:
        with self._lock:
            self.records += report.records
            self._journal.on_block(report)

    def on_failure(self, failure: Failure) -> None:
        self._journal.on_failure(failure)

    def on_lost(self, block: Block) -> None:
        self._journal.on_lost(block)
