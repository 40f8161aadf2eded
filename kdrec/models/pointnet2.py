"""PointNet++ with single-scale grouping, for classification.

Names and shapes of the tensors are those of the widespread public checkpoints
(yanx27/Pointnet_Pointnet2_pytorch), so that they load by name. Two things differ from that code,
so that the logits of a cloud depend neither on chance nor on the order of its points: sampling
begins with the point farthest from the centroid, not with a random one, and of a ball with too many
points the nearest are taken, not the first listed.

Shape letters: B batch, N points, M centres, K neighbours, D channels, F features, C classes.

References:
    Qi et al., PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space, 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.models.inputs import check_points, check_sizes
from kdrec.models.neighbours import fixed_order, gather_points, nearest
from kdrec.models.pointwise import PointwiseConv2d, RowNorm
from kdrec.models.registry import register_model
from kdrec.models.sampling import farthest_points


@dataclass(frozen=True, slots=True)
class Ball:
    """What a set abstraction groups.

    Attributes:
        num_centres: M, all points where there are fewer.
        radius: Of the ball around each.
        num_neighbours: K, the nearest in it; a ball with fewer repeats its centre.
    """

    num_centres: int
    radius: float
    num_neighbours: int


class SetAbstraction(nn.Module):
    """The same layers for every point of a ball, then the maximum.

    Args:
        num_inputs: Features of a point, without its three coordinates.
        widths: Of the layers.
        ball: None for one ball that holds the whole cloud.
    """

    def __init__(self, num_inputs: int, widths: Sequence[int], ball: Ball | None) -> None:
        super().__init__()
        pairs = list(zip((num_inputs + 3, *widths), widths, strict=False))
        self.mlp_convs = nn.ModuleList(PointwiseConv2d(before, after) for before, after in pairs)
        self.mlp_bns = nn.ModuleList(RowNorm(after) for _, after in pairs)
        self.ball = ball

    def forward(self, xyz_BN3: Tensor, features_BNF: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coordinates (B, M, 3) and features (B, M, F) of the centres."""
        centres_BM3, rows_BMKF = self._group(xyz_BN3, features_BNF)
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            rows_BMKF = functional.relu(norm(convolution(rows_BMKF)))
        return centres_BM3, rows_BMKF.amax(dim=2)

    def _group(self, xyz_BN3: Tensor, features_BNF: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.ball is None:
            whole = xyz_BN3 if features_BNF is None else torch.cat([xyz_BN3, features_BNF], dim=-1)
            return torch.zeros_like(xyz_BN3[:, :1]), whole.unsqueeze(1)
        num_centres = min(self.ball.num_centres, xyz_BN3.shape[1])
        centres_BM3 = gather_points(xyz_BN3, farthest_points(xyz_BN3, num_centres))
        index_BMK = _in_ball(centres_BM3, xyz_BN3, self.ball)
        rows_BMKF = gather_points(xyz_BN3, index_BMK) - centres_BM3.unsqueeze(2)
        if features_BNF is not None:
            near_BMKF = gather_points(features_BNF, index_BMK)
            rows_BMKF = torch.cat([rows_BMKF, near_BMKF], dim=-1)
        return centres_BM3, rows_BMKF


@register_model(
    "pointnet2-ssg",
    description="PointNet++ with single-scale grouping",
    head="fc3.weight",
)
class PointNet2(nn.Module):
    """Classifies a cloud: three set abstractions, three linear layers.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point, coordinates first; 6 with normals.
        dropout: After each hidden linear layer, in training.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(self, num_classes: int, num_channels: int = 3, *, dropout: float = 0.4) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout, least_channels=3)
        self.num_channels = num_channels
        self.sa1 = SetAbstraction(num_channels - 3, (64, 64, 128), Ball(512, 0.2, 32))
        self.sa2 = SetAbstraction(128, (128, 128, 256), Ball(128, 0.4, 64))
        self.sa3 = SetAbstraction(256, (256, 512, 1024), None)
        self.fc1 = nn.Linear(1024, 512)
        self.bn1 = nn.BatchNorm1d(512)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(512, 256)
        self.bn2 = nn.BatchNorm1d(256)
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(256, num_classes)

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D), in the unit sphere, to logits (B, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        points_BND = gather_points(points_BND, fixed_order(points_BND))
        given_BNF = points_BND[..., 3:] if self.num_channels > 3 else None
        xyz_BN3, features_BNF = self.sa1(points_BND[..., :3], given_BNF)
        xyz_BN3, features_BNF = self.sa2(xyz_BN3, features_BNF)
        _, features_BNF = self.sa3(xyz_BN3, features_BNF)
        hidden_BF = self.drop1(functional.relu(self.bn1(self.fc1(features_BNF[:, 0]))))
        hidden_BF = self.drop2(functional.relu(self.bn2(self.fc2(hidden_BF))))
        logits_BC: Tensor = self.fc3(hidden_BF)
        return logits_BC


def _in_ball(centres_BM3: Tensor, xyz_BN3: Tensor, ball: Ball) -> Tensor:
    found = nearest(centres_BM3, xyz_BN3, ball.num_neighbours)
    outside_BMK = found.squared_BMK > ball.radius**2
    return torch.where(outside_BMK, found.index_BMK[..., :1], found.index_BMK)
