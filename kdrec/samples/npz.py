"""Samples from a `.npz` file of numpy arrays; nothing in it can execute, pickles are refused."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.samples.contents import AnyArray, Arguments, Contents, refuse_arguments
from kdrec.samples.fields import build_samples
from kdrec.samples.split import Split


class NpzSource:
    """Files of named arrays, as `numpy.savez` writes them; see `build_samples` for the names."""

    usage = "FILE.npz (arrays xyz, label, class_names, ...)"

    def accepts(self, source: str) -> bool:
        """By its ending."""
        return source.lower().endswith(".npz")

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """The arrays of the file, each read when it is asked for."""
        refuse_arguments(source, arguments)
        path = Path(source)
        if not path.is_file():
            raise NotFoundError(f"no file {source}; give the path of an existing .npz file")
        if not zipfile.is_zipfile(path):
            raise InvalidInputError(
                f"{source} is no npz file, or only a part of one; write it anew with numpy.savez"
            )
        with _opening(path, source) as arrays:
            fields = {name: partial(_read_array, path, name) for name in arrays.files}
        return Contents(partial(build_samples, fields, source), fields)


def _read_array(path: Path, name: str) -> AnyArray:
    with _opening(path, f"{name} of {path}") as arrays:
        array: AnyArray = arrays[name]
        return array


@contextmanager
def _opening(path: Path, what: str) -> Iterator[NpzFile]:
    # Opened here, because numpy leaves a file that it opened and cannot read open.
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise InvalidInputError(
                f"{what} is no plain array: it holds Python objects (a pickle), which are refused "
                "because reading them runs code; save numbers or fixed-length strings instead"
            ) from error
        raise InvalidInputError(
            f"{what} cannot be read ({error}); write it anew with numpy.savez"
        ) from error
