"""Logits on their way from the teacher's device to the host.

A GPU goes on with the next batch while the logits of the one before are copied to pinned memory on
a stream of their own; the host waits for them only when it wants to write them. Where a small part
of them is written they stay on the GPU, which finds that part, on the same stream.

Shape letters: K records, B batch, C classes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec.augment import Array, ViewParameters, namespace, to_host
from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.devices import is_out_of_memory

Logits = npt.NDArray[np.float32]


class Answers(Protocol):
    """What a teacher says about K records, batch after batch."""

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        """Take the logits of a batch; those beyond its records are padding.

        Raises:
            InvalidInputError: One is NaN or infinite; a device may say so only in `wait`.
        """

    def wait(self) -> Array:
        """All of them, (K, C), float32, when they are there: of numpy, unless they stay.

        Raises:
            InvalidInputError: One is NaN or infinite; names the record.
        """

    def beside(self) -> AbstractContextManager[None]:
        """Within it, what is done with answers that stay goes on beside the teacher's work.

        Raises:
            InvalidInputError: The device has not the memory for it.
        """

    def device_seconds(self) -> float | None:
        """What the device took from the first batch to the last, None where the host computes."""


def collect_answers(device: torch.device, num_records: int, *, stay: bool = False) -> Answers:
    """Where the logits of so many records go.

    Args:
        device: Of the teacher.
        num_records: K.
        stay: Whether a GPU keeps them, as a tensor.
    """
    if device.type == "cuda":
        return DeviceAnswers(device, num_records, stay=stay)
    return HostAnswers()


class HostAnswers:
    """Of a teacher on the CPU: they are there at once."""

    def __init__(self) -> None:
        self._pieces: list[Logits] = []

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        piece = logits_BC.numpy()[: len(records)]
        check_finite(piece, records.samples_B, views_B=records.views_B)
        self._pieces.append(piece)

    def wait(self) -> Logits:
        return np.concatenate(self._pieces)

    def beside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def device_seconds(self) -> float | None:
        return None


class DeviceAnswers:
    """Of a teacher on a GPU.

    Args:
        device: The GPU.
        num_records: K.
        stay: Whether they stay there.
    """

    def __init__(self, device: torch.device, num_records: int, *, stay: bool) -> None:
        self._device = device
        self._num_records = num_records
        self._stay = stay
        self._compute = torch.cuda.current_stream(device)
        self._side: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._began, self._asked = _event(enable_timing=True), _event(enable_timing=True)
        self._copied = _event(blocking=True)  # who waits sleeps
        self._began.record(self._compute)
        self._logits_KC: Tensor | None = None
        self._batches: list[ViewParameters] = []
        self._filled = 0

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        if self._logits_KC is None:
            self._logits_KC = self._room(logits_BC.shape[1])
        rows = slice(self._filled, self._filled + len(records))
        self._side.wait_stream(self._compute)
        with torch.cuda.stream(self._side):
            self._logits_KC[rows].copy_(logits_BC[: len(records)], non_blocking=True)
        logits_BC.record_stream(self._side)  # its memory is given to nobody before it was copied
        self._asked.record(self._compute)
        self._copied.record(self._side)
        self._batches.append(records)
        self._filled = rows.stop

    def _room(self, num_classes: int) -> Tensor:
        shape = self._num_records, num_classes
        if not self._stay:
            return torch.empty(shape, dtype=torch.float32, pin_memory=True)
        there_KC = torch.empty(shape, dtype=torch.float32, device=self._device)
        there_KC.record_stream(self._side)
        return there_KC

    def wait(self) -> Array:
        assert self._logits_KC is not None, "there is a batch"
        self._copied.synchronize()
        logits_KC: Array = self._logits_KC if self._stay else self._logits_KC.numpy()
        start = 0
        for records in self._batches:
            stop = start + len(records)
            check_finite(logits_KC[start:stop], records.samples_B, views_B=records.views_B)
            start = stop
        return logits_KC

    @contextmanager
    def beside(self) -> Iterator[None]:
        try:
            with torch.cuda.stream(self._side):
                yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InvalidInputError(
                f"device {self._device} has not the memory to find what is kept of a block of "
                f"{self._num_records} records; use smaller blocks, by --block-samples",
                kind=ErrorKind.OUT_OF_MEMORY,
            ) from error

    def device_seconds(self) -> float | None:
        self._asked.synchronize()
        return float(self._began.elapsed_time(self._asked)) / 1000


def _event(**options: bool) -> Any:
    return torch.cuda.Event(**options)  # type: ignore[no-untyped-call]


def check_finite(
    logits_BC: Array,
    samples_B: npt.NDArray[np.int64],
    *,
    views_B: npt.NDArray[np.int64] | None = None,
) -> None:
    """Refuse logits that are not numbers, before they are recorded.

    Args:
        logits_BC: Of a batch, of numpy or torch.
        samples_B: Number of the sample of each row.
        views_B: Number of the view of each row; None where the samples are not augmented.

    Raises:
        InvalidInputError: Names the sample and the view of the first NaN or infinity.
    """
    xp = namespace(logits_BC)
    if xp.all(xp.isfinite(logits_BC)):
        return
    logits_BC = to_host(logits_BC)
    row, column = np.argwhere(~np.isfinite(logits_BC))[0]
    where = "not augmented" if views_B is None else f"view {views_B[row]}"
    raise InvalidInputError(
        f"the teacher's logit of class {column} for sample {samples_B[row]}, {where}, is "
        f"{logits_BC[row, column]}; logits must be finite: check this sample's points, and use "
        "precision float32 if a lower one overflows",
        kind=ErrorKind.UNSUITABLE_TEACHER,
    )
