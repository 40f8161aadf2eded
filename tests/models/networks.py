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


def tied_clouds(num_points: int) -> Tensor:
    """A random cloud, one of nine points and their copies, one on a grid: many are equally far."""
    random_1N3 = clouds(1, num_points)
    copies_1N3 = random_1N3[:, :9].repeat(1, num_points // 9 + 1, 1)[:, :num_points]
    axis = torch.linspace(-0.5, 0.5, 5)
    grid_1N3 = torch.cartesian_prod(axis, axis, axis)[None, :num_points]
    return torch.cat([random_1N3, copies_1N3, grid_1N3])


def settled(network: nn.Module, points_BND: Tensor) -> nn.Module:
    """The network in evaluation, with batch norm statistics that are not those of a new one."""
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.weight.uniform_(-1.0, 1.0)  # negative ones too: they turn maximum and minimum
        network.train()(points_BND)
    return network.eval()
