"""Where a network runs."""

import torch

from kdrec.errors import InvalidInputError


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


def is_out_of_memory(error: Exception) -> bool:
    """Whether a network failed for want of memory, which PyTorch says in another way on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
