"""The light graph-convolution block of PointViG and its parts.

Shape letters: B batch, N points, K neighbours, F features.

References:
    Han et al., Vision GNN: An Image is Worth Graph of Nodes, 2022 (max-relative convolution, FC
    layers and feed-forward network against over-smoothing).
    Zheng et al., PointViG: A Lightweight GNN-based Model for Efficient Point Cloud Analysis, 2024.
"""

import torch
from torch import Tensor, nn

from kdrec.models.dilation import GraphSettings, NeighbourSelection
from kdrec.models.neighbours import gather_points
from kdrec.models.pointwise import PointLayer

# Of what a block adds, at first: with 1 the features of a deep stack are a sum of many random
# changes, and training goes back and forth.
_FIRST_SHARE = 0.1


class MaxRelativeConv(nn.Module):
    """Max-relative graph convolution: `W [x_i ; max_j (x_j - x_i)]`, batch norm, ReLU.

    Args:
        num_inputs: Features of a point.
        num_outputs: Features of a point afterwards.
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.layer = PointLayer(2 * num_inputs, num_outputs)

    def forward(
        self,
        features_BNF: Tensor,
        index_BNK: Tensor,
        *,
        weight_BNK: Tensor | None = None,
    ) -> Tensor:
        """What the neighbours of each point are that it is not.

        Args:
            features_BNF: Of the points.
            index_BNK: Neighbours of each.
            weight_BNK: Of the neighbours.

        Returns:
            Shape (B, N, outputs).
        """
        near_BNKF = gather_points(features_BNF, index_BNK)
        if weight_BNK is None:
            # The greatest difference is the difference of the greatest, to the last bit.
            relative_BNF = near_BNKF.amax(dim=2) - features_BNF
        else:
            offset_BNKF = near_BNKF - features_BNF.unsqueeze(2)
            relative_BNF = (offset_BNKF * weight_BNK.unsqueeze(-1)).amax(dim=2)
        aggregated_BNF: Tensor = self.layer(torch.cat([features_BNF, relative_BNF], dim=-1))
        return aggregated_BNF


class FeedForward(nn.Module):
    """Two layers for every point, with a residual connection.

    Args:
        width: Features of a point.
        ratio: How many times wider the hidden layer is.
    """

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.widen = PointLayer(width, ratio * width)
        self.narrow = PointLayer(ratio * width, width, activate=False)
        nn.init.constant_(self.narrow.norm.weight, _FIRST_SHARE)

    def forward(self, features_BNF: Tensor) -> Tensor:
        """Features (B, N, F) to the same shape."""
        change_BNF: Tensor = self.narrow(self.widen(features_BNF))
        return features_BNF + change_BNF


class GraphConvBlock(nn.Module):
    """FC, aggregation over the neighbours, FC, residual; then a feed-forward network.

    Args:
        width: Features of a point.
        settings: Neighbours, and which of the parts there are.
        number: Of the block in its network: keeps random choices of neighbours apart.
    """

    def __init__(self, width: int, settings: GraphSettings, *, number: int = 0) -> None:
        super().__init__()
        hidden = 2 * width if settings.use_fc else width
        self.selection = NeighbourSelection(width, settings, number=number)
        self.before = PointLayer(width, width, activate=False) if settings.use_fc else None
        self.conv = MaxRelativeConv(width, hidden)
        self.after = PointLayer(hidden, width, activate=False) if settings.use_fc else None
        if self.after is not None:
            nn.init.constant_(self.after.norm.weight, _FIRST_SHARE)
        self.feed_forward = FeedForward(width, settings.ffn_ratio) if settings.use_ffn else None

    def forward(self, features_BNF: Tensor, candidates_BNK: Tensor) -> Tensor:
        """Features (B, N, F) to the same shape.

        Args:
            features_BNF: Of all points.
            candidates_BNK: Nearest points of each, the nearest first; shared within a stage.
        """
        hidden_BNF = features_BNF if self.before is None else self.before(features_BNF)
        index_BNK, weight_BNK = self.selection(hidden_BNF, candidates_BNK)
        hidden_BNF = self.conv(hidden_BNF, index_BNK, weight_BNK=weight_BNK)
        if self.after is not None:
            hidden_BNF = self.after(hidden_BNF)
        features_BNF = features_BNF + hidden_BNF
        if self.feed_forward is not None:
            features_BNF = self.feed_forward(features_BNF)
        return features_BNF
