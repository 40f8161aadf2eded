"""The plan: what fully determines a recording, and nothing else (no path, host, time, user)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from kdrec.augment import Augmentation
from kdrec.rng import MAX_SEED


class Frozen(BaseModel):
    """What every part of a manifest is: immutable, and strict about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TeacherPlan(Frozen):
    """The teacher.

    Attributes:
        name: Of the factory or the registered model, without its path.
        arguments: Of the factory; a file among them as `sha256:DIGEST`.
        tensors: Digest of all its tensors.
        input_layout: `BN3` or `B3N`.
        output: Entry of the tuple or dict it returns, None for a plain tensor.
    """

    name: str
    arguments: dict[str, bool | int | float | str] = {}
    tensors: str
    input_layout: Literal["BN3", "B3N"] = "BN3"
    output: str | None = None


class DataPlan(Frozen):
    """The data set after preprocessing.

    Attributes:
        digest: Over the content digests and labels of all samples, in order.
        num_samples: N.
        num_points: Points of a sample.
        channels: Columns of a point.
        point_choice: How the points were chosen from a larger cloud.
    """

    digest: str
    num_samples: int = Field(ge=1)
    num_points: int = Field(ge=1)
    channels: tuple[str, ...]
    point_choice: Literal["first", "farthest"] = "first"


class EncodingPlan(Frozen):
    """How logits are stored, and what is asked of their fidelity.

    Attributes:
        name: Of the encoding.
        max_kl: Mean Kullback-Leibler divergence over records, in nats.
        max_error: Of every logit.
        kept: Classes kept of each record; None for all.
        missing_mass: Where the probability of classes that are not kept is taken to lie: evenly on
            all of them. Not written where all are kept.
    """

    name: str
    max_kl: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_error: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    kept: int | None = Field(default=None, ge=1)
    missing_mass: Literal["even"] | None = None

    @model_serializer(mode="wrap")
    def _without_missing_mass(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        if written["missing_mass"] is None:
            del written["missing_mass"]
        return written

    def __str__(self) -> str:
        asked = {"kept": self.kept, "max_kl": self.max_kl, "max_error": self.max_error}
        said = [f"{dial} {value:g}" for dial, value in asked.items() if value is not None]
        return f"{self.name} with {', '.join(said)}" if said else self.name


class Plan(Frozen):
    """See the module.

    Attributes:
        views: V.
        group: Views coded together.
        batch_size: Clouds the teacher gets at once, always this many (the last batch is padded).
        block_samples: Samples of a block, a multiple of the batch size.
        threads: Of the CPU; they change the last bits of CPU logits.
        device: Kind of device; so does it.
        with_samples: Whether the preprocessed points are kept in the recording.
        class_map: Teacher column of each class of the data, None if they are the same classes.
        fast: Whether its bytes may differ from run to run: the device chose its algorithms by
            their speed, and blocks for which there was no memory were recorded in smaller batches
            (their ledger entries say in which). Not written where it is false.
        compiled: Whether the teacher was compiled by torch, which changes the last bits. Not
            written where it is false.
    """

    teacher: TeacherPlan
    data: DataPlan
    augmentation: Augmentation
    seed: int = Field(ge=0, le=MAX_SEED)
    views: int = Field(ge=1)
    group: int = Field(ge=1)
    precision: Literal["float32", "tf32", "bf16", "fp16"] = "float32"
    device: str = "cpu"
    batch_size: int = Field(ge=1)
    block_samples: int = Field(ge=1)
    threads: int = Field(ge=1)
    encoding: EncodingPlan
    with_samples: bool
    class_map: tuple[int, ...] | None = None
    fast: bool = False
    compiled: bool = False

    @model_serializer(mode="wrap")
    def _without_false_flags(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        for flag in ("fast", "compiled"):
            if not written[flag]:
                del written[flag]
        return written

    @model_validator(mode="after")
    def _whole_batches(self) -> "Plan":
        if self.block_samples % self.batch_size:
            raise ValueError(
                f"block_samples must be a multiple of the batch size {self.batch_size}, "
                f"got {self.block_samples}"
            )
        return self

    def differences(self, other: "Plan") -> list[str]:
        """What differs, a line each: `seed: 0 recorded, 1 now`."""
        mine, theirs = _leaves(self.model_dump(mode="json")), _leaves(other.model_dump(mode="json"))
        names = sorted(mine.keys() | theirs.keys())
        return [
            f"{name}: {mine.get(name, 'nothing')} recorded, {theirs.get(name, 'nothing')} now"
            for name in names
            if mine.get(name) != theirs.get(name)
        ]


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _leaves(inner, f"{prefix}.{key}" if prefix else key)
    return found


@dataclass(frozen=True, slots=True)
class Block:
    """A view group x a range of samples: the unit of recording, commit, transfer and repair.

    Attributes:
        group: Number of the view group.
        part: Number of the sample range.
        views: Its views.
        samples: Its samples.
    """

    group: int
    part: int
    views: range
    samples: range

    @property
    def name(self) -> str:
        """Follows from the plan alone."""
        return f"g{self.group:05d}-p{self.part:05d}"

    @property
    def ledger_key(self) -> str:
        """The file of its ledger entry."""
        return f"ledger/{self.name}.json"

    def shard_key(self, array: str) -> str:
        """The file of its shard of an array."""
        return f"{array}/c/{self.group}/{self.part}/0"

    def __str__(self) -> str:
        views = f"views {self.views.start}..{self.views.stop - 1}"
        return f"block {self.name} ({views}, samples {self.samples.start}..{self.samples.stop - 1})"


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """How the views and samples of a plan fall into blocks."""

    views: int
    samples: int
    group: int
    block_samples: int

    @classmethod
    def of(cls, plan: Plan) -> "BlockGrid":
        """The grid of a plan."""
        return cls(plan.views, plan.data.num_samples, plan.group, plan.block_samples)

    @property
    def num_groups(self) -> int:
        """Number of view groups."""
        return -(-self.views // self.group)

    @property
    def num_parts(self) -> int:
        """Number of sample ranges."""
        return -(-self.samples // self.block_samples)

    def __len__(self) -> int:
        return self.num_groups * self.num_parts

    def block(self, group: int, part: int) -> Block:
        """The block at a place of the grid."""
        first, start = group * self.group, part * self.block_samples
        return Block(
            group=group,
            part=part,
            views=range(first, min(first + self.group, self.views)),
            samples=range(start, min(start + self.block_samples, self.samples)),
        )

    def __iter__(self) -> Iterator[Block]:
        """All blocks, view group after view group."""
        for group in range(self.num_groups):
            for part in range(self.num_parts):
                yield self.block(group, part)


_BLOCK_BYTES = 8 * 2**20


def default_block_samples(*, num_samples: int, group: int, classes: int, batch_size: int) -> int:
    """Samples of a block: about 8 MiB of float32 logits, whole batches, not more than there are."""
    wanted = max(1, _BLOCK_BYTES // (4 * group * classes * batch_size))
    return min(wanted, -(-num_samples // batch_size)) * batch_size
