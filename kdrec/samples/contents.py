"""The seam between data sources and everything else: what a source is, and what it gives.

Shape letters: S samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from kdrec.errors import InvalidInputError
from kdrec.samples.sample_set import SampleSet
from kdrec.samples.split import Split

AnyArray: TypeAlias = npt.NDArray[Any]
Arguments: TypeAlias = Mapping[str, int | float | bool | str]
Fields: TypeAlias = Mapping[str, Callable[[], AnyArray]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a source holds, read when it is asked for.

    Attributes:
        samples: Reads the samples: all of them, or no fewer than the split keeps.
        fields: Reads an array by its name. Those with one entry a sample, in the order of the
            samples, are what a split may go by.
    """

    samples: Callable[[], SampleSet]
    fields: Fields


class Source(Protocol):
    """One kind of data source."""

    @property
    def usage(self) -> str:
        """How such a source is written, for the message about an unknown one."""

    def accepts(self, source: str) -> bool:
        """Whether the text is written like a source of this kind; touches no file's content."""

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """The contents of the source.

        Args:
            source: The text, accepted before.
            arguments: Of the user; what is not understood must be refused.
            split: May be used to read less; the caller applies it in any case.
        """


def refuse_arguments(source: str, arguments: Arguments) -> None:
    """For sources that take no arguments.

    Raises:
        InvalidInputError: There are some.
    """
    if arguments:
        raise InvalidInputError(
            f"{source} is a file and takes no arguments, got {', '.join(arguments)}; leave them out"
        )
