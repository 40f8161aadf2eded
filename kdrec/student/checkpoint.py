"""A student on disk: safetensors with JSON beside the tensors, replaced atomically, no pickle.

`best.safetensors` holds the weights under their own names, so that any program can load them.
`last.safetensors` holds all that a training needs to go on: weights as `model.NAME`, the state of
the optimizer as `optimizer.INDEX.NAME`, what the loss learns or remembers as `loss.NAME`, a running
average of the weights as `average.NAME`, the scale of half precision as `scaler.NAME`. No
generator's state is among it, because every epoch seeds its own from (seed, epoch).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from kdrec.errors import ConflictError, IntegrityError, InvalidInputError
from kdrec.factories import is_factory
from kdrec.store import LocalStorage
from kdrec.student.batches import SourceDescription
from kdrec.student.networks import build_student
from kdrec.student.results import EpochReport
from kdrec.student.settings import TrainSettings

BEST_NAME = "best.safetensors"
LAST_NAME = "last.safetensors"
_METADATA_KEY = "kdrec"
_MODEL, _AVERAGE = "model.", "average.module."


class CheckpointInfo(BaseModel):
    """What stands beside the tensors.

    Attributes:
        content: `weights` alone, or all that is needed to `resume`.
        settings: Of the training.
        recording: What it was trained from, by digest and identity.
        epochs: Done so far.
        peak_memory_bytes: So far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["kdrec-student"] = "kdrec-student"
    format_version: Literal[1] = 1
    content: Literal["weights", "resume"]
    settings: TrainSettings
    recording: SourceDescription
    epochs: tuple[EpochReport, ...]
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        info: What stands beside the tensors.
        tensors: On the CPU, by name.
    """

    info: CheckpointInfo
    tensors: Mapping[str, Tensor]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the student, under their own names: their running average, where there is one."""
        if self.info.content == "weights":
            return dict(self.tensors)
        return self._below(_AVERAGE) or self._below(_MODEL)

    def _below(self, prefix: str) -> dict[str, Tensor]:
        names = (name for name in self.tensors if name.startswith(prefix))
        return {name.removeprefix(prefix): self.tensors[name] for name in names}


def restore_weights(model: nn.Module, weights: Mapping[str, Tensor], *, name: str) -> None:
    """Put weights into a network.

    Args:
        model: The network.
        weights: Under their own names.
        name: Of the student, for the error.

    Raises:
        ConflictError: The weights are those of another network.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConflictError(
            f"the weights do not fit {name}: {error}; its code or its arguments are others than "
            "when it was trained"
        ) from error


def capture(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of tensors, on the CPU."""
    return {name: _copy(tensor) for name, tensor in tensors.items()}


def _copy(tensor: Tensor) -> Tensor:
    # A copy of each: safetensors takes no two names of one memory, as tied weights are.
    return tensor.detach().cpu().clone().contiguous()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file; whoever is killed leaves the old one or the new one.

    Raises:
        StorageError: The disk refuses.
    """
    metadata = {_METADATA_KEY: checkpoint.info.model_dump_json()}
    data = safetensors.torch.save(dict(checkpoint.tensors), metadata)
    LocalStorage(path.parent).write(path.name, data)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file that `train` wrote.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is damaged, or something else.
    """
    data = LocalStorage(path.parent).read(path.name)
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        info = CheckpointInfo.model_validate_json(header["__metadata__"][_METADATA_KEY])
    except (SafetensorError, ValidationError, InvalidInputError, KeyError) as error:
        raise IntegrityError(
            f"{path} is damaged or no student of kdrec ({type(error).__name__}: {error}); give "
            "another file, or delete it and train again"
        ) from error
    return Checkpoint(info=info, tensors=tensors)


def check_same_run(
    info: CheckpointInfo, settings: TrainSettings, recording: SourceDescription, *, where: Path
) -> None:
    """Whether a training may go on from there.

    Raises:
        ConflictError: Other settings or another recording; shows what differs.
    """
    differences = info.settings.differences(settings)
    pairs = [("recording", info.recording.header, recording.header)]
    if info.recording.identity and recording.identity:
        pairs.append(("identity", info.recording.identity, recording.identity))
    differences += [f"{name}: {old} before, {new} now" for name, old, new in pairs if old != new]
    if differences:
        raise ConflictError(
            f"{where} is of another training ({'; '.join(differences)}); give the same settings to "
            "continue it, or another folder"
        )


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A student that was trained before.

    Attributes:
        model: In evaluation mode, on the CPU.
        info: How it was trained, and from what.
    """

    model: nn.Module
    info: CheckpointInfo


def load_student(path: Path, *, student: str | None = None) -> TrainedStudent:
    """Build the student of a checkpoint and load its weights.

    Args:
        path: `best.safetensors` or `last.safetensors` of a training, or its folder for the best.
        student: Its name or factory. Needed where it came from a factory: a file that is read
            names code, but never makes it run.

    Raises:
        NotFoundError: No such file.
        InvalidInputError: It came from a factory and none is given.
        IntegrityError: The file is damaged.
        ConflictError: The weights are those of another network.
    """
    checkpoint = read_checkpoint(path / BEST_NAME if path.is_dir() else path)
    info = checkpoint.info
    if student is None and is_factory(info.settings.student):
        raise InvalidInputError(
            f"{path} holds weights of {info.settings.student}, whose code would run; if you trust "
            "it, name it yourself as the student"
        )
    model = build_student(
        student or info.settings.student,
        num_classes=info.recording.num_classes,
        num_channels=len(info.recording.channels),
        arguments=info.settings.student_arguments,
    )
    restore_weights(model, checkpoint.weights, name=info.settings.student)
    return TrainedStudent(model=model.eval(), info=info)
