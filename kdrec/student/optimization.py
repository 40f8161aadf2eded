"""From a loss to new weights: optimiser, schedule, mixed precision, clipping, running average."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kdrec.errors import InvalidInputError
from kdrec.student.settings import OptimizationSettings
from kdrec.student.step import TrainingStep

Tensors: TypeAlias = dict[str, Tensor]

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPTIMIZER, _AVERAGE, _SCALER = "optimizer.", "average.", "scaler."
_SCALER_STATE = {"scale": torch.float64, "_growth_tracker": torch.int64}


class Optimization:
    """All that turns the loss of a step into new weights.

    Args:
        step: Student and loss.
        settings: How.
        num_steps: Of an epoch.
        device: Where.

    Attributes:
        learning_rate: Of the last step.
    """

    def __init__(
        self,
        step: TrainingStep,
        settings: OptimizationSettings,
        *,
        num_steps: int,
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._num_steps = num_steps
        self._device = device
        self._model = step.model
        self._parameters = list(step.parameters())
        self._optimizer = _make_optimizer(step, settings)
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._average = _make_average(step.model, settings.ema_decay)
        self.learning_rate = settings.learning_rate

    @property
    def scored_model(self) -> nn.Module:
        """What is tested and kept: the running average of the weights, or the weights."""
        return self._model if self._average is None else self._average.module

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Compute the student in the precision of the settings."""
        dtype = _PRECISIONS.get(self._settings.precision)
        with torch.autocast(self._device.type, dtype=dtype, enabled=dtype is not None):
            yield

    def apply(self, loss: Tensor, *, number: int) -> None:
        """Descend the loss of a step.

        Args:
            loss: A scalar.
            number: Of the step, from the beginning of the training.
        """
        self._set_learning_rate(number)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        if self._settings.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self._model)

    def check_weights(self) -> None:
        """Whether the weights are numbers: a finite loss may have a gradient that is none.

        Raises:
            InvalidInputError: They are not.
        """
        for name, tensor in self._model.state_dict().items():
            if not tensor.isfinite().all():
                raise InvalidInputError(
                    f"{name} of the student is not finite any more; the weights of the last "
                    "complete epoch are kept. Train anew with a smaller learning_rate, or look for "
                    "a gradient without a limit in the student"
                )

    def tensors(self) -> Tensors:
        """The state, by name."""
        found = {
            f"{_OPTIMIZER}{index}.{name}": tensor
            for index, state in self._optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
            if isinstance(tensor, Tensor)
        }
        if self._average is not None:
            found |= {f"{_AVERAGE}{k}": v for k, v in self._average.state_dict().items()}
        scaler = self._scaler.state_dict()
        return found | {
            f"{_SCALER}{name}": torch.tensor(scaler[name], dtype=dtype)
            for name, dtype in _SCALER_STATE.items()
            if name in scaler
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the state back."""
        self._optimizer.load_state_dict(
            {
                "state": _by_index(below(tensors, _OPTIMIZER)),
                "param_groups": self._optimizer.state_dict()["param_groups"],
            }
        )
        if self._average is not None:
            self._average.load_state_dict(below(tensors, _AVERAGE))
        scaler = {name: tensor.item() for name, tensor in below(tensors, _SCALER).items()}
        if scaler:
            self._scaler.load_state_dict(self._scaler.state_dict() | scaler)

    def _set_learning_rate(self, number: int) -> None:
        self.learning_rate = learning_rate(number, self._settings, num_steps=self._num_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate


def learning_rate(number: int, settings: OptimizationSettings, *, num_steps: int) -> float:
    """The rate of a step: a straight rise over the warm-up, then along the schedule.

    Args:
        number: Of the step, from the beginning of the training.
        settings: With the schedule.
        num_steps: Of an epoch.
    """
    warmup, total = settings.warmup_epochs * num_steps, settings.epochs * num_steps
    if number < warmup:
        return settings.learning_rate * (number + 1) / warmup
    progress = (number - warmup) / (total - warmup)
    share = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }[settings.schedule]
    lowest = min(settings.lowest_learning_rate, settings.learning_rate)
    return lowest + (settings.learning_rate - lowest) * share


def below(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Those whose name has the prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _make_optimizer(step: TrainingStep, settings: OptimizationSettings) -> Optimizer:
    # What the loss learns is no weight that could be too large: decay would be a loss of its own.
    groups = [
        {"params": list(step.model.parameters()), "weight_decay": settings.weight_decay},
        {"params": list(step.state.parameters()), "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov)
    kind = AdamW if settings.optimizer == "adamw" else Adam
    return kind(groups, lr=settings.learning_rate)


def _make_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    # With its buffers: running means of the latest weights would not go with the average of all.
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def _by_index(tensors: Tensors) -> dict[int, Tensors]:
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    return state
