"""What every network here refuses before it computes.

Shape letters: B batch, N points, D channels of a point.
"""

from torch import Tensor

from kdrec.errors import InvalidInputError


def check_points(points_BND: Tensor, num_channels: int) -> None:
    """Refuse what are no clouds of this many channels.

    Raises:
        InvalidInputError: The points have another shape, or there are none.
    """
    if points_BND.ndim != 3 or points_BND.shape[-1] != num_channels or 0 in points_BND.shape:
        raise InvalidInputError(
            f"points must have shape (batch, points, {num_channels}) and hold some, "
            f"got {tuple(points_BND.shape)}"
        )


def check_sizes(
    num_classes: int, num_channels: int, dropout: float, *, least_channels: int = 1
) -> None:
    """Refuse what no network can be made with.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point.
        dropout: Before the last layer.
        least_channels: 3 for a network that looks for neighbours in the coordinates.

    Raises:
        InvalidInputError: A number is out of range.
    """
    if num_classes < 2:
        raise InvalidInputError(f"num_classes must be at least 2, got {num_classes}")
    if num_channels < least_channels:
        raise InvalidInputError(
            f"num_channels must be at least {least_channels}, got {num_channels}"
        )
    if not 0 <= dropout < 1:
        raise InvalidInputError(f"dropout must be from 0 to below 1, got {dropout:g}")


def check_counts(**counts: object) -> None:
    """Refuse what is no whole number from 1 on.

    Args:
        **counts: By the name that the user gave.

    Raises:
        InvalidInputError: Names the first that is none.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise InvalidInputError(f"{name} must be a whole number from 1 on, got {count!r}")
