"""What a neighbourhood holds and how it lies around its centre: PointViG's stem and transitions.

Shape letters: B batch, N points, M centres, K neighbours, F features.

References:
    Qi et al., PointNet++, 2017 (a layer for every neighbour, then the maximum).
    Qian et al., PointNeXt, 2022 (places relative to the centre, divided by the radius).
"""

import torch
from torch import Tensor, nn

from kdrec.models.neighbours import gather_points
from kdrec.models.pointwise import RowNorm


class LocalAggregation(nn.Module):
    """`max_j W [x_j ; (p_j - p_i) / r_i]`, batch norm, ReLU, with r the distance of the farthest.

    Undivided places hardly count beside features: a neighbourhood is a tenth of a cloud wide, and
    the norm is of their sum.

    Args:
        num_inputs: Features of a point.
        num_outputs: Features of a centre.
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.of_features = nn.Linear(num_inputs, num_outputs, bias=False)  # the norm has one
        self.of_places = nn.Linear(3, num_outputs, bias=False)
        self.norm = RowNorm(num_outputs)

    def forward(
        self, features_BNF: Tensor, xyz_BN3: Tensor, index_BMK: Tensor, centres_BM3: Tensor
    ) -> Tensor:
        """What lies around each centre.

        Args:
            features_BNF: Of all points.
            xyz_BN3: Where they are.
            index_BMK: Neighbours of each centre.
            centres_BM3: Where the centres are.

        Returns:
            Shape (B, M, outputs).
        """
        offset_BMK3 = gather_points(xyz_BN3, index_BMK) - centres_BM3.unsqueeze(2)
        radius_BM = offset_BMK3.norm(dim=-1).amax(dim=-1)
        # Copies of one point are all at the centre, and stay there.
        radius_BM = radius_BM.clamp(min=torch.finfo(radius_BM.dtype).tiny)
        places_BMKF = self.of_places(offset_BMK3 / radius_BM[..., None, None])
        near_BMKF = gather_points(self.of_features(features_BNF), index_BMK)
        aggregated_BMF: Tensor = self.norm((near_BMKF + places_BMKF).amax(dim=2))
        return torch.relu(aggregated_BMF)
