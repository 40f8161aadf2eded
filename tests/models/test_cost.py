"""What networks cost."""

from itertools import count

import pytest
import torch
from torch import nn

from kdrec.errors import InvalidInputError
from kdrec.models import build_model, measure_cost


class _TwoProducts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 7)
        self.second = nn.Linear(7, 2)

    def forward(self, points_BND: torch.Tensor) -> torch.Tensor:
        assert not self.training
        logits_BC: torch.Tensor = self.second(self.first(points_BND).amax(dim=1))
        return logits_BC


def test_products_are_counted_for_one_cloud_and_time_for_a_thousand() -> None:
    ticks = count()
    cost = measure_cost(
        _TwoProducts(), num_points=10, batch_size=4, clock=lambda: 0.5 * next(ticks)
    )
    assert cost.parameters == 3 * 7 + 7 + 7 * 2 + 2
    assert cost.flops == 2 * (10 * 3 * 7 + 7 * 2)
    assert cost.seconds_per_1000 == 1000 * 0.5 / 4


def test_the_flops_of_pointnet_are_those_of_its_layers() -> None:
    layers = [(3, 64), (64, 64), (64, 64), (64, 128), (128, 1024)]
    pointwise = 1024 * sum(before * after for before, after in layers)
    head = 1024 * 512 + 512 * 256 + 256 * 40
    cost = measure_cost(build_model("pointnet", num_classes=40), batch_size=1)
    assert cost.flops == 2 * (pointwise + head)


def test_no_clouds_cannot_be_timed() -> None:
    with pytest.raises(InvalidInputError, match="must be at least 1, got 0, 3 and 8"):
        measure_cost(_TwoProducts(), num_points=0)
