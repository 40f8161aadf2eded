"""Networks as torch compiles them: fewer and larger kernels, on a GPU replayed as CUDA graphs.

A graph is for one shape. A recording has one, as every batch is padded to the plan's.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def compile_network(module: nn.Module, device: torch.device) -> Callable[[Tensor], Any]:
    """The network, compiled when it is first called; for calls without gradients.

    A network that cannot be compiled whole is compiled in parts, by torch's own judgement.

    Args:
        module: In evaluation, on its device.
        device: Where it runs.
    """
    if device.type != "cuda":
        return torch.compile(module, dynamic=False)
    graphs = torch.compile(module, dynamic=False, mode="reduce-overhead")

    def call(points: Tensor) -> Any:
        # The answer before this one was copied.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return graphs(points)

    return call
