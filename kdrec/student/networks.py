"""A student from its name or factory, and what it must return.

Shape letters: B batch, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdrec.errors import InvalidInputError
from kdrec.factories import call_factory, is_factory
from kdrec.models import build_model


def build_student(
    student: str,
    *,
    num_classes: int,
    num_channels: int,
    arguments: Mapping[str, object],
    seed: int = 0,
) -> nn.Module:
    """A new network, on the CPU, with the random weights of this seed.

    The caller's own random state stays as it is.

    Args:
        student: Name of a registered network, or `package.module:factory` or `file.py:factory`.
            What a factory names runs: name only code that you trust.
        num_classes: Logits that it gives.
        num_channels: Numbers of one point.
        arguments: Its own.
        seed: From 0 to 2^64 - 1.

    Raises:
        InvalidInputError: No such network, it does not take these arguments, or it is no network.
        NotFoundError: No such file or module.
    """
    _check_arguments(arguments)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if is_factory(student):
            shape = {"num_classes": num_classes, "num_channels": num_channels}
            built = call_factory(student, {**shape, **arguments})
        else:
            built = build_model(
                student, num_classes=num_classes, num_channels=num_channels, **arguments
            )
    if not isinstance(built, nn.Module):
        raise InvalidInputError(
            f"{student} gave a {type(built).__name__}; a student must be a torch.nn.Module that "
            "takes points (batch, points, channels) and returns logits (batch, classes)"
        )
    return built


def check_logits(logits_BC: object, *, num_samples: int, num_classes: int | None = None) -> Tensor:
    """What a student returned, if it is what a student must return.

    Args:
        logits_BC: What it returned.
        num_samples: B.
        num_classes: C; None where any number will do.

    Raises:
        InvalidInputError: It is something else.
    """
    found = type(logits_BC).__name__
    if isinstance(logits_BC, Tensor):
        shape = tuple(logits_BC.shape)
        found = str(shape)
        if len(shape) == 2 and shape[0] == num_samples and num_classes in (None, shape[1]):
            return logits_BC
    wanted = "classes" if num_classes is None else num_classes
    raise InvalidInputError(
        f"a student must return logits of shape ({num_samples}, {wanted}), got {found}"
    )


def _check_arguments(arguments: Mapping[str, object]) -> None:
    for name in ("num_classes", "num_channels"):
        if name in arguments:
            raise InvalidInputError(
                f"{name} is no argument of a student, got {arguments[name]!r}: it follows from "
                "the recording; leave it out"
            )
