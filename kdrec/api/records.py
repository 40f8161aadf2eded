"""Decoded records, batch by batch.

Shape letters: B batch, P parameters, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError
from kdrec.store import RecordingReader

Column = npt.NDArray[Any]
BATCH_NUMBERS = 2**14  # as JSON some 300 kB: what a client that reads slowly keeps in memory
MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records, and what of them.

    Attributes:
        view: One view.
        samples: In this order.
        names: Of columns, in this order.
    """

    view: int
    samples: Sequence[int]
    names: tuple[str, ...]

    def batches(self, reader: RecordingReader) -> Iterator[Mapping[str, Column]]:
        """Columns by name, about `BATCH_NUMBERS` numbers at a time, one record at least.

        Raises:
            InvalidInputError: There is no such view or sample.
            IncompleteError: A record is not (yet) here.
            IntegrityError: A file is damaged.
        """
        width = 1 + len(reader.manifest.parameters) + reader.manifest.classes.num_teacher
        step = max(1, BATCH_NUMBERS // width)
        for start in range(0, len(self.samples), step):
            samples_B = np.asarray(self.samples[start : start + step], dtype=np.int64)
            parameters, logits_BC = reader.read(self.view, samples_B)
            found: dict[str, Column] = {"sample": samples_B, "logits": logits_BC}
            found |= dict(zip(parameters.names, parameters.values_BP.T, strict=True))
            yield {name: found[name] for name in self.names}


def parse_query(
    reader: RecordingReader,
    *,
    view: int,
    start: int | None,
    stop: int | None,
    samples: str | None,
    names: str | None,
) -> RecordQuery:
    """What a request asks for.

    Args:
        reader: Of the recording.
        view: One view.
        start: First sample; 0 by default.
        stop: The sample after the last; all by default.
        samples: Numbers by commas, instead of `start` and `stop`.
        names: Columns by commas; all by default.

    Raises:
        InvalidInputError: It cannot be had, or is said twice.
    """
    if not 0 <= view < reader.grid.views:
        raise InvalidInputError(f"view must be from 0 to {reader.grid.views - 1}, got {view}")
    if samples is None:
        wanted: Sequence[int] = _range(reader.grid.samples, start, stop)
    elif start is None and stop is None:
        wanted = _listed(reader.grid.samples, samples)
    else:
        raise InvalidInputError("give either samples=, or start= and stop=")
    return RecordQuery(view, wanted, _columns(reader, names))


def _range(count: int, start: int | None, stop: int | None) -> range:
    first, last = start or 0, count if stop is None else stop
    if not 0 <= first < last <= count:
        raise InvalidInputError(
            f"start and stop must lie within 0 to {count}, got {first} to {last}"
        )
    return range(first, last)


def _listed(count: int, text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) > MAX_LISTED:
        raise InvalidInputError(
            f"at most {MAX_LISTED} samples may be listed, got {len(parts)}; ask for a range"
        )
    for part in parts:
        if not (part.isascii() and part.isdecimal() and len(part) < 19 and int(part) < count):
            raise InvalidInputError(f"samples must be from 0 to {count - 1}, got {part!r}")
    return [int(part) for part in parts]


def _columns(reader: RecordingReader, names: str | None) -> tuple[str, ...]:
    there = ("sample", *(column.name for column in reader.manifest.parameters), "logits")
    if names is None:
        return there
    wanted = tuple(names.split(","))
    for name in wanted:
        if name not in there or wanted.count(name) > 1:
            raise InvalidInputError(f"names must be among {', '.join(there)}, once, got {name!r}")
    return wanted
