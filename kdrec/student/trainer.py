"""Network, loss, optimiser and data of a training, and how they make an epoch.

Shape letters: B samples of this process, C classes.
"""

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdrec import rng
from kdrec.samples import SampleSet
from kdrec.student.batches import (
    BatchSource,
    RecordedBatch,
    ShuffledBatches,
    Views,
    check_two_views,
    make_loader,
)
from kdrec.student.checkpoint import restore_weights
from kdrec.student.evaluation import EvaluationReport, evaluate
from kdrec.student.networks import build_student
from kdrec.student.objective import DistillationObjective
from kdrec.student.optimization import Optimization, Tensors, below
from kdrec.student.point_noise import disturb
from kdrec.student.processes import Processes
from kdrec.student.results import EpochReport
from kdrec.student.settings import TrainSettings
from kdrec.student.step import LossState, TrainingStep
from kdrec.student.tally import EpochTally, Waiting

_DROPOUT_STREAM, _NOISE_STREAM, _LOSS_STREAM = 0x5D01, 0x5D02, 0x5D03
_MODEL, _LOSS = "model.", "loss."


class Trainer:
    """See the module.

    Torch's global generator is seeded in each epoch: the caller keeps it apart.

    Args:
        source: Of the batches.
        settings: Of the training.
        test: To score each epoch on.
        device: Where to compute.
        processes: That share the work.

    Raises:
        InvalidInputError: The loss needs two views and the source has one; no such student.
    """

    def __init__(
        self,
        source: BatchSource,
        settings: TrainSettings,
        test: SampleSet | None,
        *,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._source, self._settings, self._test = source, settings, test
        self._device, self._processes = device, processes
        self._order = ShuffledBatches(
            len(source),
            settings.batch_size,
            seed=settings.seed,
            rank=processes.rank,
            num_processes=processes.count,
        )
        self._sizes = self._order.sizes()
        self._noise = torch.Generator()
        self._loader = self._make_loader()
        self._step = self._make_step()
        self._shared = processes.shared(self._step, device)
        self._optimization = Optimization(
            self._step, settings, num_steps=len(self._order), device=device
        )

    @property
    def scored_model(self) -> nn.Module:
        """What is tested and kept as the best."""
        return self._optimization.scored_model

    def tensors(self) -> Tensors:
        """All that is needed to go on, by name."""
        model = {f"{_MODEL}{k}": v for k, v in self._step.model.state_dict().items()}
        loss = {f"{_LOSS}{k}": v for k, v in self._step.state.state_dict().items()}
        return model | loss | self._optimization.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what an earlier epoch left.

        Raises:
            ConflictError: The weights are those of another network.
        """
        restore_weights(self._step.model, below(tensors, _MODEL), name=self._settings.student)
        self._step.state.load_state_dict(below(tensors, _LOSS))
        self._optimization.restore(tensors)

    def run_epoch(self, epoch: int) -> EpochReport:
        """Train on every sample once, then test."""
        started = time.perf_counter()
        self._begin(epoch)
        tally, waiting = EpochTally(epoch), Waiting(self._loader)
        for number, views in enumerate(waiting):
            self._learn(epoch, number, tuple(view.to(self._device) for view in views), tally)
        means = tally.means(self._processes)
        self._optimization.check_weights()
        accuracy, class_accuracy = self._scores()
        labelled = self._source.description.labelled
        return EpochReport(
            epoch=epoch,
            loss=means["loss"],
            label_loss=means.get("label"),
            teacher_loss=means.get("teacher"),
            reverse_loss=means.get("reverse"),
            self_loss=means.get("self"),
            head_loss=means.get("head"),
            temperature=means.get("temperature"),
            train_accuracy=means["accuracy"] if labelled else None,
            test_accuracy=accuracy,
            test_mean_class_accuracy=class_accuracy,
            learning_rate=self._optimization.learning_rate,
            seconds=time.perf_counter() - started,
            wait_seconds=waiting.seconds,
        )

    def _begin(self, epoch: int) -> None:
        self._source.set_epoch(epoch)
        self._order.set_epoch(epoch)
        self._seed_dropout(epoch)
        self._noise.manual_seed(self._word(_NOISE_STREAM, epoch))
        self._shared.train()

    def _learn(self, epoch: int, number: int, views: Views, tally: EpochTally) -> None:
        whole = self._sizes[number]
        share = self._processes.count * len(views[0].index) / whole
        with self._optimization.precision():
            terms, logits_BC = self._shared(self._disturbed(views), epoch)
        # Gradients are averaged over the processes: a smaller part of a batch must count less.
        loss = terms.total if share == 1 else terms.total * share
        self._optimization.apply(loss, number=epoch * len(self._order) + number)
        index_B = views[0].index
        if self._step.state.memory is not None:
            self._step.remember(*self._processes.rows(index_B, logits_BC, total=whole))
        tally.add(number, terms, self._correct(logits_BC, views[0]), len(index_B))

    def _disturbed(self, views: Views) -> Views:
        return tuple(
            view._replace(points=disturb(view.points, self._settings, self._noise))
            for view in views
        )

    def _correct(self, logits_BC: Tensor, view: RecordedBatch) -> Tensor | None:
        if not self._source.description.labelled:
            return None
        return logits_BC.detach().argmax(dim=-1) == view.label

    def _scores(self) -> tuple[float | None, float | None]:
        """Accuracy and mean class accuracy on the test data: one process tests, all know."""
        if self._test is None:
            return None, None
        scores = torch.zeros(2, dtype=torch.float64, device=self._device)
        if self._processes.first:
            report = self._evaluate(self._test)
            scores[0], scores[1] = report.accuracy, report.mean_class_accuracy
        accuracy, class_accuracy = self._processes.from_first(scores).tolist()
        return accuracy, class_accuracy

    def _evaluate(self, test: SampleSet) -> EvaluationReport:
        return evaluate(
            self.scored_model,
            test,
            batch_size=self._settings.batch_size,
            device=self._device,
            normalize=self._source.description.normalized,
            class_columns=self._source.description.class_columns,
        )

    def _make_loader(self) -> "torch.utils.data.DataLoader[Views]":
        two_views = self._settings.losses.needs_second_view
        if two_views:
            check_two_views(self._source)
        return make_loader(
            self._source,
            self._order,
            num_workers=self._settings.num_workers,
            pin_memory=self._device.type == "cuda",
            two_views=two_views,
        )

    def _make_step(self) -> TrainingStep:
        settings, description = self._settings, self._source.description
        losses, num_classes = settings.losses, description.num_classes
        model = build_student(
            settings.student,
            num_classes=num_classes,
            num_channels=len(description.channels),
            arguments=settings.student_arguments,
            seed=settings.seed,
        ).to(self._device)
        torch.default_generator.manual_seed(self._word(_LOSS_STREAM, 0))
        state = LossState(
            losses,
            model,
            example=self._example,
            num_samples=len(self._source),
            num_classes=num_classes,
            device=self._device,
        )
        return TrainingStep(model, DistillationObjective(losses), state, num_classes=num_classes)

    def _example(self) -> Tensor:
        self._source.set_epoch(0)
        return self._source.batch([0]).points.to(self._device)

    def _seed_dropout(self, epoch: int) -> None:
        word = self._word(_DROPOUT_STREAM, epoch)
        torch.default_generator.manual_seed(word)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(word)

    def _word(self, stream: int, epoch: int) -> int:
        """A seed of its own for each purpose, epoch and process."""
        words = rng.words(
            self._settings.seed,
            view=epoch,
            stream=stream,
            samples_B=[self._processes.rank],
            num_words=1,
        )
        return int(words[0, 0])
