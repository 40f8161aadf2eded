"""CTKD: a temperature that is learned against the student, harder from epoch to epoch."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

_LOWEST, _RANGE = 1.0, 20.0


class CurriculumTemperature(nn.Module):
    """A global temperature `1 + 20 sigmoid(theta)` whose gradient is scaled by a curriculum.

    The scale goes from 0 to -1 along half a cosine over the first epochs: the temperature first
    stays, then climbs the loss that the student descends.

    Args:
        epochs: Over which the scale falls.
        theta: To begin with.

    References:
        Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023.
    """

    def __init__(self, *, epochs: int = 10, theta: float = 1.0) -> None:
        super().__init__()
        self._epochs = epochs
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, epoch: int) -> Tensor:
        """The temperature in an epoch, counted from 0: a tensor of no dimension."""
        scale = curriculum_scale(epoch, epochs=self._epochs)
        theta: Tensor = _ScaledGradient.apply(self.theta, scale)  # type: ignore[no-untyped-call]
        return _LOWEST + _RANGE * theta.sigmoid()


def curriculum_scale(epoch: int, *, epochs: int) -> float:
    """What the temperature's gradient is multiplied by: 0 before the first epoch, -1 in the end.

    Args:
        epoch: From 0; the published code counts from 1, so this is one ahead.
        epochs: Until -1.
    """
    progress = min(epoch + 1, epochs) / epochs
    return 0.5 * (1 + math.cos(math.pi * progress)) - 1


class _ScaledGradient(Function):
    """The same value, another gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None
