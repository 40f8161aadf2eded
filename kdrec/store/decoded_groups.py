"""View groups as they are decoded, the least recently used dropped under a limit.

Shape letters: G views of a group, S samples, B records asked for.
"""

import math
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kdrec.errors import StorageError


@dataclass(slots=True)
class DecodedGroup:
    """The records of a view group, as far as they were asked for.

    Attributes:
        arrays: By name, (G, S, width) each.
        parts: Numbers of the sample ranges that are decoded.
    """

    arrays: dict[str, npt.NDArray[Any]]
    parts: set[int] = field(default_factory=set)

    @property
    def num_bytes(self) -> int:
        """In memory, or in a temporary file."""
        return sum(array.nbytes for array in self.arrays.values())

    def take(
        self, place: int | npt.NDArray[np.int64], samples_B: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[Any]]:
        """Some of its records, by name (B, width), new arrays.

        Args:
            place: Their view, or that of each, counted from the group's first; within the group.
            samples_B: Sample of each, decoded.

        Raises:
            StorageError: There is no memory for them.
        """
        # Whole rows by one number: indexing with two arrays takes five times as long.
        rows_B = place * next(iter(self.arrays.values())).shape[1] + samples_B
        return {name: _rows(array_GSW, rows_B) for name, array_GSW in self.arrays.items()}


def _rows(array_GSW: npt.NDArray[Any], rows_B: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    width = array_GSW.shape[-1]
    taken = in_memory((len(rows_B), width), array_GSW.dtype.str)
    # Clipping, of what is in range anyway, lets numpy write where it is told without a copy.
    array_GSW.reshape(-1, width).take(rows_B, axis=0, out=taken, mode="clip")
    return taken


class Scratch(Protocol):
    """Room on a disk for what memory does not hold."""

    def array(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """A new array there."""


class DecodedGroups:
    """Some view groups of one recording.

    Args:
        memory: Bytes of all of them together; one that is larger goes to a temporary memory-mapped
            file.
        scratch: Where such a file lies; by default in the system's temporary folder.
    """

    def __init__(self, memory: int, scratch: Scratch | None = None) -> None:
        self._memory = memory
        self._make_mapped = _mapped if scratch is None else scratch.array
        self._groups: OrderedDict[int, DecodedGroup] = OrderedDict()

    def find(self, group: int) -> DecodedGroup | None:
        """The group if it is here; it counts as used now."""
        if group in self._groups:
            self._groups.move_to_end(group)
        return self._groups.get(group)

    def add(
        self, group: int, shape: tuple[int, int], widths: Mapping[str, tuple[str, int]]
    ) -> DecodedGroup:
        """Room for a group, made by dropping others.

        Args:
            group: Its number.
            shape: Its views and samples.
            widths: Type and width of each array.

        Raises:
            StorageError: There is neither memory nor disk for it.
        """
        record = sum(np.dtype(dtype).itemsize * width for dtype, width in widths.values())
        needed = math.prod(shape) * record
        while self._groups and needed + self._num_bytes() > self._memory:
            self._groups.popitem(last=False)
        make = self._make_mapped if needed > self._memory else in_memory
        arrays = {name: make((*shape, width), dtype) for name, (dtype, width) in widths.items()}
        self._groups[group] = DecodedGroup(arrays)
        return self._groups[group]

    def _num_bytes(self) -> int:
        return sum(group.num_bytes for group in self._groups.values())


def in_memory(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Room for values.

    Raises:
        StorageError: There is none.
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, OverflowError, ValueError) as error:
        raise _unaffordable(shape, dtype, error) from error


def _mapped(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    if 0 in shape:
        return in_memory(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="kdrec-") as file:  # the mapping outlives the name
            # As a plain array, of which views are cheap to make.
            return np.asarray(np.memmap(file, dtype=dtype, mode="w+", shape=shape))
    except (OSError, OverflowError, ValueError) as error:
        raise _unaffordable(shape, dtype, error) from error


def _unaffordable(shape: tuple[int, ...], dtype: str, error: Exception) -> StorageError:
    return StorageError(
        f"records of shape {shape} need {np.dtype(dtype).itemsize * math.prod(shape)} bytes of "
        f"memory or temporary files, which cannot be had ({error}); read fewer at once, or "
        "make room"
    )
