"""PointViG for segmentation: logits for every point.

The decoder (interpolation of three neighbours, skip connections) is our own choice; the paper
leaves it open.

Shape letters: B batch, N points, M points of a coarser stage, D channels, F features, C classes.

References:
    Zheng et al., PointViG: A Lightweight GNN-based Model for Efficient Point Cloud Analysis, 2024.
    Qi et al., PointNet++, 2017 (interpolation).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kdrec.models.dilation import GraphSettings, NeighbourChoice
from kdrec.models.inputs import check_points, check_sizes
from kdrec.models.neighbours import fixed_order, gather_points, nearest
from kdrec.models.pointvig import GraphEncoder, StageOutput
from kdrec.models.pointwise import PointLayer
from kdrec.models.registry import register_model

_INTERPOLATED = 3
_EPSILON = 1e-8


def interpolate(fine_BN3: Tensor, coarse_BM3: Tensor, features_BMF: Tensor) -> Tensor:
    """Features of fine points from the three nearest coarse ones, by inverse squared distance.

    Args:
        fine_BN3: Where features are wanted.
        coarse_BM3: Where there are some.
        features_BMF: Of the coarse points.

    Returns:
        Shape (B, N, F).
    """
    found = nearest(fine_BN3, coarse_BM3, _INTERPOLATED)
    closeness = (found.squared_BMK + _EPSILON).reciprocal()
    weight = (closeness / closeness.sum(dim=-1, keepdim=True)).to(features_BMF.dtype)
    near = gather_points(features_BMF, found.index_BMK)
    return (near * weight.unsqueeze(-1)).sum(dim=2)


class InterpolationDecoder(nn.Module):
    """From the coarsest stage back to every point, with a skip connection from each stage.

    Args:
        widths: Features of a point in each stage, the finest first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(PointLayer(coarse + fine, fine), PointLayer(fine, fine))
            for fine, coarse in pairwise(widths)
        )

    def forward(self, stages: Sequence[StageOutput]) -> Tensor:
        """What the stages know to features of every point (B, N, F)."""
        coarse = stages[-1]
        for layer, fine in zip(reversed(self.layers), reversed(stages[:-1]), strict=True):
            above_BNF = interpolate(fine.xyz_BN3, coarse.xyz_BN3, coarse.features_BNF)
            joined_BNF = torch.cat([fine.features_BNF, above_BNF], dim=-1)
            coarse = StageOutput(fine.xyz_BN3, layer(joined_BNF))
        return coarse.features_BNF


@register_model(
    "pointvig-seg",
    description="PointViG for segmentation with the published number of parameters, 5.3 M",
    head="head.2.weight",
    task="segmentation",
)
class PointViGSegmentation(nn.Module):
    """Labels every point of a cloud: graph encoder, interpolation decoder, two layers.

    Args:
        num_classes: Logits of a point.
        num_channels: Numbers of one point, coordinates first.
        widths: Features of a point in each stage.
        num_blocks: Of each stage.
        dropout: Before the last layer, in training.
        neighbours: How a block chooses them; see `GraphSettings`.
        num_neighbours: k.
        dilation: d, for choices other than `nearest`.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        num_channels: int = 3,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        num_blocks: Sequence[int] = (1, 1, 2, 1),
        dropout: float = 0.0,
        neighbours: NeighbourChoice = "adaptive",
        num_neighbours: int = 16,
        dilation: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout, least_channels=3)
        settings = GraphSettings(
            num_neighbours=num_neighbours, choice=neighbours, dilation=dilation
        )
        self.num_channels = num_channels
        self.encoder = GraphEncoder(num_channels, widths, num_blocks, settings)
        self.decoder = InterpolationDecoder(widths)
        self.head = nn.Sequential(
            PointLayer(widths[0], widths[0]),
            nn.Dropout(dropout),
            nn.Linear(widths[0], num_classes),
        )

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, N, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        order_BN = fixed_order(points_BND)
        stages = self.encoder(gather_points(points_BND, order_BN))
        logits_BNC: Tensor = self.head(self.decoder(stages))
        return gather_points(logits_BNC, order_BN.argsort(dim=1))
