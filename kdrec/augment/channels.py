"""What the columns of a point are: coordinates first, then per-point features.

The rule for features: normals turn with the shape (they rotate, reflect, and follow a stretch by
its inverse), everything else stays (colours, intensity, height over the floor).
"""

from collections.abc import Sequence

from kdrec.errors import InvalidInputError

XYZ = ("x", "y", "z")
NORMAL = ("normal_x", "normal_y", "normal_z")


def check_channels(channels: Sequence[str]) -> tuple[str, ...]:
    """The channel names, if they make sense.

    Raises:
        InvalidInputError: The first three are not x, y, z, a name occurs twice, or normals are not
            three neighbouring columns.
    """
    names = tuple(channels)
    if names[:3] != XYZ:
        raise InvalidInputError(f"channels must begin with x, y, z, got {', '.join(names)}")
    if len(set(names)) != len(names):
        raise InvalidInputError(f"channel names must differ, got {', '.join(names)}")
    present = [name for name in names if name in NORMAL]
    if present and normal_columns(names) is None:
        raise InvalidInputError(
            f"normals must stand as {', '.join(NORMAL)} side by side, got {', '.join(names)}"
        )
    return names


def normal_columns(channels: Sequence[str]) -> slice | None:
    """Where the normals stand, None without normals."""
    names = tuple(channels)
    if NORMAL[0] not in names:
        return None
    start = names.index(NORMAL[0])
    return slice(start, start + 3) if names[start : start + 3] == NORMAL else None


def default_channels(count: int) -> tuple[str, ...]:
    """Names where a source gives none: x, y, z, then normals if three more, else feature_0, ...

    Six columns are coordinates and normals in every point-cloud data set of the field that does
    not say otherwise (modelnet40_normal_resampled); say otherwise with channel names.

    Raises:
        InvalidInputError: Fewer than three columns.
    """
    if count < 3:
        raise InvalidInputError(f"points need at least 3 columns (x, y, z), got {count}")
    if count == 6:
        return XYZ + NORMAL
    return XYZ + tuple(f"feature_{index}" for index in range(count - 3))
