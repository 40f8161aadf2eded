"""Layers that do the same to every point: matrix products over rows.

Shape letters: B batch, N points, F features, R rows (points of all clouds of a pass).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PointwiseConv1d(nn.Conv1d):
    """A convolution of kernel 1, computed as the matrix product that it is.

    On a CPU the product over rows is twice as fast as the convolution over (B, F, N). It stays a
    `Conv1d` because checkpoints hold its weight as (out, in, 1).
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__(num_inputs, num_outputs, kernel_size=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that Conv1d gives it
        """Rows (..., in) to rows (..., out)."""
        return functional.linear(input, self.weight[:, :, 0], self.bias)


class PointwiseConv2d(nn.Conv2d):
    """The same for checkpoints that hold the weight as (out, in, 1, 1)."""

    def __init__(self, num_inputs: int, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__(num_inputs, num_outputs, kernel_size=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that Conv2d gives it
        """Rows (..., in) to rows (..., out)."""
        return functional.linear(input, self.weight[:, :, 0, 0], self.bias)


class RowNorm(nn.BatchNorm1d):
    """Batch norm of the last dimension over all others; `BatchNorm1d` wants features second."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that BatchNorm1d gives it
        """Any shape (..., F) to the same shape."""
        rows_RF: Tensor = super().forward(input.flatten(0, -2))
        return rows_RF.reshape(input.shape)

    def scale_and_shift(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What evaluation multiplies features by and then adds to them, each (F,)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale_F = self.weight.to(dtype) * (self.running_var.to(dtype) + self.eps).rsqrt()
        return scale_F, self.bias.to(dtype) - self.running_mean.to(dtype) * scale_F


class PointLayer(nn.Module):
    """Linear layer, batch norm and, unless told otherwise, ReLU.

    Args:
        num_inputs: Features before.
        num_outputs: Features after.
        activate: Whether ReLU follows.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, activate: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs, bias=False)  # the norm has one
        self.norm = RowNorm(num_outputs)
        self.activate = activate

    def forward(self, features_BNF: Tensor) -> Tensor:
        """Features (..., in) to features (..., out)."""
        normed_BNF: Tensor = self.norm(self.linear(features_BNF))
        return torch.relu(normed_BNF) if self.activate else normed_BNF
