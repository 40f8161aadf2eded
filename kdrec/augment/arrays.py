"""The few array operations that numpy and torch share here, without importing torch.

Arithmetic is elementwise, in a fixed order, in float32: numpy and torch on a CPU then agree to the
last bit, and a GPU to the rounding of a fused multiply-add. Sums go through float64.

Shape letters: B batch, N points, D channels.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import array_api_compat
import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
"""A numpy array or a torch tensor."""

_POINTS_TOGETHER = 32


def namespace(array: Array) -> ModuleType:
    """The array-API functions for this kind of array."""
    module: ModuleType = array_api_compat.array_namespace(array)
    return module


def like(values: npt.NDArray[Any], array: Array) -> Array:
    """Host values as the kind and on the device of `array`."""
    xp = namespace(array)
    return xp.asarray(values, device=array_api_compat.device(array))


def to_host(array: Array) -> npt.NDArray[Any]:
    """The values as numpy has them, from wherever they lie."""
    return np.asarray(array_api_compat.to_device(array, "cpu"))


def on_every_point(
    operator: Callable[[Array, Array], Array],
    vectors_BN3: Array,
    values_B3: Array,
) -> Array:
    """An arithmetic operator between every point of a cloud and one vector for the cloud.

    Args:
        operator: Elementwise.
        vectors_BN3: float32.
        values_B3: float32, of the same kind and device.
    """
    xp = namespace(vectors_BN3)
    batch, num_points, _ = vectors_BN3.shape
    # Rows of some points: broadcasting over three numbers alone takes four times as long.
    together = math.gcd(num_points, _POINTS_TOGETHER)
    rows = xp.reshape(vectors_BN3, (batch, num_points // together, 3 * together))
    values = xp.tile(values_B3, (1, together))[:, None, :]
    return xp.reshape(operator(rows, values), (batch, num_points, 3))


def replace_columns(points_BND: Array, columns: slice, vectors_BN3: Array) -> Array:
    """The points with three neighbouring columns replaced."""
    xp = namespace(points_BND)
    before, after = points_BND[..., : columns.start], points_BND[..., columns.stop :]
    parts = [part for part in (before, vectors_BN3, after) if part.shape[-1]]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)


def stack(x_BN: Array, y_BN: Array, z_BN: Array) -> Array:
    """Three coordinates to vectors."""
    return namespace(x_BN).stack([x_BN, y_BN, z_BN], axis=-1)


def length(vectors_BN3: Array) -> Array:
    """Euclidean length, shape (B, N)."""
    x_BN, y_BN, z_BN = (vectors_BN3[..., axis] for axis in range(3))
    return namespace(vectors_BN3).sqrt(x_BN * x_BN + y_BN * y_BN + z_BN * z_BN)


def divide_or_keep(vectors: Array, divisor: Array) -> Array:
    """Division that leaves what would be divided by zero as it is."""
    xp = namespace(vectors)
    return vectors / xp.where(divisor == 0, xp.ones_like(divisor), divisor)
