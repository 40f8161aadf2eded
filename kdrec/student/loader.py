"""A loader that says where it is, and goes on from there with any number of processes."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdrec.errors import ConflictError, InvalidInputError
from kdrec.rng import MAX_SEED
from kdrec.student.batches import (
    BatchSource,
    RecordedBatch,
    ShuffledBatches,
    make_loader,
)


class LoaderState(BaseModel):
    """Where a loader is; plain numbers, the same for all processes.

    Attributes:
        seed: Of the order.
        num_samples: Of an epoch.
        epoch: Its number.
        position: Samples of it, over all processes, that were given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seed: int = Field(ge=0, le=MAX_SEED)
    num_samples: int = Field(ge=1)
    epoch: int = Field(ge=0)
    position: int = Field(ge=0)


class RecordedLoader:
    """Shuffled batches of a source, epoch by epoch, that can be stopped between any two.

    The order of an epoch depends on seed and epoch alone, and every process takes its share of each
    batch: stopped with eight processes and continued with three, the samples come in the same
    order. Nothing has to divide by anything.

        for epoch in range(loader.epoch, 100):
            loader.set_epoch(epoch)
            for batch in loader:
                ...  # loader.state_dict() here goes on after this batch

    What workers have prepared and the loop has not taken counts as not given.

    Args:
        source: `RecordedViews`, or another source of batches.
        batch_size: Samples of a step, over all processes together.
        seed: Of the order.
        rank: Of several processes that share each batch, this one.
        num_processes: How many they are.
        num_workers: Processes that read and replay; they change nothing that is given.
        pin_memory: As of torch's loader.

    Raises:
        InvalidInputError: The numbers do not go together.
    """

    def __init__(
        self,
        source: BatchSource,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        num_processes: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self._source = source
        self._seed = seed
        self._order = ShuffledBatches(
            len(source), batch_size, seed=seed, rank=rank, num_processes=num_processes
        )
        self._num_whole = len(self._order)
        self._batches = make_loader(
            source, self._order, num_workers=num_workers, pin_memory=pin_memory
        )
        self._epoch = self._position = self._begin = 0

    @property
    def epoch(self) -> int:
        """That is given now, or will be."""
        return self._epoch

    @property
    def sampler(self) -> "RecordedLoader":
        """Itself: programs that set the epoch of a loader's sampler, as Lightning does, set its."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Give this epoch from now on, from its beginning unless a state within it was loaded.

        Raises:
            InvalidInputError: It is negative.
        """
        if epoch != self._epoch:
            self._epoch, self._position, self._begin = epoch, 0, 0
        self._source.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._num_whole

    def __iter__(self) -> Iterator[RecordedBatch]:
        """What is left of the epoch; after that, the same epoch again until another is set."""
        begin, self._begin = self._begin, 0
        self._source.set_epoch(self._epoch)
        self._order.set_epoch(self._epoch, start=begin)
        self._position = begin
        for size, (batch,) in zip(self._order.sizes(), self._batches, strict=True):
            self._position += size
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where it is, after the batch that was given last; every process has the same."""
        return LoaderState(
            seed=self._seed,
            num_samples=len(self._source),
            epoch=self._epoch,
            position=self._position,
        ).model_dump()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from there, with any batch size, number of processes and of workers.

        Raises:
            InvalidInputError: It is no state of a loader.
            ConflictError: It is of another order, or of other data.
        """
        try:
            found = LoaderState.model_validate(dict(state))
        except ValidationError as error:
            raise InvalidInputError(
                f"this is no state of a loader ({error.errors()[0]['msg']}, got {dict(state)!r}); "
                "give what state_dict returned"
            ) from error
        for name, here in (("seed", self._seed), ("num_samples", len(self._source))):
            if getattr(found, name) != here:
                raise ConflictError(
                    f"the state is of {name} {getattr(found, name)}, this loader of {here}; make "
                    "the loader as it was, or begin anew"
                )
        if found.position > found.num_samples:
            raise InvalidInputError(
                f"position must be from 0 to {found.num_samples}, got {found.position}"
            )
        self._epoch = found.epoch
        self._position = self._begin = found.position
