"""Which teacher column belongs to which class of the data."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.samples import Arguments, SampleSet, load_field


def read_class_map(text: str, source: str, arguments: Arguments | None = None) -> tuple[int, ...]:
    """The class map of a command line: `1,2,8`, or a field of the data such as `modelnet40_index`.

    Args:
        text: What the user gave.
        source: The data, asked for the field.
        arguments: Of the source.

    Raises:
        InvalidInputError: Not all of it are whole numbers.
        NotFoundError: The data have no such field.
    """
    if re.fullmatch(r"\s*-?[0-9]+\s*(,\s*-?[0-9]+\s*)*", text):
        return tuple(int(part) for part in text.split(","))
    field = np.asarray(load_field(source, text, arguments=arguments))
    if field.ndim != 1 or not np.issubdtype(field.dtype, np.integer):
        raise InvalidInputError(
            f"field {text!r} of {source} is no class map: one whole number for each class is "
            f"wanted, got {field.dtype} of shape {field.shape}"
        )
    return tuple(int(column) for column in field)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Names of the teacher's classes: a text file, one name a line, in column order.

    Raises:
        NotFoundError: No such file.
        InvalidInputError: It is no text in UTF-8.
    """
    if not path.is_file():
        raise NotFoundError(f"no file {path}; give a text file with one class name a line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path} is no text in UTF-8 ({error}); write one class name a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


def match_classes(
    samples: SampleSet,
    *,
    num_teacher: int,
    teacher_names: Sequence[str] | None,
    class_map: tuple[int, ...] | None,
) -> tuple[int, ...] | None:
    """The class map to record: the given one, else one by names, else none for equal classes.

    Args:
        samples: Labels and class names of the data, where there are any.
        num_teacher: C, the teacher's columns.
        teacher_names: Of its classes, where known.
        class_map: As the user gave it.

    Returns:
        Teacher column of each class of the data, None where both have the same classes.

    Raises:
        InvalidInputError: The classes cannot be matched; says how to give a map.
    """
    num_data = _count_classes(samples)
    _check_names(teacher_names, num_teacher)
    if class_map is not None:
        return _checked(class_map, num_data, num_teacher)
    if teacher_names is not None and samples.class_names is not None:
        return _by_names(samples.class_names, tuple(teacher_names))
    if num_data is None or num_data == num_teacher:
        return None
    if samples.class_names is None and num_data < num_teacher:
        return None  # labels alone do not tell how many classes there are
    raise InvalidInputError(
        f"the teacher has {num_teacher} classes, the data have {num_data}; say which teacher "
        "column each class of the data is with --class-map 1,2,8,... or --class-map FIELD, or give "
        "the teacher's class names with --teacher-classes FILE"
    )


def _check_names(names: Sequence[str] | None, num_teacher: int) -> None:
    if names is None:
        return
    if len(names) != num_teacher:
        raise InvalidInputError(
            f"there are {len(names)} names of teacher classes for {num_teacher} columns; give one "
            "name for each column, in order"
        )
    for name in names:
        if list(names).count(name) > 1:
            raise InvalidInputError(f"teacher class {name!r} is named twice; names must differ")


def _count_classes(samples: SampleSet) -> int | None:
    if samples.class_names is not None:
        return len(samples.class_names)
    return None if samples.labels_S is None else int(samples.labels_S.max()) + 1


def _checked(class_map: tuple[int, ...], num_data: int | None, num_teacher: int) -> tuple[int, ...]:
    if num_data is not None and len(class_map) != num_data:
        raise InvalidInputError(
            f"the class map names {len(class_map)} columns, the data have {num_data} classes; "
            "give one column for each class of the data, in order"
        )
    for column in class_map:
        if not 0 <= column < num_teacher:
            raise InvalidInputError(
                f"class map column {column} is out of range; the teacher has columns 0 to "
                f"{num_teacher - 1}"
            )
    if len(set(class_map)) != len(class_map):
        raise InvalidInputError(f"the class map names a column twice: {class_map}")
    return class_map


def _by_names(data: tuple[str, ...], teacher: tuple[str, ...]) -> tuple[int, ...] | None:
    if data == teacher:
        return None
    missing = [name for name in data if name not in teacher]
    if missing:
        raise InvalidInputError(
            f"the teacher has no class {missing[0]!r} of the data ({len(missing)} are missing); "
            f"its classes are {', '.join(teacher)}; give --class-map 1,2,8,..."
        )
    return tuple(teacher.index(name) for name in data)
