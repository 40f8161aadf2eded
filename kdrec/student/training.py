"""Training a student from a recording.

An epoch follows from settings, recording, epoch and the weights before it alone: its order and its
dropout are seeded from (seed, epoch), the learning rate from the step. So a training that was
stopped and goes on gives the same weights as one that was not, on a CPU bit for bit.

Shape letters: B batch, C classes.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from kdrec import rng
from kdrec.client import Recording
from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import (
    BatchSource,
    RecordedBatch,
    ShuffledBatches,
    SourceDescription,
    make_loader,
)
from kdrec.student.evaluation import EvaluationReport, check_test_samples, evaluate
from kdrec.student.networks import build_student, check_logits
from kdrec.student.results import EpochReport, TrainResult
from kdrec.student.run_folder import RunFolder
from kdrec.student.settings import TrainSettings
from kdrec.student.tally import EpochTally, Waiting
from kdrec.student.views import RecordedViews

_DROPOUT_STREAM = 0x5D01


def train(
    source: Recording | BatchSource,
    settings: TrainSettings,
    out: Path,
    *,
    samples: SampleSet | None = None,
    test: SampleSet | None = None,
    on_progress: Callable[[EpochReport], None] | None = None,
) -> TrainResult:
    """Train a student, or go on with a training that was stopped.

    Args:
        source: A recording; or what stands in for one, a live teacher for instance.
        settings: Of the training.
        out: Folder for `best.safetensors`, `last.safetensors` and `results.json`, all replaced
            after each epoch, so that whoever is stopped loses one epoch at most.
        samples: The data the recording was made from; by default those it keeps.
        test: Labelled data to score each epoch on.
        on_progress: Called after each epoch, when it is on the disk.

    Returns:
        The whole training. One that was finished before is returned at once.

    Raises:
        InvalidInputError: Settings and data do not go together, or the loss is not finite.
        ConflictError: The data are not the recorded ones, or `out` is of another training.
        IncompleteError: A view is not recorded yet, or not in this copy.
    """
    views = _views(source, samples)
    _check_data(views.description, settings, test)
    device = _device(settings)
    folder = RunFolder(out, settings, views.description)
    with _isolated(device, settings.threads):
        training = _Training(views, settings, test, device)
        done = folder.resume(training.model, training.optimizer)
        for epoch in range(done, settings.epochs):
            report = training.run_epoch(epoch)
            folder.save(report, training.model, training.optimizer, memory=_peak_memory())
            if on_progress is not None:
                on_progress(report)
    return folder.write_results()


class _Training:
    """Network, optimizer and data of a training, and how they make an epoch."""

    def __init__(
        self,
        views: BatchSource,
        settings: TrainSettings,
        test: SampleSet | None,
        device: torch.device,
    ) -> None:
        self._views = views
        self._settings = settings
        self._test = test
        self._device = device
        self._objective = settings.objective
        self.model = build_student(
            settings.student,
            num_classes=views.description.num_classes,
            num_channels=len(views.description.channels),
            arguments=settings.student_arguments,
            seed=settings.seed,
        ).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._order = ShuffledBatches(len(views), settings.batch_size, seed=settings.seed)
        self._loader = make_loader(
            views,
            self._order,
            num_workers=settings.num_workers,
            pin_memory=device.type == "cuda",
        )

    def run_epoch(self, epoch: int) -> EpochReport:
        """Train on every sample once, then test."""
        started = time.perf_counter()
        self._begin(epoch)
        tally, waiting = EpochTally(epoch), Waiting(self._loader)
        for step, batch in enumerate(waiting):
            self._set_learning_rate(epoch * len(self._order) + step)
            self._step(step, batch.to(self._device), tally)
        loss, label, teacher, accuracy = tally.means()
        test = self._score()
        objective, labelled = self._objective, self._views.description.labelled
        return EpochReport(
            epoch=epoch,
            loss=loss,
            label_loss=label if objective.label_weight else None,
            teacher_loss=teacher if objective.teacher_weight else None,
            train_accuracy=accuracy if labelled else None,
            test_accuracy=None if test is None else test.accuracy,
            test_mean_class_accuracy=None if test is None else test.mean_class_accuracy,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
            wait_seconds=waiting.seconds,
        )

    def _begin(self, epoch: int) -> None:
        self._views.set_epoch(epoch)
        self._order.set_epoch(epoch)
        _seed_dropout(self._settings.seed, epoch, self._device)
        self.model.train()

    def _step(self, step: int, batch: RecordedBatch, tally: EpochTally) -> None:
        logits_BC = check_logits(
            self.model(batch.points),
            num_samples=len(batch.index),
            num_classes=self._views.description.num_classes,
        )
        terms = self._objective(logits_BC, batch.teacher_logits, batch.label)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms.total)
        self.optimizer.step()
        tally.add(step, terms, self._correct(logits_BC, batch.label), len(batch.index))

    def _correct(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor | None:
        if not self._views.description.labelled:
            return None
        return logits_BC.detach().argmax(dim=-1) == labels_B

    def _set_learning_rate(self, step: int) -> None:
        total = self._settings.epochs * len(self._order)
        rate = cosine_rate(step, total, highest=self._settings.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _score(self) -> EvaluationReport | None:
        if self._test is None:
            return None
        return evaluate(
            self.model,
            self._test,
            batch_size=self._settings.batch_size,
            device=self._device,
            normalize=self._views.description.normalized,
        )


def cosine_rate(step: int, total: int, *, highest: float) -> float:
    """Learning rate of a step: from `highest` at the first along half a cosine towards 0."""
    return highest * 0.5 * (1 + math.cos(math.pi * step / total))


def _views(source: Recording | BatchSource, samples: SampleSet | None) -> BatchSource:
    if isinstance(source, Recording):
        return RecordedViews(source, samples)
    if samples is not None:
        raise InvalidInputError("samples go with a recording; another source has its own")
    return source


def _check_data(
    description: SourceDescription, settings: TrainSettings, test: SampleSet | None
) -> None:
    weight = settings.objective.label_weight
    if weight and not description.labelled:
        raise InvalidInputError(
            f"label_weight is {weight:g}, but the data have no labels; set it to 0 to learn from "
            "the teacher alone, or give samples with labels"
        )
    if test is not None:
        check_test_samples(test, description)


def _device(settings: TrainSettings) -> torch.device:
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise InvalidInputError("device is 'cuda', but torch finds no GPU; use 'cpu' or 'auto'")
    use_gpu = available and settings.device != "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")


@contextmanager
def _isolated(device: torch.device, threads: int | None) -> Iterator[None]:
    """Leave torch's random state and number of threads as they were found."""
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            torch.set_num_threads(threads or before)
            yield
        finally:
            torch.set_num_threads(before)


def _seed_dropout(seed: int, epoch: int, device: torch.device) -> None:
    words = rng.words(seed, view=epoch, stream=_DROPOUT_STREAM, samples_B=[0], num_words=1)
    word = int(words[0, 0])
    torch.default_generator.manual_seed(word)
    if device.type == "cuda":
        torch.cuda.manual_seed(word)


def _peak_memory() -> int:
    """Bytes; the system counts in units of its own."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
