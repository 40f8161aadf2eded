"""The networks that kdrec brings along, by name: students, and teachers that need no code."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import nn

from kdrec.errors import InvalidInputError

Build = Callable[..., nn.Module]
BuildT = TypeVar("BuildT", bound=Build)
Task = Literal["classification", "segmentation"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One registered network.

    Attributes:
        name: What a command line calls it.
        description: One line for a list of networks.
        head: Name of the weight of its last layer, one row a class: from a file of weights it
            tells the number of classes.
        task: `classification` gives logits of a cloud, `segmentation` of each of its points.
        build: Makes the network from `num_classes`, `num_channels` and its own arguments.
    """

    name: str
    description: str
    head: str
    task: Task
    build: Build


_MODELS: dict[str, ModelInfo] = {}


def register_model(
    name: str, *, description: str, head: str, task: Task = "classification"
) -> Callable[[BuildT], BuildT]:
    """Decorate a class or function that makes a network, so that it can be named.

    Args:
        name: Not yet taken.
        description: One line.
        head: Name of the weight of the last layer, shape (classes, ...).
        task: What its logits are of.

    Raises:
        InvalidInputError: The name is taken.
    """

    def register(build: BuildT) -> BuildT:
        if name in _MODELS:
            raise InvalidInputError(f"a model {name!r} is registered already; choose another name")
        _MODELS[name] = ModelInfo(name, description, head, task, build)
        return build

    return register


def list_models() -> tuple[ModelInfo, ...]:
    """All registered networks, by name."""
    return tuple(_MODELS[name] for name in sorted(_MODELS))


def find_model(name: str) -> ModelInfo:
    """The registered network of this name.

    Raises:
        InvalidInputError: There is none; lists those there are.
    """
    if name not in _MODELS:
        raise InvalidInputError(
            f"no model {name!r}; there are: {', '.join(sorted(_MODELS))}; for a network of your "
            "own name its factory: package.module:factory or file.py:factory"
        )
    return _MODELS[name]


def build_model(
    name: str, *, num_classes: int, num_channels: int = 3, **arguments: object
) -> nn.Module:
    """A new network with random weights.

    Args:
        name: Of a registered network.
        num_classes: Logits that it gives.
        num_channels: Numbers of one point: 3 for coordinates alone.
        **arguments: The network's own.

    Raises:
        InvalidInputError: No such network, it does not take these arguments, or a value is of
            another kind.
    """
    info = find_model(name)
    given = {"num_classes": num_classes, "num_channels": num_channels, **arguments}
    signature = inspect.signature(info.build)
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InvalidInputError(
            f"model {name!r}: {error}; it takes: {', '.join(signature.parameters)}"
        ) from error
    try:
        return info.build(**given)
    except TypeError as error:  # a text where a number belongs: command lines give what they get
        said = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise InvalidInputError(f"model {name!r} cannot be made with {said}: {error}") from error


def count_parameters(module: nn.Module) -> int:
    """Trainable or not; buffers such as running means are not parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
