"""The folder of a training: weights, what is needed to go on, and results."""

from pathlib import Path
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from kdrec.errors import AlreadyExistsError, IntegrityError, NotFoundError
from kdrec.models import count_parameters
from kdrec.store import LocalStorage
from kdrec.student.batches import SourceDescription
from kdrec.student.checkpoint import (
    BEST_NAME,
    LAST_NAME,
    Checkpoint,
    CheckpointInfo,
    capture_training,
    capture_weights,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
)
from kdrec.student.results import EpochReport, TrainResult, find_best
from kdrec.student.settings import TrainSettings

RESULTS_NAME = "results.json"


class RunFolder:
    """What lies in the folder of one training; files are replaced in the order best, last, results.

    Killed between two of them, the epoch is trained again to the same weights, or the results are
    written again from what `last.safetensors` says.

    Args:
        path: Made by the first write.
        settings: Of the training.
        recording: What it is trained from.

    Raises:
        ConflictError: It is of another training.
        AlreadyExistsError: It is a file.
        IntegrityError: A file in it is damaged.
    """

    def __init__(self, path: Path, settings: TrainSettings, recording: SourceDescription) -> None:
        self._path = path
        self._settings = settings
        self._recording = recording
        self._epochs: tuple[EpochReport, ...] = ()
        self._memory = 0
        self._num_parameters = 0
        self._found = self._find()

    def resume(self, model: nn.Module, optimizer: Optimizer) -> int:
        """Put back what the last complete epoch left.

        Returns:
            Number of epochs that are done.
        """
        self._num_parameters = count_parameters(model)
        if self._found is not None:
            self._found.restore(model, optimizer)
            self._epochs = self._found.info.epochs
            self._memory = self._found.info.peak_memory_bytes
            self._found = None
        return len(self._epochs)

    def save(
        self, report: EpochReport, model: nn.Module, optimizer: Optimizer, *, memory: int
    ) -> None:
        """Keep an epoch that is done.

        Raises:
            StorageError: The disk refuses; the epoch before is still kept.
        """
        self._epochs = (*self._epochs, report)
        self._memory = max(self._memory, memory)
        if find_best(self._epochs) is report:
            weights = capture_weights(model)
            write_checkpoint(self._path / BEST_NAME, Checkpoint(self._info("weights"), weights))
        state = capture_training(model, optimizer)
        write_checkpoint(self._path / LAST_NAME, Checkpoint(self._info("resume"), state))
        self.write_results()

    def write_results(self) -> TrainResult:
        """Write `results.json` anew.

        Returns:
            What stands in it.
        """
        result = TrainResult(
            finished=len(self._epochs) == self._settings.epochs,
            settings=self._settings,
            recording=self._recording,
            num_parameters=self._num_parameters,
            epochs=self._epochs,
            best=find_best(self._epochs),
            final=self._epochs[-1],
            peak_memory_bytes=self._memory,
            total_seconds=sum(report.seconds for report in self._epochs),
        )
        text = f"{result.model_dump_json(indent=1)}\n"
        LocalStorage(self._path).write(RESULTS_NAME, text.encode())
        return result

    def _info(self, content: Literal["weights", "resume"]) -> CheckpointInfo:
        return CheckpointInfo(
            content=content,
            settings=self._settings,
            recording=self._recording,
            epochs=self._epochs,
            peak_memory_bytes=self._memory,
        )

    def _find(self) -> Checkpoint | None:
        """What is needed to go on; None where nothing was done yet."""
        if self._path.is_file():
            raise AlreadyExistsError(f"{self._path} is a file; give the name of a folder")
        best, last = self._read(BEST_NAME), self._read(LAST_NAME)
        if last is None:
            return None
        if last.info.content != "resume" or best is None:
            what = f"lacks its {BEST_NAME}" if best is None else f"has another file as {LAST_NAME}"
            raise IntegrityError(f"{self._path} {what}; delete the folder and train again")
        return last

    def _read(self, name: str) -> Checkpoint | None:
        try:
            checkpoint = read_checkpoint(self._path / name)
        except NotFoundError:
            return None
        check_same_run(checkpoint.info, self._settings, self._recording, where=self._path)
        return checkpoint
