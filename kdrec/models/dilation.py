"""Which of a point's candidates are its neighbours: adaptive dilated graph convolution.

The d * k points nearest in space are the candidates of a point. The adaptive choice keeps the k of
them that mean the most like it: a wide field at the cost of a small one. The other choices are
controls.

Shape letters: B batch, N points, C candidates, K neighbours, F features, E features of a score.

References:
    Zheng et al., PointViG: A Lightweight GNN-based Model for Efficient Point Cloud Analysis, 2024.
    Its scores and their use are not public; those here are our own choice, see docs/models.md.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec import rng
from kdrec.errors import InvalidInputError
from kdrec.models.inputs import check_counts
from kdrec.models.neighbours import gather_points

NeighbourChoice = Literal["nearest", "dilated", "random", "all", "adaptive"]
NEIGHBOUR_CHOICES: tuple[NeighbourChoice, ...] = get_args(NeighbourChoice)

_RANK_STREAM = 0x4D00
_SCORE_SHARE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """How the blocks of a network look for neighbours, and what they are made of.

    Attributes:
        num_neighbours: k.
        choice: `nearest` the k nearest; of the d * k nearest: `adaptive` those most similar,
            `dilated` every d-th, `random` a random k, `all` all of them.
        dilation: d; without meaning for `nearest`.
        weighted: Whether neighbours of an adaptive choice are weighted by a softmax of their
            scores, so that what the scores are made of learns; without it there is nothing to
            learn, and features are compared as they are.
        ffn_ratio: Of the feed-forward network.
        use_fc: Whether linear layers stand before and after the aggregation.
        use_ffn: Whether a feed-forward network follows.
        seed: Of the random choice.

    Raises:
        InvalidInputError: A value is out of range.
    """

    num_neighbours: int = 16
    choice: NeighbourChoice = "nearest"
    dilation: int = 2
    weighted: bool = True
    ffn_ratio: int = 2
    use_fc: bool = True
    use_ffn: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.choice not in NEIGHBOUR_CHOICES:
            raise InvalidInputError(
                f"neighbours are chosen {', '.join(NEIGHBOUR_CHOICES)}, got {self.choice!r}"
            )
        check_counts(
            num_neighbours=self.num_neighbours, dilation=self.dilation, ffn_ratio=self.ffn_ratio
        )
        for name in ("weighted", "use_fc", "use_ffn"):
            if not isinstance(getattr(self, name), bool):  # the text "no" would mean yes
                raise InvalidInputError(
                    f"{name} must be true or false, got {getattr(self, name)!r}"
                )

    @property
    def num_candidates(self) -> int:
        """How many nearest points a block has to be given."""
        return self.num_neighbours * (1 if self.choice == "nearest" else self.dilation)


class NeighbourSelection(nn.Module):
    """Chooses the neighbours of each point among its candidates.

    Args:
        width: Features of a point.
        settings: Which choice.
        number: Of the block: random choices differ between blocks.
    """

    def __init__(self, width: int, settings: GraphSettings, *, number: int = 0) -> None:
        super().__init__()
        self.ranks = _ranks(settings, number)
        self.scores = SemanticCorrelation(width, settings) if self.ranks is None else None

    def forward(self, features_BNF: Tensor, candidates_BNC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Neighbours (B, N, K), and their weights where the choice has some."""
        if self.scores is not None:
            chosen: tuple[Tensor, Tensor | None] = self.scores(features_BNF, candidates_BNC)
            return chosen
        assert self.ranks is not None
        count = candidates_BNC.shape[-1]
        ranks = [rank for rank in self.ranks if rank < count]  # a cloud may have fewer points
        if ranks == list(range(len(ranks))):
            return candidates_BNC[..., : max(1, len(ranks))], None
        return candidates_BNC[..., ranks or [0]], None


class SemanticCorrelation(nn.Module):
    """Keeps the k candidates whose features have the greatest cosine with the point's own.

    Args:
        width: Features of a point.
        settings: k, and whether the neighbours are weighted.
    """

    def __init__(self, width: int, settings: GraphSettings) -> None:
        super().__init__()
        self.num_neighbours = settings.num_neighbours
        size = max(4, width // _SCORE_SHARE)
        self.project = nn.Linear(width, size, bias=False) if settings.weighted else None

    def forward(self, features_BNF: Tensor, candidates_BNC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Neighbours (B, N, K) and their weights, of mean 1."""
        compared = features_BNF if self.project is None else self.project(features_BNF)
        direction_BNE = functional.normalize(compared.float(), dim=-1)
        near_BNCE = gather_points(direction_BNE, candidates_BNC)
        cosine_BNC = (near_BNCE * direction_BNE.unsqueeze(2)).sum(dim=-1)
        count = min(self.num_neighbours, candidates_BNC.shape[-1])
        cosine_BNK, rank_BNK = cosine_BNC.topk(count, dim=-1)
        index_BNK = candidates_BNC.gather(-1, rank_BNK)
        if self.project is None:
            return index_BNK, None
        weight_BNK = count * torch.softmax(cosine_BNK, dim=-1)
        return index_BNK, weight_BNK.to(features_BNF.dtype)


def _ranks(settings: GraphSettings, number: int) -> tuple[int, ...] | None:
    """Places among the candidates, nearest first; None where features decide."""
    if settings.choice == "adaptive":
        return None
    if settings.choice == "dilated":
        return tuple(range(0, settings.num_candidates, settings.dilation))
    if settings.choice == "random":
        words = rng.words(
            settings.seed,
            view=number,
            stream=_RANK_STREAM,
            samples_B=[0],
            num_words=settings.num_candidates,
        )
        return tuple(np.sort(rng.permutation(words)[0, : settings.num_neighbours]).tolist())
    return tuple(range(settings.num_candidates))
