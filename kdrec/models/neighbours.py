"""Which points are near which, and what they know.

Shape letters: B batch, N points, D channels, M centres, K neighbours, F features.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_CACHED_DISTANCES = 2**20
_MOST_DISTANCES = 2**26  # at once on a GPU: 0.75 GiB with their ranks
# Below the last digit of a float32 for clouds of up to 65,536 points, and above that of a float64.
_TIE_BREAK = 2.0**-40
_AT_ZERO = 1e-30  # far below the square of any distance but 0


class Neighbours(NamedTuple):
    """The nearest points of each centre, the nearest first.

    Attributes:
        index_BMK: Point numbers.
        squared_BMK: Squared distances.
    """

    index_BMK: Tensor
    squared_BMK: Tensor


def nearest(centres_BM3: Tensor, points_BN3: Tensor, count: int) -> Neighbours:
    """The nearest points of each centre, a centre that is a point itself among them.

    Of points that are equally far the first come first, on every device and in every library: where
    coordinates are on a grid or rounded, the last place is often contested. Distances are sums of
    squared differences, in float32 whatever autocast says: by way of scalar products, equal points
    would be at a distance, and half precision would choose others.

    Args:
        centres_BM3: Whose neighbours are looked for.
        points_BN3: Among which.
        count: K; all points where there are fewer.

    Returns:
        Numbers and squared distances, without a gradient.
    """
    count = min(count, points_BN3.shape[1])
    with torch.no_grad(), torch.autocast(points_BN3.device.type, enabled=False):
        centres_BM3, points_BN3 = centres_BM3.detach().float(), points_BN3.detach().float()
        num_clouds = points_BN3.shape[0]
        step = _clouds_per_pass(centres_BM3, points_BN3)
        if step is None or step >= num_clouds:
            return _nearest(centres_BM3, points_BN3, count)
        parts = [
            _nearest(centres_BM3[start : start + step], points_BN3[start : start + step], count)
            for start in range(0, num_clouds, step)
        ]
        return Neighbours(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def fixed_order(points_BND: Tensor) -> Tensor:
    """Point numbers in an order that follows from the points, not from how a cloud lists them.

    Searches take the first of what is equally far: points on a grid, copies of a point. A network
    that begins with this order gives a cloud the same logits however it is listed.

    Args:
        points_BND: With all their channels, so that copies of a place are told apart by the others.

    Returns:
        Shape (B, N), without a gradient.
    """
    points_BND = points_BND.detach().double()
    numbers_D = torch.arange(1, points_BND.shape[-1] + 1, device=points_BND.device)
    # Cosines of whole numbers: no two places on a grid lie equally far in such a direction.
    along_BN = (points_BND * numbers_D.double().cos()).sum(dim=-1)
    return along_BN.argsort(dim=1)


def gather_points(features_BNF: Tensor, index_B: Tensor) -> Tensor:
    """The features of some points of every cloud.

    Args:
        features_BNF: Of all points.
        index_B: Point numbers, shape (B, ...).

    Returns:
        Shape (B, ..., F).
    """
    num_clouds, num_points, width = features_BNF.shape
    first_B = torch.arange(num_clouds, device=index_B.device) * num_points
    flat_B = index_B + first_B.view(-1, *[1] * (index_B.ndim - 1))
    # index_select on rows is twice as fast as indexing and three times as gather.
    rows = features_BNF.reshape(-1, width).index_select(0, flat_B.flatten())
    return rows.reshape(*index_B.shape, width)


def _nearest(centres_BM3: Tensor, points_BN3: Tensor, count: int) -> Neighbours:
    squared_BMN = _squared_offsets(centres_BM3, points_BN3, axis=0)
    for axis in range(1, points_BN3.shape[-1]):
        squared_BMN.add_(_squared_offsets(centres_BM3, points_BN3, axis=axis))
    place_N = torch.arange(points_BN3.shape[1], dtype=torch.float64, device=points_BN3.device)
    ranked_BMN = squared_BMN.double().add_(_AT_ZERO).mul_(1 + _TIE_BREAK * place_N)
    index_BMK = ranked_BMN.topk(count, dim=-1, largest=False).indices
    return Neighbours(index_BMK, squared_BMN.gather(-1, index_BMK))


def _squared_offsets(centres_BM3: Tensor, points_BN3: Tensor, *, axis: int) -> Tensor:
    offset_BMN = centres_BM3[:, :, None, axis] - points_BN3[:, None, :, axis]
    return offset_BMN.mul_(offset_BMN)


def _clouds_per_pass(centres_BM3: Tensor, points_BN3: Tensor) -> int | None:
    if torch.compiler.is_compiling():  # it fuses the distances, and keeps none
        return None
    # A CPU is twice as fast while the distances stay in its cache.
    most = _CACHED_DISTANCES if points_BN3.device.type == "cpu" else _MOST_DISTANCES
    return max(1, most // (centres_BM3.shape[1] * points_BN3.shape[1]))
