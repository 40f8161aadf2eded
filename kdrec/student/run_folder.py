"""The folder of a training: weights, what is needed to go on, and results."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from kdrec.errors import AlreadyExistsError, IntegrityError, NotFoundError, StorageError
from kdrec.models import count_parameters
from kdrec.store import LocalStorage, check_apart
from kdrec.student.batches import SourceDescription
from kdrec.student.checkpoint import (
    BEST_NAME,
    LAST_NAME,
    Checkpoint,
    CheckpointInfo,
    capture,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
)
from kdrec.student.processes import ALONE, Processes
from kdrec.student.results import EpochReport, TrainResult, as_table, find_best, is_finished
from kdrec.student.settings import TrainSettings
from kdrec.student.trainer import Trainer

RESULTS_NAME = "results.json"
LOG_NAME = "log.csv"


class RunFolder:
    """What lies in the folder of one training; files are replaced in the order best, last, results.

    Killed between two of them, the epoch is trained again to the same weights, or the results are
    written again from what `last.safetensors` says.

    Args:
        path: Made by the first write.
        settings: Of the training.
        recording: What it is trained from.
        processes: Of the training; all read, process 0 alone writes.

    Raises:
        ConflictError: It is of another training.
        AlreadyExistsError: It is a file.
        IntegrityError: A file in it is damaged.
    """

    def __init__(
        self,
        path: Path,
        settings: TrainSettings,
        recording: SourceDescription,
        processes: Processes = ALONE,
    ) -> None:
        self._path = path
        self._processes = processes
        self._settings = settings
        self._recording = recording
        self._epochs: tuple[EpochReport, ...] = ()
        self._memory = 0
        self._num_parameters = 0
        self._found = self._find()

    @property
    def epochs(self) -> tuple[EpochReport, ...]:
        """Done so far."""
        return self._epochs

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to be done."""
        return is_finished(self._epochs, self._settings)

    def resume(self, trainer: Trainer) -> None:
        """Put back what the last complete epoch left.

        Raises:
            ConflictError: The weights are those of another network.
        """
        self._num_parameters = count_parameters(trainer.scored_model)
        if self._found is not None:
            trainer.restore(self._found.tensors)
            self._epochs = self._found.info.epochs
            self._memory = self._found.info.peak_memory_bytes
            self._found = None

    def check_writable(self) -> None:
        """Whether it can be made or written to: better known before an epoch than after it.

        Raises:
            StorageError: It cannot.
            InvalidInputError: It lies within a recording.
        """
        check_apart(self._path / LAST_NAME)
        there = next(path for path in (self._path, *self._path.absolute().parents) if path.is_dir())
        try:
            if self._processes.first:
                TemporaryFile(dir=there).close()
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}; give another --out"
            ) from error

    def save(self, report: EpochReport, trainer: Trainer, *, memory: int) -> None:
        """Keep an epoch that is done.

        Raises:
            StorageError: The disk refuses; the epoch before is still kept.
        """
        self._epochs = (*self._epochs, report)
        self._memory = max(self._memory, memory)
        if not self._processes.first:
            return
        if find_best(self._epochs) is report:
            weights = capture(trainer.scored_model.state_dict())
            write_checkpoint(self._path / BEST_NAME, Checkpoint(self._info("weights"), weights))
        state = capture(trainer.tensors())
        write_checkpoint(self._path / LAST_NAME, Checkpoint(self._info("resume"), state))
        self.write_results()

    def write_results(self) -> TrainResult:
        """Write `results.json` anew, and the epochs as a table beside it.

        Returns:
            What stands in it.
        """
        result = TrainResult(
            finished=self.finished,
            settings=self._settings,
            recording=self._recording,
            num_parameters=self._num_parameters,
            epochs=self._epochs,
            best=find_best(self._epochs),
            final=self._epochs[-1],
            peak_memory_bytes=self._memory,
            total_seconds=sum(report.seconds for report in self._epochs),
        )
        if self._processes.first:
            storage = LocalStorage(self._path)
            storage.write(LOG_NAME, as_table(self._epochs).encode())
            storage.write(RESULTS_NAME, f"{result.model_dump_json(indent=1)}\n".encode())
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
