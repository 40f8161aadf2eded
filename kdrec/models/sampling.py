"""Farthest-point sampling: points of a cloud that are far from each other.

Shape letters: B batch, N points, M points chosen.

References:
    Eldar et al., The Farthest Point Strategy for Progressive Image Sampling, 1997.
"""

import torch
from torch import Tensor

from kdrec.errors import InvalidInputError

# Not `torch.library.custom_op`, whose first call imports the compiler, for more than a second.
_LIBRARY = torch.library.Library("kdrec", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("farthest_points(Tensor xyz, Tensor start, int count) -> Tensor")  # type: ignore[no-untyped-call]


def farthest_points(xyz_BN3: Tensor, count: int) -> Tensor:
    """Choose points of every cloud, each the farthest from those chosen before.

    The first is the one farthest from the centroid, so that the same points are chosen in whatever
    order a cloud lists them (but for ties between points at different places). No point is chosen
    twice, also where all points are equal. Any first part of a choice is the choice of that many
    points: one call serves all stages of a network.

    Args:
        xyz_BN3: Coordinates.
        count: M, at most N.

    Returns:
        Point numbers (B, M), int64, without a gradient.

    Raises:
        InvalidInputError: There are fewer points.
    """
    if not 1 <= count <= xyz_BN3.shape[1]:
        raise InvalidInputError(
            f"number of points to sample must be from 1 to {xyz_BN3.shape[1]}, the points of a "
            f"cloud; got {count}"
        )
    with torch.no_grad(), torch.autocast(xyz_BN3.device.type, enabled=False):
        xyz_BN3 = xyz_BN3.detach().float()
        offset_BN3 = xyz_BN3 - xyz_BN3.mean(dim=1, keepdim=True)
        start_B = offset_BN3.square().sum(dim=-1).argmax(dim=1)
        chosen_BM: Tensor = torch.ops.kdrec.farthest_points(xyz_BN3, start_B, count)
    return chosen_BM


# An operator of its own, because a compiler would unroll the loop into thousands of nodes.
@torch.library.impl(_LIBRARY, "farthest_points", "CompositeExplicitAutograd")
def _choose(xyz: Tensor, start: Tensor, count: int) -> Tensor:
    num_clouds, num_points, _ = xyz.shape
    rows_B = torch.arange(num_clouds, device=xyz.device)
    xyz_3BN = xyz.permute(2, 0, 1).contiguous()
    chosen_BM = torch.empty((num_clouds, count), dtype=torch.int64, device=xyz.device)
    nearest_BN = torch.full((num_clouds, num_points), torch.inf, device=xyz.device)
    last_B = start
    for place in range(count):
        chosen_BM[:, place] = last_B
        offset_3BN = xyz_3BN - xyz_3BN[:, rows_B, last_B].unsqueeze(-1)
        x_BN, y_BN, z_BN = offset_3BN.square_()
        torch.minimum(nearest_BN, x_BN.add_(y_BN).add_(z_BN), out=nearest_BN)
        nearest_BN.scatter_(1, last_B.unsqueeze(1), -1.0)  # never again
        last_B = nearest_BN.argmax(dim=1)
    return chosen_BM


@torch.library.register_fake("kdrec::farthest_points", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _shape(xyz: Tensor, start: Tensor, count: int) -> Tensor:
    return start.new_empty((xyz.shape[0], count))
