"""PointNet without transformation networks.

Shape letters: B batch, N points, D channels of a point, F features, R rows (points of all clouds
of a pass), C classes.

References:
    Qi et al., PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation, 2017.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.models.inputs import check_points, check_sizes
from kdrec.models.pointwise import PointwiseConv1d
from kdrec.models.registry import register_model

_POINT_WIDTHS = (64, 64, 64, 128, 1024)
_HEAD_WIDTHS = (512, 256)
_CACHED_FEATURES = 2**20


class PointFeatures(nn.Module):
    """The same layers for every point, then the maximum over the points of a cloud."""

    def __init__(self, num_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        for layer, (before, width) in enumerate(
            zip((num_channels, *widths), widths, strict=False), start=1
        ):
            self.add_module(f"conv{layer}", PointwiseConv1d(before, width))
            self.add_module(f"bn{layer}", nn.BatchNorm1d(width))

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to one vector a cloud (B, F)."""
        num_clouds, step = points_BND.shape[0], self._clouds_per_pass(points_BND)
        if step is None or step >= num_clouds:
            return self._features(points_BND)
        starts = range(0, num_clouds, step)
        return torch.cat([self._features(points_BND[start : start + step]) for start in starts])

    def _features(self, clouds_BND: Tensor) -> Tensor:
        rows_RF = clouds_BND.reshape(-1, clouds_BND.shape[-1])
        for layer in range(1, len(self.widths)):
            rows_RF = functional.relu_(self._layer(layer, rows_RF))
        rows_RF = self._layer(len(self.widths), rows_RF)
        points_BNF = rows_RF.reshape(*clouds_BND.shape[:2], -1)
        # The maximum before the ReLU: the same result, and one pass less over the widest features.
        return functional.relu(points_BNF.max(dim=1).values)

    def _layer(self, layer: int, rows_RF: Tensor) -> Tensor:
        convolved: Tensor = getattr(self, f"conv{layer}")(rows_RF)
        normed: Tensor = getattr(self, f"bn{layer}")(convolved)
        return normed

    def _clouds_per_pass(self, points_BND: Tensor) -> int | None:
        # In evaluation clouds are independent, and a CPU is three times faster while the widest
        # features stay in its cache. Training needs the statistics of the whole batch, a compiler
        # a batch of any size.
        if self.training or points_BND.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        return max(1, _CACHED_FEATURES // (points_BND.shape[1] * max(self.widths)))


@register_model(
    "pointnet",
    description="PointNet without transformation networks; 0.82 M parameters at 40 classes",
    head="linear3.weight",
)
class PointNet(nn.Module):
    """Classifies a cloud: pointwise layers, maximum over points, three linear layers.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point: 3 for coordinates alone.
        point_widths: Of the layers before the maximum.
        head_widths: Of the two hidden layers after it.
        dropout: Before the last layer, in training.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        num_channels: int = 3,
        *,
        point_widths: Sequence[int] = _POINT_WIDTHS,
        head_widths: tuple[int, int] = _HEAD_WIDTHS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout)
        first, second = head_widths
        self.num_channels = num_channels
        self.feature_model = PointFeatures(num_channels, point_widths)
        self.linear1 = nn.Linear(point_widths[-1], first)
        self.bn1 = nn.BatchNorm1d(first)
        self.linear2 = nn.Linear(first, second)
        self.bn2 = nn.BatchNorm1d(second)
        self.dropout = nn.Dropout(dropout)
        self.linear3 = nn.Linear(second, num_classes)

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        hidden_BF = self.feature_model(points_BND)
        hidden_BF = functional.relu(self.bn1(self.linear1(hidden_BF)))
        hidden_BF = functional.relu(self.bn2(self.linear2(hidden_BF)))
        logits_BC: Tensor = self.linear3(self.dropout(hidden_BF))
        return logits_BC


@register_model(
    "pointnet-s",
    description="a PointNet of a thirteenth of the size, for students; 65 k parameters",
    head="linear3.weight",
)
def pointnet_s(num_classes: int, num_channels: int = 3, *, dropout: float = 0.0) -> PointNet:
    """The small PointNet, for students."""
    return PointNet(
        num_classes,
        num_channels,
        point_widths=(32, 32, 64, 128, 192),
        head_widths=(96, 64),
        dropout=dropout,
    )
