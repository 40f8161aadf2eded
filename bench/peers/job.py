"""What a process is asked to measure, and what it answers: JSON both ways."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """One way to keep records, written or read.

    Attributes:
        way: A name of `bench.peers.measure.WAYS`.
        act: `write`, or how to read: `shuffled` or `in order`.
        source: Folder of the records, see `bench.peers.records`.
        folder: Where this way keeps them.
        batch: Records of a batch.
        runs: How often to read, after once that does not count.
        seconds: For which each run reads, epoch after epoch.
    """

    way: str
    act: str
    source: str
    folder: str
    batch: int = 256
    runs: int = 5
    seconds: float = 2.0

    def to_json(self) -> str:
        """As a line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """From `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a job.

    Attributes:
        rates: Records a second of each run.
        busy_rates: Records a second of processor time, of all threads: what other programs on the
            machine disturb less.
        memory: Greatest memory while reading beyond what the process had before, bytes; pages of
            mapped files count.
        error: Why there are no rates; empty where there are.
    """

    rates: tuple[float, ...] = ()
    busy_rates: tuple[float, ...] = ()
    memory: int = 0
    error: str = ""

    def to_json(self) -> str:
        """As a line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Answer":
        """From `to_json`."""
        found = json.loads(text)
        rates, busy_rates = tuple(found["rates"]), tuple(found["busy_rates"])
        return cls(rates, busy_rates, found["memory"], found["error"])
