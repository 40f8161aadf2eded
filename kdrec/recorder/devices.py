"""Where a network runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kdrec.errors import ErrorKind, InvalidInputError

_NO_MEMORY = ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
_CUBLAS_WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def check_device(name: str) -> None:
    """Refuse a device that is not there.

    Args:
        name: `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidInputError: It has another form, or there is no such GPU.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidInputError(f"device must be cpu, cuda or cuda:N, got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidInputError(f"device must be cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cpu":
        return
    count = count_gpus()
    if count == 0:
        raise InvalidInputError(
            f"device {name!r} needs a CUDA GPU and a PyTorch built for it (this is "
            f"{torch.__version__}), and none is to be seen; use --device cpu"
        )
    if device.index is not None and device.index >= count:
        raise InvalidInputError(f"device {name!r} does not exist; there are cuda:0..{count - 1}")


def count_gpus() -> int:
    """GPUs that this process sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def prepare_device(device: torch.device) -> None:
    """Make what a GPU computes repeatable; call it before the first work there."""
    if device.type == "cuda":
        # cuBLAS adds in no fixed order unless it is told so here; it knows no other way.
        for name, value in _CUBLAS_WORKSPACE.items():
            os.environ.setdefault(name, value)


def is_out_of_memory(error: Exception) -> bool:
    """Whether work failed for want of memory: CPU, GPU and its libraries each say it their way."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


@contextmanager
def memory_named(device: torch.device, batch_size: int) -> Iterator[None]:
    """Turn a want of memory into an error that says of what.

    Raises:
        InvalidInputError: There is none for a batch of this size.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InvalidInputError(
            f"device {device} has not the memory for a batch of {batch_size}; use a smaller batch "
            "size, or --batch-size auto",
            kind=ErrorKind.OUT_OF_MEMORY,
        ) from error
