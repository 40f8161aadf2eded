"""Noise on the student's points; the teacher's view, and what it said of it, stay as recorded.

Shape letters: B batch, N points, D channels.
"""

import torch
from torch import Tensor

from kdrec.student.settings import PointSettings

_NUM_COORDINATES = 3


def disturb(points_BND: Tensor, settings: PointSettings, generator: torch.Generator) -> Tensor:
    """Jitter the coordinates and drop some of the points.

    Drawn on the CPU, so that any device trains on the same points. A dropped point becomes the
    cloud's first one, as PointNet++ does it, so that the number of points stays.

    Args:
        points_BND: As the teacher saw them.
        settings: How much.
        generator: On the CPU.

    Returns:
        New points, or the same ones where there is no noise.
    """
    if settings.jitter:
        points_BND = _jitter(points_BND, settings, generator)
    if settings.point_dropout:
        points_BND = _drop(points_BND, settings.point_dropout, generator)
    return points_BND


def _jitter(points_BND: Tensor, settings: PointSettings, generator: torch.Generator) -> Tensor:
    shape = (*points_BND.shape[:2], _NUM_COORDINATES)
    noise_BN3 = settings.jitter * torch.randn(shape, generator=generator)
    noise_BN3 = noise_BN3.clamp(-settings.jitter_clip, settings.jitter_clip)
    moved_BN3 = points_BND[..., :_NUM_COORDINATES] + noise_BN3.to(points_BND.device)
    return torch.cat([moved_BN3, points_BND[..., _NUM_COORDINATES:]], dim=-1)


def _drop(points_BND: Tensor, most: float, generator: torch.Generator) -> Tensor:
    num_clouds, num_points, _ = points_BND.shape
    share_B1 = most * torch.rand((num_clouds, 1), generator=generator)
    dropped_BN = torch.rand((num_clouds, num_points), generator=generator) < share_B1
    dropped_BN1 = dropped_BN[..., None].to(points_BND.device)
    return points_BND[:, :1].where(dropped_BN1, points_BND)
