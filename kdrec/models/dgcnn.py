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


class EdgeConvolution(nn.Module):
    """Convolution, norm and activation of `[x_j - x_i ; x_i]`, the maximum over the neighbours j.

    Edges of a point differ in x_j alone, so the convolution is two matrix products of points, not
    of edges, of which there are K times as many. In evaluation the norm is a part of them.

    Args:
        num_inputs: F, features of a point before.
        num_outputs: G, features of a point after.
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        # Names of the public checkpoints: conv1.0.weight, conv1.1.running_mean.
        self.add_module("0", PointwiseConv2d(2 * num_inputs, num_outputs, bias=False))
        self.add_module("1", RowNorm(num_outputs))

    def forward(self, features_BNF: Tensor, index_BNK: Tensor) -> Tensor:
        """Features (B, N, F) and numbers of neighbours to features (B, N, G), of the same dtype."""
        convolution, norm = self.children()
        assert isinstance(convolution, PointwiseConv2d)
        assert isinstance(norm, RowNorm)
        weight_GF = convolution.weight[:, :, 0, 0].to(features_BNF.dtype)
        near_GF, own_GF = weight_GF.chunk(2, dim=1)
        own_GF = own_GF - near_GF
        if norm.training:
            near_BNG = functional.linear(features_BNF, near_GF)
            own_BNG = functional.linear(features_BNF, own_GF)
            edges_BNKG = norm(gather_points(near_BNG, index_BNK) + own_BNG.unsqueeze(2))
            return functional.leaky_relu(edges_BNKG, _SLOPE).amax(dim=2)
        scale_G, shift_G = norm.scale_and_shift(features_BNF.dtype)
        near_BNG = functional.linear(features_BNF, near_GF * scale_G.unsqueeze(1))
        own_BNG = functional.linear(features_BNF, own_GF * scale_G.unsqueeze(1), shift_G)
        normed_BNG = gather_points(near_BNG, index_BNK).amax(dim=2) + own_BNG
        return torch.maximum(normed_BNG, _SLOPE * normed_BNG)  # onnxruntime: no double leaky_relu


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
            self.add_module(f"conv{number}", EdgeConvolution(before, after))
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
        if self._searches_exactly(points_BND):
            features_BNF = features_BNF.double()
        index_BNK = nearest(points_BND, points_BND, self.num_neighbours).index_BMK
        for number in range(1, len(_EDGE_WIDTHS) + 1):
            if number > 1:
                index_BNK = nearest_features(features_BNF, self.num_neighbours)
            if number == len(_EDGE_WIDTHS):  # no search follows
                features_BNF = features_BNF.to(points_BND.dtype)
            features_BNF = self.get_submodule(f"conv{number}")(features_BNF, index_BNK)
            levels.append(features_BNF.to(points_BND.dtype))
        embedded_BNF = functional.leaky_relu(self.conv5(torch.cat(levels, dim=-1)), _SLOPE)
        pooled_BF = torch.cat([embedded_BNF.amax(dim=1), embedded_BNF.mean(dim=1)], dim=-1)
        hidden_BF = functional.leaky_relu(self.bn6(self.linear1(pooled_BF)), _SLOPE)
        hidden_BF = functional.leaky_relu(self.bn7(self.linear2(self.dp1(hidden_BF))), _SLOPE)
        logits_BC: Tensor = self.linear3(self.dp2(hidden_BF))
        return logits_BC

    def _searches_exactly(self, points_BND: Tensor) -> bool:
        """Whether features that neighbours are looked for among are computed in float64.

        In float32 the last places change with library, device and batch, and with them now and then
        which of two points is the 20th neighbour: logits of 3 in 596 real clouds differed in the
        third digit. Training is noisier by itself, and autocast asks for less.
        """
        autocast = torch.is_autocast_enabled(points_BND.device.type)
        return not self.training and not autocast and points_BND.dtype == torch.float32


def _drop_second_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Leave out the batch norms of a public checkpoint that stand in it under a second name."""
    for number in range(1, 6):
        for name in list(state):
            field = name.removeprefix(f"{prefix}bn{number}.")
            if field != name and f"{prefix}conv{number}.1.{field}" in state:
                del state[name]
