"""What a network costs: arithmetic, and time on a device.

Shape letters: B batch, N points, D channels.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdrec.errors import InvalidInputError
from kdrec.models.registry import count_parameters

_LEAST_SECONDS = 0.3
_MOST_RUNS = 5


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Of a network in evaluation.

    Attributes:
        parameters: Of all its tensors.
        flops: Of one cloud: two for each multiplication with addition in matrix products and
            convolutions, as torch counts them. Sampling, neighbour search and other steps without
            products are not in it.
        seconds_per_1000: Clouds through the network, everything counted; the median of some runs.
    """

    parameters: int
    flops: int
    seconds_per_1000: float


@torch.inference_mode()
def measure_cost(
    network: nn.Module,
    *,
    num_points: int = 1024,
    num_channels: int = 3,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> NetworkCost:
    """Run a network over random clouds and count.

    Args:
        network: Takes points (B, N, D). It is left on the device, in evaluation.
        num_points: N.
        num_channels: D.
        batch_size: B.
        device: Where to run.
        clock: Gives seconds.

    Raises:
        InvalidInputError: A number is below 1.
    """
    if min(num_points, num_channels, batch_size) < 1:
        raise InvalidInputError(
            f"points, channels and batch size must be at least 1, got {num_points}, "
            f"{num_channels} and {batch_size}"
        )
    network.eval().to(device)
    generator = torch.Generator().manual_seed(0)
    points_BND = torch.rand(batch_size, num_points, num_channels, generator=generator) - 0.5
    points_BND = points_BND.to(device)
    counter = FlopCounterMode(display=False)
    with counter:
        network(points_BND)  # warms up, too
    seconds = _time_runs(network, points_BND, clock)
    return NetworkCost(
        parameters=count_parameters(network),
        flops=counter.get_total_flops() // batch_size,
        seconds_per_1000=1000 * statistics.median(seconds) / batch_size,
    )


def _time_runs(network: nn.Module, points_BND: Tensor, clock: Callable[[], float]) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < _MOST_RUNS and sum(seconds) < _LEAST_SECONDS:
        started = clock()
        network(points_BND)
        if points_BND.is_cuda:
            torch.cuda.synchronize(points_BND.device)
        seconds.append(clock() - started)
    return seconds
