"""PointViG: a light graph network for point clouds, for classification.

What the paper leaves open (stem, stages, widths, neighbours, head) is our own choice, made so that
the published number of parameters is met; docs/models.md lists it.

Shape letters: B batch, N points, M points of the next stage, K neighbours, D channels, F features,
C classes.

References:
    Zheng et al., PointViG: A Lightweight GNN-based Model for Efficient Point Cloud Analysis, 2024.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from kdrec.errors import InvalidInputError
from kdrec.models.dilation import GraphSettings, NeighbourChoice
from kdrec.models.graph_conv import GraphConvBlock
from kdrec.models.inputs import check_points, check_sizes
from kdrec.models.local_aggregation import LocalAggregation
from kdrec.models.neighbours import fixed_order, gather_points, nearest
from kdrec.models.pointwise import PointLayer
from kdrec.models.registry import register_model
from kdrec.models.sampling import farthest_points

_NUM_BLOCKS = (1, 1, 2, 1)
# In small networks width pays before depth does: 16 features of a point are too few to tell shapes
# apart, whatever follows.
_FEWER_BLOCKS = (1, 1, 1, 1)


class StageOutput(NamedTuple):
    """What a stage knows of its points.

    Attributes:
        xyz_BN3: Where they are.
        features_BNF: What they are.
    """

    xyz_BN3: Tensor
    features_BNF: Tensor


class GraphStage(nn.Module):
    """Blocks on the points of one resolution, which all look at the same candidates."""

    def __init__(self, width: int, num_blocks: int, settings: GraphSettings, first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            GraphConvBlock(width, settings, number=first + place) for place in range(num_blocks)
        )

    def forward(self, features_BNF: Tensor, candidates_BNK: Tensor) -> Tensor:
        """Features (B, N, F) to the same shape."""
        for block in self.blocks:
            features_BNF = block(features_BNF, candidates_BNK)
        return features_BNF


class GraphEncoder(nn.Module):
    """Stem, then stages on half of the points each, with a transition down between them.

    Args:
        num_channels: Numbers of one point, coordinates first.
        widths: Features of a point in each stage.
        num_blocks: Of each stage.
        settings: Of the blocks.

    Raises:
        InvalidInputError: Widths and blocks are not of the same number of stages.
    """

    def __init__(
        self,
        num_channels: int,
        widths: Sequence[int],
        num_blocks: Sequence[int],
        settings: GraphSettings,
    ) -> None:
        super().__init__()
        if len(widths) != len(num_blocks) or not widths or min(*widths, *num_blocks) < 1:
            raise InvalidInputError(
                "widths and num_blocks must name one number from 1 on for each stage, got "
                f"{tuple(widths)} and {tuple(num_blocks)}"
            )
        self.settings = settings
        self.stem = LocalAggregation(num_channels, widths[0])
        self.embed = PointLayer(widths[0], widths[0])
        self.stages = nn.ModuleList(
            GraphStage(width, count, settings, sum(num_blocks[:place]))
            for place, (width, count) in enumerate(zip(widths, num_blocks, strict=True))
        )
        self.transitions = nn.ModuleList(
            LocalAggregation(before, after) for before, after in pairwise(widths)
        )

    def forward(self, points_BND: Tensor) -> list[StageOutput]:
        """Points (B, N, D) to what each stage knows."""
        xyz_BN3 = points_BND[..., :3]
        candidates_BNK = self._candidates(xyz_BN3)
        neighbours_BNK = self._nearest(candidates_BNK)
        features_BNF = self.embed(self.stem(points_BND, xyz_BN3, neighbours_BNK, xyz_BN3))
        features_BNF = self.stages[0](features_BNF, candidates_BNK)
        outputs = [StageOutput(xyz_BN3, features_BNF)]
        for number in range(1, len(self.stages)):
            sampled_BM = self._sample(xyz_BN3, number)
            neighbours_BMK = _take(self._nearest(candidates_BNK), sampled_BM)
            centres_BM3 = _take(xyz_BN3, sampled_BM)
            features_BNF = self.transitions[number - 1](
                features_BNF, xyz_BN3, neighbours_BMK, centres_BM3
            )
            xyz_BN3 = centres_BM3
            candidates_BNK = self._candidates(xyz_BN3)
            features_BNF = self.stages[number](features_BNF, candidates_BNK)
            outputs.append(StageOutput(xyz_BN3, features_BNF))
        return outputs

    def _candidates(self, xyz_BN3: Tensor) -> Tensor:
        return nearest(xyz_BN3, xyz_BN3, self.settings.num_candidates).index_BMK

    def _nearest(self, candidates_BNK: Tensor) -> Tensor:
        return candidates_BNK[..., : self.settings.num_neighbours]

    def _sample(self, xyz_BN3: Tensor, number: int) -> Tensor | int:
        """Numbers of the next stage's points, or how many of the first ones they are.

        From the second stage on points lie in the order in which they were sampled, and the
        farthest half of them, from the same first point, is the first half.
        """
        half = max(1, xyz_BN3.shape[1] // 2)
        return farthest_points(xyz_BN3, half) if number == 1 else half


def _take(values_BNF: Tensor, sampled: Tensor | int) -> Tensor:
    if isinstance(sampled, int):
        return values_BNF[:, :sampled]
    return gather_points(values_BNF, sampled)


@register_model(
    "pointvig-s",
    description="PointViG with the published number of parameters, 1.5 M",
    head="head.3.weight",
)
class PointViG(nn.Module):
    """Classifies a cloud: graph encoder, maximum over its last points, three linear layers.

    Args:
        num_classes: Logits that it gives.
        num_channels: Numbers of one point, coordinates first.
        widths: Features of a point in each stage.
        num_blocks: Of each stage.
        head_widths: Of the two hidden layers after the maximum.
        dropout: Before the last layer, in training.
        neighbours: How a block chooses them; see `GraphSettings`.
        num_neighbours: k.
        dilation: d, for choices other than `nearest`.
        use_fc: Whether blocks have linear layers before and after the aggregation.
        use_ffn: Whether blocks have a feed-forward network.

    Raises:
        InvalidInputError: A number is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        num_channels: int = 3,
        *,
        widths: Sequence[int] = (32, 64, 128, 256),
        num_blocks: Sequence[int] = _NUM_BLOCKS,
        head_widths: tuple[int, int] = (512, 256),
        dropout: float = 0.0,
        neighbours: NeighbourChoice = "nearest",
        num_neighbours: int = 16,
        dilation: int = 2,
        use_fc: bool = True,
        use_ffn: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(num_classes, num_channels, dropout, least_channels=3)
        settings = GraphSettings(
            num_neighbours=num_neighbours,
            choice=neighbours,
            dilation=dilation,
            use_fc=use_fc,
            use_ffn=use_ffn,
        )
        first, second = head_widths
        self.num_channels = num_channels
        self.encoder = GraphEncoder(num_channels, widths, num_blocks, settings)
        self.head = nn.Sequential(
            PointLayer(widths[-1], first),
            PointLayer(first, second),
            nn.Dropout(dropout),
            nn.Linear(second, num_classes),
        )

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, C).

        Raises:
            InvalidInputError: The points have another shape.
        """
        check_points(points_BND, self.num_channels)
        points_BND = gather_points(points_BND, fixed_order(points_BND))
        features_BMF = self.encoder(points_BND)[-1].features_BNF
        logits_BC: Tensor = self.head(features_BMF.amax(dim=1))
        return logits_BC


@register_model(
    "pointvig-xs", description="PointViG of a third of the size, for students", head="head.3.weight"
)
def pointvig_xs(num_classes: int, num_channels: int = 3, *, dropout: float = 0.0) -> PointViG:
    """The 0.5 M PointViG."""
    return PointViG(
        num_classes,
        num_channels,
        widths=(32, 64, 96, 144),
        num_blocks=_FEWER_BLOCKS,
        head_widths=(256, 128),
        dropout=dropout,
    )


@register_model(
    "pointvig-xxs",
    description="PointViG of a seventh of the size, for students",
    head="head.3.weight",
)
def pointvig_xxs(num_classes: int, num_channels: int = 3, *, dropout: float = 0.0) -> PointViG:
    """The 0.2 M PointViG."""
    return PointViG(
        num_classes,
        num_channels,
        widths=(32, 48, 64, 80),
        num_blocks=_FEWER_BLOCKS,
        head_widths=(160, 80),
        dropout=dropout,
    )
