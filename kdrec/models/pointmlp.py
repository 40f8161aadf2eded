"""PointMLP-elite: residual layers over groups of neighbours, for classification.

Names and shapes of the tensors are those of the public checkpoints (ma-xu/pointMLP-pytorch), so
that they load by name. Where the published code for ModelNet40 divides by the standard deviation
over the whole batch, this takes that of each cloud, as the authors' later code does: the logits of
a cloud must not depend on its companions. Sampling begins with the point farthest from the
centroid.

Shape letters: B batch, N points, M centres, K neighbours, F features, C classes.

References:
    Ma et al., Rethinking Network Design and Local Geometry in Point Cloud: A Simple Residual MLP
    Framework, 2022.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.models.inputs import check_points, check_sizes
from kdrec.models.neighbours import fixed_order, gather_points, nearest
from kdrec.models.pointwise import PointwiseConv1d, RowNorm
from kdrec.models.registry import register_model
from kdrec.models.sampling import farthest_points

_EMBEDDED = 32
_EXPANSIONS = (2, 2, 2, 1)
_NUM_BLOCKS = (1, 1, 2, 1)
_NUM_NEIGHBOURS = 24
_BOTTLENECK = 4
_EPSILON = 1e-5


class GeometricAffine(nn.Module):
    """Groups of neighbours, relative to their centre, of one scale per cloud, then stretched.

    Args:
        width: Features of a point.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.affine_alpha = nn.Parameter(torch.ones(1, 1, 1, width))
        self.affine_beta = nn.Parameter(torch.zeros(1, 1, 1, width))

    def forward(self, xyz_BN3: Tensor, features_BNF: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (B, M, 3) of half of the points, and their groups (B, M, K, 2F)."""
        sampled_BM = farthest_points(xyz_BN3, max(1, xyz_BN3.shape[1] // 2))
        centres_BM3 = gather_points(xyz_BN3, sampled_BM)
        centres_BMF = gather_points(features_BNF, sampled_BM)
        index_BMK = nearest(centres_BM3, xyz_BN3, _NUM_NEIGHBOURS).index_BMK
        offset_BMKF = gather_points(features_BNF, index_BMK) - centres_BMF.unsqueeze(2)
        scaled_BMKF = offset_BMKF / (_deviation(offset_BMKF) + _EPSILON)
        # Of the parameters' own precision again, which under autocast is not that of the offsets.
        scaled_BMKF = scaled_BMKF.to(self.affine_alpha.dtype)
        stretched_BMKF = self.affine_alpha * scaled_BMKF + self.affine_beta
        own_BMKF = centres_BMF.unsqueeze(2).expand_as(stretched_BMKF)
        return centres_BM3, torch.cat([stretched_BMKF, own_BMKF], dim=-1)


class ConvNormRelu(nn.Module):
    """Pointwise layer, batch norm, ReLU, under the checkpoints' name `net`."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        convolution = PointwiseConv1d(num_inputs, num_outputs, bias=False)
        self.net = nn.Sequential(convolution, RowNorm(num_outputs), nn.ReLU())

    def forward(self, rows: Tensor) -> Tensor:
        """Features (..., in) to features (..., out)."""
        out: Tensor = self.net(rows)
        return out


class ResidualLayers(nn.Module):
    """Two pointwise layers through a bottleneck, with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // _BOTTLENECK
        self.net1 = nn.Sequential(
            PointwiseConv1d(width, narrow, bias=False), RowNorm(narrow), nn.ReLU()
        )
        self.net2 = nn.Sequential(PointwiseConv1d(narrow, width, bias=False), RowNorm(width))

    def forward(self, rows: Tensor) -> Tensor:
        """Features (..., F) to the same shape."""
        return functional.relu(self.net2(self.net1(rows)) + rows)


class PreExtraction(nn.Module):
    """Layers for every point of a group, then the maximum."""

    def __init__(self, width: int, wider: int, num_blocks: int) -> None:
        super().__init__()
        self.transfer = ConvNormRelu(2 * width, wider)
        self.operation = nn.Sequential(*(ResidualLayers(wider) for _ in range(num_blocks)))

    def forward(self, groups_BMKF: Tensor) -> Tensor:
        """Groups (B, M, K, 2F) to features (B, M, F)."""
        rows_BMKF: Tensor = self.operation(self.transfer(groups_BMKF))
        return rows_BMKF.amax(dim=2)


class PosExtraction(nn.Module):
    """Layers for every centre."""

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        self.operation = nn.Sequential(*(ResidualLayers(width) for _ in range(num_blocks)))

    def forward(self, features_BMF: Tensor) -> Tensor:
        """Features (B, M, F) to the same shape."""
        out_BMF: Tensor = self.operation(features_BMF)
        return out_BMF


@register_model(
    "pointmlp-elite",
    description="the small PointMLP",
    head="classifier.8.weight",
)
class PointMLPElite(nn.Module):
    """Classifies a cloud: four stages on half of the points each, three linear layers.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point, coordinates first.
        dropout: After each hidden linear layer, in training.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(self, num_classes: int, num_channels: int = 3, *, dropout: float = 0.5) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout, least_channels=3)
        self.num_channels = num_channels
        self.embedding = ConvNormRelu(num_channels, _EMBEDDED)
        self.local_grouper_list = nn.ModuleList()
        self.pre_blocks_list = nn.ModuleList()
        self.pos_blocks_list = nn.ModuleList()
        width = _EMBEDDED
        for expansion, num_blocks in zip(_EXPANSIONS, _NUM_BLOCKS, strict=True):
            wider = expansion * width
            self.local_grouper_list.append(GeometricAffine(width))
            self.pre_blocks_list.append(PreExtraction(width, wider, num_blocks))
            self.pos_blocks_list.append(PosExtraction(wider, num_blocks))
            width = wider
        self.classifier = nn.Sequential(
            nn.Linear(width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(512, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(256, num_classes),
        )  # fmt: skip

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        points_BND = gather_points(points_BND, fixed_order(points_BND))
        xyz_BN3, features_BNF = points_BND[..., :3], self.embedding(points_BND)
        stages = zip(
            self.local_grouper_list, self.pre_blocks_list, self.pos_blocks_list, strict=True
        )
        for group, extract, refine in stages:
            xyz_BN3, groups_BMKF = group(xyz_BN3, features_BNF)
            features_BNF = refine(extract(groups_BMKF))
        logits_BC: Tensor = self.classifier(features_BNF.amax(dim=1))
        return logits_BC


def _deviation(offset_BMKF: Tensor) -> Tensor:
    """Standard deviation of all offsets of each cloud, (B, 1, 1, 1), float32.

    First of each centre, then of all: onnxruntime adds up one row after another, and half a million
    numbers in float32 lose the fourth digit.
    """
    rows_BMR = offset_BMKF.flatten(2).float()
    centred_BMR = rows_BMR - rows_BMR.mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)
    squares_B = centred_BMR.square().sum(dim=2).sum(dim=1)
    variance_B = squares_B / max(1, rows_BMR.shape[1] * rows_BMR.shape[2] - 1)
    # The root of 0 has no gradient; that of a cloud with all points equal is asked for.
    return (variance_B + torch.finfo(torch.float32).tiny).sqrt().view(-1, 1, 1, 1)
