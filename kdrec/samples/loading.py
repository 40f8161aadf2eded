"""Samples and fields from the text that names a data source: read, split, preprocessed.

Shape letters: S samples, N points, D channels.
"""

from collections.abc import Sequence

import numpy as np

from kdrec.augment import check_channels
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.samples.contents import AnyArray, Arguments, Contents
from kdrec.samples.points import PointChoice, select_points
from kdrec.samples.sample_set import SampleSet
from kdrec.samples.sources import find_source
from kdrec.samples.split import Split, parse_split, split_rows


def load_samples(
    source: str,
    *,
    arguments: Arguments | None = None,
    split: str | None = None,
    num_points: int | None = None,
    point_choice: PointChoice = "first",
    channels: Sequence[str] | None = None,
) -> SampleSet:
    """The samples of a data source, preprocessed.

    Args:
        source: `shapes`, a `.npz` file, a `.h5` file or a folder of them, `module:factory` or
            `file.py:factory`.
        arguments: Of the factory or of the shapes; files take none.
        split: `FIELD=VALUE` keeps the samples whose field has that value.
        num_points: Points kept of each sample, all by default.
        point_choice: Which points are kept.
        channels: Names the source has: keeps these columns, in this order. As many other names as
            the source has columns: names the columns.

    Raises:
        InvalidInputError: What is asked for is not there or does not fit; says what there is.
        NotFoundError: No such file, module or factory.
    """
    parsed = None if split is None else parse_split(split)
    contents = find_source(source).open(source, arguments or {}, parsed)
    samples = contents.samples()
    if parsed is not None:
        samples = samples.rows(split_rows(_split_field(contents, parsed, len(samples)), parsed))
    if channels is not None:
        samples = _choose_channels(samples, channels)
    if num_points is not None:
        points_SND = select_points(samples.points_SND, num_points, point_choice)
        samples = _with_points(samples, points_SND, samples.channels)
    return samples


def load_field(source: str, field: str, *, arguments: Arguments | None = None) -> AnyArray:
    """One array of a data source as it is, whole: no split is applied, nothing is scaled.

    Raises:
        NotFoundError: There is no such field, file, module or factory.
    """
    fields = find_source(source).open(source, arguments or {}, None).fields
    if field not in fields:
        raise NotFoundError(
            f"{source} has no field {field!r}; it has {', '.join(sorted(fields)) or 'none'}"
        )
    return fields[field]()


def _split_field(contents: Contents, split: Split, num_samples: int) -> AnyArray:
    """The field a split goes by, one value a sample."""
    if split.field in contents.fields:
        values = _per_sample(contents.fields[split.field](), num_samples)
        if values is not None:
            return values
    allowed = [
        name
        for name, read in sorted(contents.fields.items())
        if _per_sample(read(), num_samples) is not None
    ]
    raise InvalidInputError(
        f"split {split}: {split.field!r} is no field with one value a sample; such fields are "
        f"{', '.join(allowed) or 'not there'}"
    )


def _per_sample(values: AnyArray, num_samples: int) -> AnyArray | None:
    if values.shape == (num_samples, 1):
        values = values[:, 0]
    return values if values.shape == (num_samples,) and values.dtype.kind in "biufSU" else None


def _choose_channels(samples: SampleSet, channels: Sequence[str]) -> SampleSet:
    names = check_channels(channels)
    if set(names) <= set(samples.channels):
        columns = [samples.channels.index(name) for name in names]
        return _with_points(samples, np.take(samples.points_SND, columns, axis=2), names)
    if len(names) != len(samples.channels):
        raise InvalidInputError(
            f"channels {', '.join(names)} do not go with the source's {len(samples.channels)}: "
            f"{', '.join(samples.channels)}; choose among these, or name all of them anew"
        )
    return _with_points(samples, samples.points_SND, names)


def _with_points(samples: SampleSet, points_SND: AnyArray, channels: tuple[str, ...]) -> SampleSet:
    return SampleSet(points_SND, channels, samples.labels_S, samples.class_names, samples.names)
