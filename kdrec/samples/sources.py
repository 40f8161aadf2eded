"""The kinds of data sources there are, in the order in which they are asked."""

from kdrec.errors import InvalidInputError
from kdrec.samples.class_folders import ClassFoldersSource
from kdrec.samples.contents import Source
from kdrec.samples.dataset import DatasetSource
from kdrec.samples.hdf5 import Hdf5Source
from kdrec.samples.npz import NpzSource
from kdrec.samples.shapes import ShapesSource

_SOURCES: list[Source] = [
    ShapesSource(),
    NpzSource(),
    ClassFoldersSource(),
    Hdf5Source(),
    DatasetSource(),
]


def register_source(source: Source) -> None:
    """Add a kind of source; it is asked before those that are there already."""
    _SOURCES.insert(0, source)


def find_source(text: str) -> Source:
    """The kind of source that the text is written like.

    Raises:
        InvalidInputError: None is.
    """
    for source in _SOURCES:
        if source.accepts(text):
            return source
    usages = "; ".join(source.usage for source in _SOURCES)
    raise InvalidInputError(
        f"{text!r} is no data source (and no folder of this name is there); allowed are: {usages}"
    )
