"""Several teachers as one: the mean of their logits or of their probabilities.

A TOML file names them, each with the options that a teacher has; paths are relative to it:

    mean = "probabilities"

    [[member]]
    teacher = "pointnet"
    weights = "pointnet.npz"

    [[member]]
    teacher = "dgcnn.onnx"

Shape letters: B batch, N points, D channels, C classes.
"""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError, describe_invalid
from kdrec.factories import is_factory
from kdrec.recorder.onnx_network import is_onnx

ENDING = ".toml"
Mean = Literal["logits", "probabilities"]


class Member(BaseModel):
    """One teacher of an ensemble, with the meaning of the options of `kdrec record`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    arguments: dict[str, int | float | bool | str] = {}
    weights: Path | None = None
    weights_key: str | None = None
    input_layout: Literal["BN3", "B3N"] = "BN3"
    output: str | None = None


class Ensemble(BaseModel):
    """What an ensemble's file says.

    Attributes:
        mean: `logits`: their mean, which is the geometric mean of the probabilities;
            `probabilities`: the logarithm of the mean of the probabilities.
        member: The teachers, two or more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Mean
    member: Annotated[tuple[Member, ...], Field(min_length=2)]


class LoadedMember(Protocol):
    """A teacher that was loaded, as far as an ensemble needs it."""

    @property
    def name(self) -> str:
        """Never a path."""

    @property
    def module(self) -> nn.Module:
        """Its network."""

    @property
    def digest(self) -> str:
        """Of its tensors."""

    @property
    def described_arguments(self) -> Mapping[str, int | float | bool | str]:
        """Without paths."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """As it names its classes."""

    def logits(self, points_BND: Tensor) -> Tensor:
        """Of a batch, (B, C)."""


class EnsembleNetwork(nn.Module):
    """The mean of what its members say.

    Args:
        members: Two or more.
        mean: Of what.

    Raises:
        InvalidInputError: The members name their classes differently.
    """

    def __init__(self, members: Sequence[LoadedMember], mean: Mean) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.module for member in members)
        self._members = tuple(members)
        self._mean = mean
        named = {member.class_names for member in members if member.class_names is not None}
        if len(named) > 1:
            raise InvalidInputError(
                "the members of the ensemble name their classes differently; all must have the "
                "same classes in the same order",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )
        if named:
            self.class_names = named.pop()

    def forward(self, points_BND: Tensor) -> Tensor:
        """Points (B, N, D) to logits (B, C).

        Raises:
            InvalidInputError: The members have not the same number of classes.
        """
        found = [member.logits(points_BND) for member in self._members]
        if len({logits_BC.shape for logits_BC in found}) > 1:
            counts = ", ".join(str(logits_BC.shape[1]) for logits_BC in found)
            raise InvalidInputError(
                f"the members of the ensemble have {counts} classes; all must have the same",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )
        return mean_logits(torch.stack(found), self._mean)

    def digest(self, ensemble: Ensemble) -> str:
        """Of everything that makes its logits, in the order of the members."""
        parts = [
            [member.name, dict(member.described_arguments), member.digest, said.input_layout,
             said.output]
            for member, said in zip(self._members, ensemble.member, strict=True)
        ]  # fmt: skip
        return hashlib.sha256(json.dumps([self._mean, parts], sort_keys=True).encode()).hexdigest()


def mean_logits(logits_MBC: Tensor, mean: Mean) -> Tensor:
    """One teacher's logits from those of several (or of several draws).

    Args:
        logits_MBC: One (B, C) for each.
        mean: `logits`, or `probabilities`: then the logarithm of the mean, without an epsilon.
    """
    if mean == "logits":
        return logits_MBC.mean(dim=0)
    log_MBC = torch.log_softmax(logits_MBC, dim=-1)
    return torch.logsumexp(log_MBC, dim=0) - math.log(len(logits_MBC))


def is_ensemble(teacher: str) -> bool:
    """Whether the text names the file of an ensemble."""
    return teacher.lower().endswith(ENDING)


def read_ensemble(path: Path) -> Ensemble:
    """What the file says, its paths made complete.

    Raises:
        InvalidInputError: It is no TOML, or says something else.
        NotFoundError: There is no such file.
    """
    try:
        said = tomllib.loads(path.read_text())
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no TOML: {error}") from error
    try:
        ensemble = Ensemble.model_validate(said)
    except ValidationError as error:
        raise InvalidInputError(
            f'{path}: {describe_invalid(error)}; an ensemble says mean = "logits" or '
            '"probabilities" and names each teacher in a [[member]] of its own'
        ) from error
    members = tuple(_located(member, path.parent) for member in ensemble.member)
    return ensemble.model_copy(update={"member": members})


def _located(member: Member, folder: Path) -> Member:
    teacher = member.teacher
    if is_ensemble(teacher):
        raise InvalidInputError(
            f"{teacher} is an ensemble; its members must be teachers themselves"
        )
    module, _, _ = teacher.rpartition(":")
    if is_onnx(teacher) or (is_factory(teacher) and module.endswith(".py")):
        teacher = str(folder / teacher)
    weights = None if member.weights is None else folder / member.weights
    return member.model_copy(update={"teacher": teacher, "weights": weights})
