"""The numbers that a teacher computes with, fixed for as long as it runs."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias, get_args

import torch

from kdrec.errors import InvalidInputError

Precision = Literal["float32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Place: TypeAlias = tuple[Any, str]
"""A module of PyTorch's, and the name of a flag in it."""

_ANY, _WARN = 0, 1  # of torch's modes: whatever is fastest; repeatable, or a warning
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str) -> None:
    """Refuse what is no precision.

    Raises:
        InvalidInputError: Lists those there are.
    """
    if precision not in PRECISIONS:
        raise InvalidInputError(
            f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}"
        )


@contextmanager
def compute_precision(
    precision: Precision, device: torch.device, *, fast: bool = False
) -> Iterator[None]:
    """Compute in this precision within the block; afterwards everything is as it was.

    `float32` means float32: PyTorch's convolutions use TF32 on a GPU unless told otherwise. `tf32`
    is float32 where there is no TF32. cuDNN is kept from choosing its algorithm by timing, since
    another choice in the next process would change the last bits; and on a GPU PyTorch is told to
    take algorithms that add in a fixed order, and to warn where there is none.

    Args:
        precision: `bf16` and `fp16` are autocast; the network's own tensors stay as they are.
        device: Where the network runs.
        fast: Let the device choose by timing, from all algorithms.

    Raises:
        InvalidInputError: No such precision.
    """
    check_precision(precision)
    before, repeatable = _current(), torch.get_deterministic_debug_mode()
    _set(use_tf32=precision == "tf32", fast=fast)
    if device.type == "cuda":
        torch.set_deterministic_debug_mode(_ANY if fast else _WARN)
    try:
        with torch.autocast(
            device.type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST
        ):
            yield
    finally:
        torch.set_deterministic_debug_mode(repeatable)
        _restore(before)


def _places() -> list[Place]:
    """The flags that decide how float32 is computed, in the order in which to set them.

    PyTorch 2.9 split its two TF32 switches into a precision for each kind of operation. Setting an
    old switch changes some of the new ones, which therefore come last.
    """
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    operations: list[Place] = [(torch.backends.cuda, "matmul"), (cudnn, "conv"), (cudnn, "rnn")]
    operations += [(mkldnn, "matmul"), (mkldnn, "conv"), (mkldnn, "rnn")]
    return [
        (cudnn, "benchmark"),
        (cudnn, "deterministic"),
        (cudnn, "allow_tf32"),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
        *[(getattr(backend, name, None), "fp32_precision") for backend, name in operations],
    ]


def _current() -> list[tuple[Place, Any]]:
    flags: list[tuple[Place, Any]] = []
    # PyTorch refuses to read an old switch after a program has set the new ones to differ.
    with suppress(RuntimeError):
        flags.append(((torch, "float32_matmul_precision"), torch.get_float32_matmul_precision()))
    for place, name in _places():
        with suppress(RuntimeError, AttributeError):
            flags.append(((place, name), getattr(place, name)))
    return flags


def _set(*, use_tf32: bool, fast: bool) -> None:
    wanted = {
        "benchmark": fast,
        "deterministic": not fast,
        "allow_tf32": use_tf32,
        "fill_uninitialized_memory": False,  # it would write NaN to every new tensor first
        "fp32_precision": "tf32" if use_tf32 else "ieee",
    }
    torch.set_float32_matmul_precision("high" if use_tf32 else "highest")
    for place, name in _places():
        if name != "fp32_precision" or hasattr(place, name):
            setattr(place, name, wanted[name])


def _restore(flags: list[tuple[Place, Any]]) -> None:
    for (place, name), value in flags:
        if place is torch:
            torch.set_float32_matmul_precision(value)
        else:
            setattr(place, name, value)
