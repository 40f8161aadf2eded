"""Samples from a data set of the user's own Python code: `module:factory` or `file.py:factory`.

The factory's result has a length and gives one sample by its number: `(points, label)`, a
dictionary with `points`, `pos` or `xyz` and `label` or `y`, or points alone. Tensors are read
through numpy; torch itself is not imported. Attribute `classes` or `class_names` names classes.

Shape letters: S samples, N points, D channels.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from kdrec.augment import default_channels
from kdrec.errors import InvalidInputError
from kdrec.factories import call_factory, is_factory
from kdrec.samples.contents import AnyArray, Arguments, Contents
from kdrec.samples.fields import LABEL_FIELDS, to_labels
from kdrec.samples.room import make_room
from kdrec.samples.sample_set import Labels, Points, SampleSet
from kdrec.samples.split import Split

_POINT_KEYS = ("points", "pos", "xyz")
_CLASS_ATTRIBUTES = ("class_names", "classes")


class DatasetSource:
    """Map-style data sets, such as those of torch.utils.data."""

    usage = "package.module:factory or file.py:factory (returns a data set of (points, label))"

    def accepts(self, source: str) -> bool:
        """By its form."""
        return is_factory(source)

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """Everything the data set gives, read at once."""
        samples = _read_all(call_factory(source, arguments), source)
        fields = {}
        if samples.labels_S is not None:
            fields["label"] = partial(np.asarray, samples.labels_S)
        if samples.class_names is not None:
            fields["class_names"] = partial(np.asarray, samples.class_names)
        return Contents(lambda: samples, fields)


def _read_all(dataset: Any, source: str) -> SampleSet:
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InvalidInputError(
            f"{source} returned a {type(dataset).__name__}; it must return a data set with "
            "__len__ and __getitem__"
        )
    if len(dataset) == 0:
        raise InvalidInputError(f"the data set of {source} is empty; give at least one sample")
    points_SND, labels = _stream(dataset, source)
    if not np.array_equal(points_SND[0], _read_item(dataset, 0, source)[0], equal_nan=True):
        raise InvalidInputError(
            f"the data set of {source} gives another sample 0 each time it is asked; switch its "
            "augmentation and shuffling off (kdrec augments by itself)"
        )
    return SampleSet(
        points_SND,
        default_channels(points_SND.shape[2]),
        labels_S=_stack_labels(labels, source),
        class_names=_class_names(dataset),
    )


def _stream(dataset: Any, source: str) -> tuple[Points, list[Any]]:
    """Points and labels, one sample after the other, in order."""
    first_ND, label = _read_item(dataset, 0, source)
    points_SND: Points = make_room((len(dataset), *first_ND.shape), np.float32)
    points_SND[0], labels = first_ND, [label]
    for sample in range(1, len(dataset)):
        points_ND, label = _read_item(dataset, sample, source)
        if points_ND.shape != first_ND.shape:
            raise InvalidInputError(
                f"sample {sample} of {source} has shape {points_ND.shape}, sample 0 has "
                f"{first_ND.shape}; let the data set give equally many points of every sample"
            )
        points_SND[sample] = points_ND
        labels.append(label)
    return points_SND, labels


def _read_item(dataset: Any, sample: int, source: str) -> tuple[Points, Any]:
    item = dataset[sample]
    points, label = _take_apart(item, f"sample {sample} of {source}")
    try:
        # A copy: a data set may hand out the same buffer again and again.
        values = np.asarray(points).copy()
        label = None if label is None else _to_scalar(np.asarray(label))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"sample {sample} of {source} is no array ({error}); return numpy arrays, or tensors "
            "on the CPU without gradients"
        ) from error
    if values.ndim != 2 or values.dtype.kind != "f":
        raise InvalidInputError(
            f"sample {sample} of {source} must be floating-point points of shape (points, "
            f"columns), got {values.dtype} {values.shape}"
        )
    return values.astype(np.float32), label


def _take_apart(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        points = next((item[key] for key in _POINT_KEYS if key in item), None)
        if points is None:
            raise InvalidInputError(
                f"{what} has no points; its dictionary needs one of {', '.join(_POINT_KEYS)}, "
                f"it has {', '.join(map(str, item)) or 'nothing'}"
            )
        return points, next((item[key] for key in LABEL_FIELDS if key in item), None)
    if isinstance(item, tuple | list):
        if not item:
            raise InvalidInputError(f"{what} is empty; return (points, label)")
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _to_scalar(label: AnyArray) -> Any:
    """A label as a plain number, of which a million take little memory; others as they are."""
    return label.item() if label.size == 1 else label


def _stack_labels(labels: Sequence[Any], source: str) -> Labels | None:
    if all(label is None for label in labels):
        return None
    for sample, label in enumerate(labels):
        if label is None or isinstance(label, np.ndarray):
            raise InvalidInputError(
                f"sample {sample} of {source} must have one number as its label, got {label}"
            )
    return to_labels(np.array(labels), source)


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    for attribute in _CLASS_ATTRIBUTES:
        names = getattr(dataset, attribute, None)
        if isinstance(names, Sequence | np.ndarray) and not isinstance(names, str | bytes):
            return tuple(str(name) for name in names)
    return None
