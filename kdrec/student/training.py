"""Training a student from a recording.

An epoch follows from settings, recording, epoch and the weights before it alone: its order and its
dropout are seeded from (seed, epoch), the learning rate from the step. So a training that was
stopped and goes on gives the same weights as one that was not, on a CPU bit for bit.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from kdrec.client import Recording
from kdrec.errors import ConflictError, InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import BatchSource, SourceDescription
from kdrec.student.devices import find_device
from kdrec.student.evaluation import check_test_samples
from kdrec.student.processes import ALONE, Processes
from kdrec.student.results import EpochReport, TrainResult
from kdrec.student.run_folder import RunFolder
from kdrec.student.settings import TrainSettings
from kdrec.student.teachers import join_teachers
from kdrec.student.trainer import Trainer
from kdrec.student.views import RecordedViews, check_one_view_a_step


def train(
    source: Recording | BatchSource,
    settings: TrainSettings,
    out: Path,
    *,
    samples: SampleSet | None = None,
    test: SampleSet | None = None,
    on_progress: Callable[[EpochReport], None] | None = None,
    processes: Processes = ALONE,
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
        processes: That train it together; each calls this, process 0 writes and tests.

    Returns:
        The whole training. One that was finished before is returned at once.

    Raises:
        InvalidInputError: Settings and data do not go together, or the loss is not finite.
        ConflictError: The data are not the recorded ones, or `out` is of another training, or not
            one folder for all processes.
        IncompleteError: A view is not recorded yet, or not in this copy.
    """
    views = _views(source, samples, settings)
    _check_data(views.description, settings, test)
    _check_shares(len(views), processes)
    device = find_device(settings.device)
    folder = RunFolder(out, settings, views.description, processes)
    with _isolated(device, settings.threads):
        trainer = Trainer(views, settings, test, device=device, processes=processes)
        folder.resume(trainer)
        _check_same_start(len(folder.epochs), out, processes, device)
        folder.check_writable()
        while not folder.finished:
            report = trainer.run_epoch(len(folder.epochs))
            folder.save(report, trainer, memory=_peak_memory())
            if on_progress is not None:
                on_progress(report)
    return folder.write_results()


def _views(
    source: Recording | BatchSource, samples: SampleSet | None, settings: TrainSettings
) -> BatchSource:
    if isinstance(source, Recording):
        return join_teachers([source], samples, settings)
    if samples is not None:
        raise InvalidInputError("samples go with a recording; another source has its own")
    if isinstance(source, RecordedViews):
        check_one_view_a_step(source)
    return source


def _check_data(
    description: SourceDescription, settings: TrainSettings, test: SampleSet | None
) -> None:
    losses = settings.losses
    if losses.needs_labels and not description.labelled:
        raise InvalidInputError(
            f"loss is {losses.loss!r} and label_weight is {losses.label_weight:g}, but the data "
            "have no labels; set label_weight to 0 and take another loss than dkd to learn from "
            "the teacher alone, or give samples with labels"
        )
    if losses.reverse_weight and not description.all_logits:
        raise InvalidInputError(
            f"reverse_weight is {losses.reverse_weight:g}, but only the largest logits were "
            "recorded: the reverse divergence is about the small ones, which nobody knows; set it "
            "to 0, or record with another encoding than topk"
        )
    if settings.patience is not None and test is None:
        raise InvalidInputError(
            "patience waits for a better test accuracy, but there are no test data; give them, or "
            "leave it out"
        )
    if test is not None:
        check_test_samples(test, description)


def _check_shares(num_samples: int, processes: Processes) -> None:
    if num_samples < processes.count:
        raise InvalidInputError(
            f"{processes.count} processes cannot share {num_samples} samples; start at most "
            f"{num_samples}"
        )


def _check_same_start(epochs: int, out: Path, processes: Processes, device: torch.device) -> None:
    """Whether all processes found the same training to go on with.

    Raises:
        ConflictError: Another one than process 0: their weights would differ from then on.
    """
    of_first = int(processes.from_first(torch.tensor(epochs, device=device)))
    if of_first != epochs:
        raise ConflictError(
            f"process {processes.rank} finds {epochs} epochs in {out}, process 0 finds {of_first}; "
            "give a folder that all of them share"
        )


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


def _peak_memory() -> int:
    """Bytes; the system counts in units of its own."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
