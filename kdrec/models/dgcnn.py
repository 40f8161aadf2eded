"""DGCNN: edge convolutions over neighbours in feature space, for classification.

Names and shapes of the tensors are those of the public checkpoints (WangYueFt/dgcnn,
antao97/dgcnn.pytorch), so that they load by name. Those hold some batch norms twice, as `bn1` and
as `conv1.1`; here they stand once.

Shape letters: B batch, N points, K neighbours, D channels, F features, C classes.

References:
    Wang et al., Dynamic Graph CNN for Learning on Point Clouds, 2019.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.models.inputs import check_counts, check_points, check_sizes
from kdrec.models.neighbours import fixed_order, gather_points, nearest
from kdrec.models.pointwise import PointwiseConv1d, PointwiseConv2d, RowNorm
from kdrec.models.registry import register_model

_SLOPE = 0.2
_EDGE_WIDTHS = (64, 64, 128, 256)
_EMBEDDED = 1024


def nearest_features(features_BNF: Tensor, count: int) -> Tensor:
    """Numbers (B, N, K) of the points nearest in feature space, itself among them.

    By way of scalar products, since features are too many for the differences of all pairs; and in
    float64, since in float32 the products of features far from zero hide how far apart those are:
    another library, device or batch would choose other neighbours.
    """
    with torch.no_grad(), torch.autocast(features_BNF.device.type, enabled=False):
        exact_BNF = features_BNF.detach().double()
        square_BN = exact_BNF.square().sum(dim=-1)
        # The square of a row's own point is the same for all candidates: left out.
        closeness_BNN = exact_BNF @ exact_BNF.transpose(1, 2)
        closeness_BNN.mul_(2).sub_(square_BN.unsqueeze(1))
        return closeness_BNN.topk(min(count, exact_BNF.shape[1]), dim=-1).indices


def edge_features(features_BNF: Tensor, index_BNK: Tensor) -> Tensor:
    """What leads from each point to its neighbours: `[x_j - x_i ; x_i]`, (B, N, K, 2F)."""
    near_BNKF = gather_points(features_BNF, index_BNK)
    own_BNKF = features_BNF.unsqueeze(2).expand_as(near_BNKF)
    return torch.cat([near_BNKF - own_BNKF, own_BNKF], dim=-1)


@register_model("dgcnn", description="DGCNN with 20 neighbours", head="linear3.weight")
class DGCNN(nn.Module):
    """Classifies a cloud: four edge convolutions, maximum and mean, three linear layers.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point.
        num_neighbours: K; 20 for 1,024 points, as published.
        dropout: After each hidden linear layer, in training.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        num_channels: int = 3,
        *,
        num_neighbours: int = 20,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout)
        check_counts(num_neighbours=num_neighbours)
        self.num_channels = num_channels
        self.num_neighbours = num_neighbours
        inputs = (num_channels, *_EDGE_WIDTHS[:-1])
        for number, (before, after) in enumerate(zip(inputs, _EDGE_WIDTHS, strict=True), start=1):
            convolution = PointwiseConv2d(2 * before, after, bias=False)
            self.add_module(f"conv{number}", nn.Sequential(convolution, RowNorm(after)))
        embedding = PointwiseConv1d(sum(_EDGE_WIDTHS), _EMBEDDED, bias=False)
        self.conv5 = nn.Sequential(embedding, RowNorm(_EMBEDDED))
        self.linear1 = nn.Linear(2 * _EMBEDDED, 512, bias=False)
        self.bn6 = nn.BatchNorm1d(512)
        self.dp1 = nn.Dropout(dropout)
        self.linear2 = nn.Linear(512, 256)
        self.bn7 = nn.BatchNorm1d(256)
        self.dp2 = nn.Dropout(dropout)
        self.linear3 = nn.Linear(256, num_classes)
        self.register_load_state_dict_pre_hook(_drop_second_names)  # type: ignore[no-untyped-call]

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        points_BND = gather_points(points_BND, fixed_order(points_BND))
        features_BNF, levels = points_BND, []
        index_BNK = nearest(points_BND, points_BND, self.num_neighbours).index_BMK
        for number in range(1, len(_EDGE_WIDTHS) + 1):
            if number > 1:
                index_BNK = nearest_features(features_BNF, self.num_neighbours)
            edges_BNKF = self.get_submodule(f"conv{number}")(edge_features(features_BNF, index_BNK))
            features_BNF = functional.leaky_relu(edges_BNKF, _SLOPE).amax(dim=2)
            levels.append(features_BNF)
        embedded_BNF = functional.leaky_relu(self.conv5(torch.cat(levels, dim=-1)), _SLOPE)
        pooled_BF = torch.cat([embedded_BNF.amax(dim=1), embedded_BNF.mean(dim=1)], dim=-1)
        hidden_BF = functional.leaky_relu(self.bn6(self.linear1(pooled_BF)), _SLOPE)
        hidden_BF = functional.leaky_relu(self.bn7(self.linear2(self.dp1(hidden_BF))), _SLOPE)
        logits_BC: Tensor = self.linear3(self.dp2(hidden_BF))
        return logits_BC


def _drop_second_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Leave out the batch norms of a public checkpoint that stand in it under a second name."""
    for number in range(1, 6):
        for name in list(state):
            field = name.removeprefix(f"{prefix}bn{number}.")
            if field != name and f"{prefix}conv{number}.1.{field}" in state:
                del state[name]
