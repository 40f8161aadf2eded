"""View groups as they are decoded, the least recently used dropped under a limit.

Shape letters: G views of a group, S samples, P parameters, C classes.
"""

import math
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kdrec.errors import StorageError


@dataclass(slots=True)
class DecodedGroup:
    """The records of a view group, as far as they were asked for.

    Attributes:
        parts: Numbers of the sample ranges that are decoded.
    """

    parameters_GSP: npt.NDArray[np.float32]
    logits_GSC: npt.NDArray[np.float32]
    parts: set[int] = field(default_factory=set)

    @property
    def num_bytes(self) -> int:
        """In memory, or in a temporary file."""
        return self.parameters_GSP.nbytes + self.logits_GSC.nbytes


class DecodedGroups:
    """Some view groups of one recording.

    Args:
        memory: Bytes of all of them together; one that is larger goes to a temporary memory-mapped
            file.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._groups: OrderedDict[int, DecodedGroup] = OrderedDict()

    def find(self, group: int) -> DecodedGroup | None:
        """The group if it is here; it counts as used now."""
        if group in self._groups:
            self._groups.move_to_end(group)
        return self._groups.get(group)

    def add(
        self, group: int, *, views: int, samples: int, parameters: int, classes: int
    ) -> DecodedGroup:
        """Room for a group, made by dropping others.

        Raises:
            StorageError: There is neither memory nor disk for it.
        """
        needed = 4 * views * samples * (parameters + classes)
        while self._groups and needed + self._num_bytes() > self._memory:
            self._groups.popitem(last=False)
        make = _mapped if needed > self._memory else in_memory
        made = DecodedGroup(make((views, samples, parameters)), make((views, samples, classes)))
        self._groups[group] = made
        return made

    def _num_bytes(self) -> int:
        return sum(group.num_bytes for group in self._groups.values())


def in_memory(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Room for values.

    Raises:
        StorageError: There is none.
    """
    with _affordable(shape):
        return np.empty(shape, dtype=np.float32)


def _mapped(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if 0 in shape:
        return in_memory(shape)
    with (
        _affordable(shape),
        tempfile.TemporaryFile(prefix="kdrec-") as file,  # the mapping outlives the name
    ):
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


@contextmanager
def _affordable(shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise StorageError(
            f"records of shape {shape} need {4 * math.prod(shape)} bytes of memory or temporary "
            f"files, which cannot be had ({error}); read fewer at once, or make room"
        ) from error
