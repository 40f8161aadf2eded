"""One step's way from points to a loss: the student, and what the loss keeps beside it.

Shape letters: B batch, N points, D channels, C classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdrec.student.batches import RecordedBatch
from kdrec.student.loss_settings import LossSettings
from kdrec.student.losses import CurriculumTemperature
from kdrec.student.networks import check_logits
from kdrec.student.objective import DistillationObjective, Judged, LossTerms
from kdrec.student.self_logits import AuxiliaryHead, LogitMemory


class StepOutcome(NamedTuple):
    """What a step gives.

    Attributes:
        terms: The loss.
        logits_BC: The student's, of the first view.
    """

    terms: LossTerms
    logits_BC: Tensor


class LossState(nn.Module):
    """What a loss learns or remembers, kept apart from the student and from its weights.

    Args:
        settings: Of the loss.
        model: The student, on the device.
        example: Gives points (B, N, D) on the device; asked only for a head.
        num_samples: Of the data.
        num_classes: C.
        device: Where it lies.

    Attributes:
        temperature: Learned, where the settings ask for it.
        head: A second classifier, where they do.
        memory: The student's earlier logits, where they do.
    """

    def __init__(
        self,
        settings: LossSettings,
        model: nn.Module,
        *,
        example: Callable[[], Tensor],
        num_samples: int,
        num_classes: int,
        device: torch.device,
    ) -> None:
        super().__init__()
        source = settings.self_source_used
        self.temperature = CurriculumTemperature() if settings.learn_temperature else None
        self.head: AuxiliaryHead | None = None
        self.memory: LogitMemory | None = None
        if source == "head" and settings.self_layer is not None:
            self.head = AuxiliaryHead(
                model, settings.self_layer, example_BND=example(), num_classes=num_classes
            )
        if source in ("previous", "average"):
            self.memory = LogitMemory(
                num_samples,
                num_classes,
                momentum=settings.self_momentum if source == "average" else 0.0,
                device=device,
            )
        self.to(device)


class TrainingStep(nn.Module):
    """Student and loss as one module, so that several processes can share its gradients.

    Args:
        model: The student.
        objective: The loss.
        state: What the loss keeps.
        num_classes: C.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: DistillationObjective,
        state: LossState,
        *,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.state = state
        self._objective = objective
        self._head_objective = DistillationObjective(
            objective.settings.model_copy(update={"self_weight": 0.0})
        )
        self._num_classes = num_classes

    def forward(self, views: tuple[RecordedBatch, ...], epoch: int) -> StepOutcome:
        """The loss of a batch, seen in one view or two.

        Raises:
            InvalidInputError: The student does not return logits.
        """
        first = views[0]
        logits_BC, head_BC = self._first_logits(first)
        second = [self._second_logits(view) for view in views[1:]]
        judged = [
            Judged(own_BC, view.teacher_logits, view.label)
            for own_BC, view in zip([logits_BC, *second], views, strict=True)
        ]
        temperature = None if self.state.temperature is None else self.state.temperature(epoch)
        terms = self._objective(
            *judged,
            epoch=epoch,
            self_BC=self._self_logits(first, second, head_BC),
            temperature=temperature,
        )
        if head_BC is not None:
            head = self._head_objective(judged[0]._replace(student_BC=head_BC), epoch=epoch)
            terms = LossTerms(terms.total + head.total, {**terms.parts, "head": head.total})
        return StepOutcome(terms, logits_BC)

    def remember(self, index_B: Tensor, logits_BC: Tensor) -> None:
        """Keep what the student said, for those losses that look back."""
        if self.state.memory is not None:
            self.state.memory.remember(index_B, logits_BC)

    def _first_logits(self, view: RecordedBatch) -> tuple[Tensor, Tensor | None]:
        if self.state.head is None:
            return self._logits(view), None
        with self.state.head.watch() as seen:
            logits_BC = self._logits(view)
        head_BC: Tensor = self.state.head(seen[0])
        return logits_BC, head_BC

    def _second_logits(self, view: RecordedBatch) -> Tensor:
        if self._objective.settings.learns_from_two_views:
            return self._logits(view)
        with torch.no_grad():
            return self._logits(view)

    def _logits(self, view: RecordedBatch) -> Tensor:
        return check_logits(
            self.model(view.points), num_samples=len(view.index), num_classes=self._num_classes
        )

    def _self_logits(
        self, first: RecordedBatch, second: list[Tensor], head_BC: Tensor | None
    ) -> Tensor | None:
        source = self._objective.settings.self_source_used
        if source == "view":
            return second[0].detach()
        if source == "head":
            return head_BC
        return None if self.state.memory is None else self.state.memory.recall(first.index)
