"""Where to compute."""

import torch

from kdrec.errors import InvalidInputError


def find_device(name: str) -> torch.device:
    """The device that a setting names.

    Args:
        name: `auto`, `cpu` or `cuda`: the GPU that is current, where there is one.

    Raises:
        InvalidInputError: `cuda`, and there is no GPU.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InvalidInputError("device is 'cuda', but torch finds no GPU; use 'cpu' or 'auto'")
    use_gpu = available and name != "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")
