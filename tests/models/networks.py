"""Networks and clouds for the tests of networks."""

import torch
from torch import Tensor, nn


def clouds(
    num_clouds: int = 4, num_points: int = 64, *, channels: int = 3, seed: int = 0
) -> Tensor:
    """Random clouds in the unit sphere, with further channels between -1 and 1."""
    generator = torch.Generator().manual_seed(seed)
    points_BND = torch.rand(num_clouds, num_points, channels, generator=generator) * 2 - 1
    points_BND[..., :3] /= points_BND[..., :3].norm(dim=-1).amax(dim=1)[:, None, None]
    return points_BND


def settled(network: nn.Module, points_BND: Tensor) -> nn.Module:
    """The network in evaluation, with batch norm statistics that are not those of a new one."""
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.weight.uniform_(-1.0, 1.0)  # negative ones too: they turn maximum and minimum
        network.train()(points_BND)
    return network.eval()
