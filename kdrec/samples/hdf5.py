"""Samples from HDF5: one file, or a folder of them read as one in the order of their names.

Two per-sample fields are made of the files' names: `file_name`, and `file`, which is `train`,
`test` or `val` where a word of the name begins so (`ply_data_train0.h5`,
`training_objectdataset.h5`), else the name without its ending. A folder that holds more than one of
train, test and val is not read as one by accident: a split must say which samples are meant.
"""

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError
from kdrec.samples.contents import AnyArray, Arguments, Contents, Fields, refuse_arguments
from kdrec.samples.fields import CLASS_FIELDS, POINT_FIELDS, build_samples, find_field
from kdrec.samples.room import make_room
from kdrec.samples.sample_set import SampleSet
from kdrec.samples.split import Split, split_rows

_ENDINGS = (".h5", ".hdf5")
_CLASS_FILES = ("shape_names.txt", "class_names.txt")
_ROLES = ("train", "test", "val")


class Hdf5Source:
    """The layouts of ModelNet40 (hdf5_2048) and ScanObjectNN, and everything built alike."""

    usage = "FILE.h5 or a folder of .h5 files (data, label, normal; shape_names.txt beside them)"

    def accepts(self, source: str) -> bool:
        """By its ending, or because it is a folder."""
        return source.lower().endswith((*_ENDINGS, "/")) or bool(source and Path(source).is_dir())

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """The data sets of the files, each read when it is asked for."""
        refuse_arguments(source, arguments)
        _import_h5py()
        paths = _find_files(source)
        if split is not None and split.field in ("file", "file_name"):
            describe = _role if split.field == "file" else _file_name
            rows = split_rows(np.array([describe(path) for path in paths]), split)
            paths = [paths[row] for row in rows]
        fields = _list_fields(paths)
        return Contents(partial(_read_samples, source, paths, fields, split), fields)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a file holds: the length of its points, and its data sets by length."""

    num_samples: int
    lengths: dict[str, int | None]


def _import_h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise InvalidInputError(
            "reading HDF5 needs h5py, which is not installed; run `pip install kdrec[record]`",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error


def _find_files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFoundError(f"no file or folder {source}; give the path of an existing one")
    paths = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in _ENDINGS)
    if not paths:
        raise NotFoundError(f"no .h5 or .hdf5 file in {source}; give the folder that holds them")
    return paths


def _file_name(path: Path) -> str:
    return path.name


def _role(path: Path) -> str:
    words = re.split(r"[^a-z]+", path.stem.lower())
    roles = [role for role in _ROLES if any(word.startswith(role) for word in words)]
    return roles[0] if len(roles) == 1 else path.stem


def _read_samples(
    source: str, paths: Sequence[Path], fields: Fields, split: Split | None
) -> SampleSet:
    roles = sorted({_role(path) for path in paths} & set(_ROLES))
    if len(roles) > 1 and split is None:
        choices = " or ".join(f"file={role}" for role in roles)
        raise InvalidInputError(
            f"{source} holds files of {' and '.join(roles)}, which are not meant to be one data "
            f"set; choose by a split: {choices}, or name one file"
        )
    return build_samples(fields, source)


def _list_fields(paths: Sequence[Path]) -> Fields:
    """Readers of what every file holds, of the class names beside them, of the files' names."""
    layouts = [_inspect(path) for path in paths]
    shared = [name for name in layouts[0].lengths if all(name in one.lengths for one in layouts)]
    fields: dict[str, Callable[[], AnyArray]] = {
        name: partial(_read_field, paths, layouts, name) for name in shared
    }
    beside = [folder / name for folder in [paths[0].parent] for name in _CLASS_FILES]
    class_file = next((path for path in beside if path.is_file()), None)
    if class_file is not None and not set(CLASS_FIELDS) & set(fields):
        fields[CLASS_FIELDS[0]] = partial(_read_lines, class_file)
    counts = [layout.num_samples for layout in layouts]
    fields["file"] = partial(np.repeat, np.array([_role(path) for path in paths]), counts)
    fields["file_name"] = partial(np.repeat, np.array([path.name for path in paths]), counts)
    return fields


def _inspect(path: Path) -> _Layout:
    with _open(path) as file:
        sets = {name: item for name, item in file.items() if hasattr(item, "shape")}
        lengths = {name: len(item) if item.shape else None for name, item in sets.items()}
    points = find_field(list(lengths), POINT_FIELDS, str(path))
    return _Layout((lengths[points] or 0) if points else 0, lengths)


def _read_field(paths: Sequence[Path], layouts: Sequence[_Layout], name: str) -> AnyArray:
    """One array of all files if it is per sample, else that of the first file."""
    per_sample = all(layout.lengths[name] == layout.num_samples for layout in layouts)
    if not per_sample or name in CLASS_FIELDS:
        return _read_array(paths[0], name)
    kinds = [_kind(path, name) for path in paths]
    for path, (shape, dtype) in zip(paths, kinds, strict=True):
        if shape[1:] != kinds[0][0][1:] or dtype.kind != kinds[0][1].kind:
            raise InvalidInputError(
                f"{name} of {path} is {dtype} {shape}, but of {paths[0].name} it is "
                f"{kinds[0][1]} {kinds[0][0]}; keep files of one layout in a folder"
            )
    if kinds[0][1].kind not in "biuf":
        return np.concatenate([_read_array(path, name) for path in paths])
    return _read_numbers(paths, name, kinds)


def _kind(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with _open(path) as file:
        return tuple(file[name].shape), np.dtype(file[name].dtype)


def _read_numbers(
    paths: Sequence[Path], name: str, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
) -> AnyArray:
    """The files' numbers one after the other, read into their place."""
    length = sum(shape[0] for shape, _ in kinds)
    together = make_room((length, *kinds[0][0][1:]), np.result_type(*(dtype for _, dtype in kinds)))
    start = 0
    for path, (shape, _) in zip(paths, kinds, strict=True):
        if shape[0]:  # h5py has nothing to read from an empty set
            with _open(path) as file:
                file[name].read_direct(together, dest_sel=np.s_[start : start + shape[0]])
        start += shape[0]
    return together


def _read_array(path: Path, name: str) -> AnyArray:
    with _open(path) as file:
        is_text = _import_h5py().check_string_dtype(file[name].dtype) is not None
        values: AnyArray = np.asarray(file[name].asstr()[()] if is_text else file[name][()])
    return values.astype(str) if is_text else values


def _read_lines(path: Path) -> AnyArray:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error}); write one class name a line, or remove it"
        ) from error
    return np.array([line.strip() for line in lines if line.strip()])


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with _import_h5py().File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} is not a readable HDF5 file ({error}); download or write it anew"
        ) from error
