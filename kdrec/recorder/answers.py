"""Logits on their way from the teacher's device to the host.

A GPU goes on with the next batch while the logits of the one before are copied to pinned memory on
a stream of their own; the host waits for them only when it wants to write them.

Shape letters: K records, B batch, C classes.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec.augment import ViewParameters
from kdrec.errors import ErrorKind, InvalidInputError

Logits = npt.NDArray[np.float32]


class Answers(Protocol):
    """What a teacher says about K records, batch after batch."""

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        """Take the logits of a batch; those beyond its records are padding.

        Raises:
            InvalidInputError: One is NaN or infinite; a device may say so only in `wait`.
        """

    def wait(self) -> Logits:
        """All of them, (K, C), when they are there.

        Raises:
            InvalidInputError: One is NaN or infinite; names the record.
        """

    def device_seconds(self) -> float | None:
        """What the device took from the first batch to the last, None where the host computes."""


def collect_answers(device: torch.device, num_records: int) -> Answers:
    """Where the logits of so many records go."""
    if device.type == "cuda":
        return DeviceAnswers(device, num_records)
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

    def device_seconds(self) -> float | None:
        return None


class DeviceAnswers:
    """Of a teacher on a GPU.

    Args:
        device: The GPU.
        num_records: K.
    """

    def __init__(self, device: torch.device, num_records: int) -> None:
        self._num_records = num_records
        self._compute = torch.cuda.current_stream(device)
        self._side: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._began, self._asked = _event(enable_timing=True), _event(enable_timing=True)
        self._copied = _event(blocking=True)  # who waits sleeps
        self._began.record(self._compute)
        self._host_KC: Tensor | None = None
        self._batches: list[ViewParameters] = []
        self._filled = 0

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        if self._host_KC is None:
            shape = self._num_records, logits_BC.shape[1]
            self._host_KC = torch.empty(shape, dtype=torch.float32, pin_memory=True)
        rows = slice(self._filled, self._filled + len(records))
        self._side.wait_stream(self._compute)
        with torch.cuda.stream(self._side):
            self._host_KC[rows].copy_(logits_BC[: len(records)], non_blocking=True)
        logits_BC.record_stream(self._side)  # its memory is given to nobody before it was copied
        self._asked.record(self._compute)
        self._copied.record(self._side)
        self._batches.append(records)
        self._filled = rows.stop

    def wait(self) -> Logits:
        assert self._host_KC is not None, "there is a batch"
        self._copied.synchronize()
        logits_KC: Logits = self._host_KC.numpy()
        start = 0
        for records in self._batches:
            stop = start + len(records)
            check_finite(logits_KC[start:stop], records.samples_B, views_B=records.views_B)
            start = stop
        return logits_KC

    def device_seconds(self) -> float | None:
        self._asked.synchronize()
        return float(self._began.elapsed_time(self._asked)) / 1000


def _event(**options: bool) -> Any:
    return torch.cuda.Event(**options)  # type: ignore[no-untyped-call]


def check_finite(
    logits_BC: Logits,
    samples_B: npt.NDArray[np.int64],
    *,
    views_B: npt.NDArray[np.int64] | None = None,
) -> None:
    """Refuse logits that are not numbers, before they are recorded.

    Args:
        logits_BC: Of a batch.
        samples_B: Number of the sample of each row.
        views_B: Number of the view of each row; None where the samples are not augmented.

    Raises:
        InvalidInputError: Names the sample and the view of the first NaN or infinity.
    """
    finite_BC = np.isfinite(logits_BC)
    if finite_BC.all():
        return
    row, column = np.argwhere(~finite_BC)[0]
    where = "not augmented" if views_B is None else f"view {views_B[row]}"
    raise InvalidInputError(
        f"the teacher's logit of class {column} for sample {samples_B[row]}, {where}, is "
        f"{logits_BC[row, column]}; logits must be finite: check this sample's points, and use "
        "precision float32 if a lower one overflows",
        kind=ErrorKind.UNSUITABLE_TEACHER,
    )
