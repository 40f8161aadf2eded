"""Points that lie on the teacher's GPU: those of all samples where they fit, else a block's.

Shape letters: S samples, B batch, N points, D channels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec.samples import SampleSet

_SHARE = 0.5
_SAMPLES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class ResidentPoints:
    """Points of neighbouring samples on a device.

    Attributes:
        points_SND: On the device.
        first: Place of the first of them among all samples.
    """

    points_SND: Tensor
    first: int = 0

    def take(self, places_B: Tensor) -> Tensor:
        """The points of some samples, by their places among all, on the device."""
        return self.points_SND.index_select(0, places_B - self.first)


def resident_points(
    samples: SampleSet, device: torch.device, *, span: range | None = None
) -> ResidentPoints | None:
    """Points on a GPU, where they take at most half of what is free there; None elsewhere.

    The other half is the teacher's: what it needs at most is not known before it runs.

    Args:
        samples: All of the plan.
        device: Of the teacher.
        span: Places of the samples, None for all.
    """
    span = range(len(samples)) if span is None else span
    if device.type != "cuda":
        return None
    if len(span) * samples.points_SND[0].nbytes > _SHARE * _free_bytes(device):
        return None
    return ResidentPoints(_copied(samples.points_SND[span.start : span.stop], device), span.start)


def to_device(values: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """A tensor of these values; on a GPU by way of pinned memory, without waiting for it."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _copied(points_SND: npt.NDArray[np.float32], device: torch.device) -> Tensor:
    """Piece by piece: they may lie in a file, and take more than the memory of the host."""
    there_SND = torch.empty(points_SND.shape, dtype=torch.float32, device=device)
    for start in range(0, len(points_SND), _SAMPLES_AT_ONCE):
        piece = np.array(points_SND[start : start + _SAMPLES_AT_ONCE])
        there_SND[start : start + len(piece)].copy_(to_device(piece, device), non_blocking=True)
    return there_SND


def _free_bytes(device: torch.device) -> int:
    """What the GPU has free, and what PyTorch holds there for nobody."""
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + kept)
