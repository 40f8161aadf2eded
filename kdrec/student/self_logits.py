"""The student's own logits to compare it with: kept from earlier epochs, or from a second head.

Shape letters: S samples, B batch, F features, C classes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdrec.errors import InvalidInputError

MOST_MEMORY_BYTES = 2**30


class LogitMemory(nn.Module):
    """The logits that a student last gave for each sample, or their running average.

    One row a sample and nothing else, so that its size is known beforehand. It is part of the
    state of the module but no buffer: several processes would send buffers round in each step.

    Args:
        num_samples: S.
        num_classes: C.
        momentum: Share of what is remembered that a new value leaves; 0 keeps the last alone.
        device: Where it lies.

    Raises:
        InvalidInputError: It would need more than 1 GiB.
    """

    def __init__(
        self, num_samples: int, num_classes: int, *, momentum: float, device: torch.device
    ) -> None:
        super().__init__()
        num_bytes = 4 * num_samples * num_classes
        if num_bytes > MOST_MEMORY_BYTES:
            raise InvalidInputError(
                f"the logits of {num_samples} samples x {num_classes} classes are "
                f"{num_bytes / 2**30:.1f} GiB, at most 1 GiB is kept; use self_source 'view' or "
                "'head', which keep none"
            )
        self._momentum = momentum
        self._logits_SC = torch.full((num_samples, num_classes), math.nan, device=device)

    def recall(self, index_B: Tensor) -> Tensor:
        """What is remembered of some samples; a row of NaN where there is nothing yet."""
        return self._logits_SC[index_B]

    def remember(self, index_B: Tensor, logits_BC: Tensor) -> None:
        """Take in what the student says now."""
        new_BC = logits_BC.detach().float()
        old_BC = self.recall(index_B)
        mixed_BC = new_BC.lerp(old_BC, self._momentum).where(~old_BC.isnan(), new_BC)
        self._logits_SC[index_B] = mixed_BC

    def get_extra_state(self) -> Tensor:
        """What a checkpoint keeps of it."""
        return self._logits_SC

    def set_extra_state(self, state: Tensor) -> None:
        """Put back what a checkpoint kept."""
        self._logits_SC.copy_(state)


class AuxiliaryHead(nn.Module):
    """A linear classifier on a layer of the student, trained beside it and apart from it.

    No gradient flows from it into the student: at weight 0 the student is the plain one.

    Args:
        model: The student.
        layer: Name of a module of it that gives one vector a cloud, (B, F).
        example_BND: Points, to see how long the vector is.
        num_classes: C.

    Raises:
        InvalidInputError: No such layer, or it gives something else.
    """

    def __init__(
        self, model: nn.Module, layer: str, *, example_BND: Tensor, num_classes: int
    ) -> None:
        super().__init__()
        modules = dict(model.named_modules())
        if layer not in modules:
            known = ", ".join(name for name in modules if name)
            raise InvalidInputError(f"the student has no layer {layer!r}; it has: {known}")
        # A list, so that the student does not become a part of its head.
        self._layer = [modules[layer]]
        features = self._features_of(model, example_BND)
        if not isinstance(features, Tensor) or features.ndim != 2:
            found = tuple(features.shape) if isinstance(features, Tensor) else "no tensor"
            raise InvalidInputError(
                f"self_layer must give one vector a cloud, (batch, features), but {layer!r} gives "
                f"{found}; name another layer"
            )
        self.linear = nn.Linear(features.shape[1], num_classes)

    @contextmanager
    def watch(self) -> Iterator[list[Tensor]]:
        """Collect what the layer gives while the student runs."""
        seen: list[Tensor] = []
        handle = self._layer[0].register_forward_hook(lambda *call: seen.append(call[-1]))
        try:
            yield seen
        finally:
            handle.remove()

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logits (B, C) of what the layer gave."""
        logits_BC: Tensor = self.linear(features_BF.detach())
        return logits_BC

    @torch.no_grad()
    def _features_of(self, model: nn.Module, example_BND: Tensor) -> object:
        was_training = model.training
        with self.watch() as seen:
            model.eval()(example_BND)
            model.train(was_training)
        return seen[0] if seen else None
