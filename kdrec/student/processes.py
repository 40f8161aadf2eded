"""Several processes that train one student together, as torchrun starts them.

Shape letters: B samples of this process, T samples of the whole batch, C classes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

_ABSENT = -1


@dataclass(frozen=True, slots=True)
class Processes:
    """Which process this is, and of how many.

    Attributes:
        rank: From 0; process 0 writes and tests.
        count: 1 where there are no others.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and tests."""
        return self.rank == 0

    def shared(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, with its gradients averaged over the processes."""
        if self.count == 1:
            return module
        places = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=places)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def from_first(self, values: Tensor) -> Tensor:
        """What process 0 has, in all of them."""
        if self.count > 1:
            distributed.broadcast(values, src=0)
        return values

    def rows(self, index_B: Tensor, logits_BC: Tensor, *, total: int) -> tuple[Tensor, Tensor]:
        """Sample numbers and logits of the whole batch, from all processes.

        Args:
            index_B: Of this process.
            logits_BC: Of this process.
            total: T.
        """
        if self.count == 1:
            return index_B, logits_BC
        longest = -(-total // self.count)
        missing = longest - len(index_B)
        index = functional.pad(index_B, (0, missing), value=_ABSENT)
        logits = functional.pad(logits_BC.detach().float(), (0, 0, 0, missing))
        all_index_T = torch.cat(self._gathered(index))
        all_logits_TC = torch.cat(self._gathered(logits))
        present_T = all_index_T != _ABSENT
        return all_index_T[present_T], all_logits_TC[present_T]

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.contiguous())
        return parts


ALONE = Processes()


@contextmanager
def joined_processes(environment: Mapping[str, str]) -> Iterator[Processes]:
    """Join the others that torchrun started, if it started this process.

    Args:
        environment: Of the process; torchrun says there how many there are and where.
    """
    count = int(environment.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    with_gpus = torch.cuda.is_available()
    if with_gpus:
        torch.cuda.set_device(int(environment["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if with_gpus else "gloo")
    try:
        yield Processes(rank=int(environment["RANK"]), count=count)
    finally:
        distributed.destroy_process_group()
