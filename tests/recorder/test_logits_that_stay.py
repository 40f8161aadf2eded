"""Logits that stay on the teacher's device, as torch's, where a small part of them is written.

Here the device is a CPU; tests/recorder/test_on_a_gpu.py has the same on a GPU.

Shape letters: B records, C classes, K records of a block.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kdrec.augment import ViewParameters
from kdrec.errors import InvalidInputError
from kdrec.recorder import passes
from kdrec.recorder.answers import Answers, check_finite, collect_answers
from kdrec.store import SparseLogits, find_encoding, plan_encoding
from tests.programs import contents
from tests.recorder.toy_teachers import record_toy, toy, write_toys


class StayingAnswers:
    """Answers of a device that keeps them."""

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []
        self._records: list[ViewParameters] = []

    def add(self, logits_BC: Tensor, records: ViewParameters) -> None:
        self._pieces.append(logits_BC[: len(records)])
        self._records.append(records)

    def wait(self) -> Tensor:
        for piece_BC, records in zip(self._pieces, self._records, strict=True):
            check_finite(piece_BC, records.samples_B, views_B=records.views_B)
        return torch.cat(self._pieces)

    def beside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def device_seconds(self) -> float | None:
        return None


@pytest.fixture
def stayed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the logits of each question stayed."""
    asked: list[bool] = []

    def collect(device: torch.device, num_records: int, *, stay: bool = False) -> Answers:
        asked.append(stay)
        return StayingAnswers() if stay else collect_answers(device, num_records)

    monkeypatch.setattr(passes, "collect_answers", collect)
    return asked


def test_what_is_kept_of_them_is_what_numpy_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_BC = torch.randn(50, 600, generator=generator) * 4
    logits_BC[:, ::3] = logits_BC[:, ::3].round()  # with equals
    for kept in (1, 7, 600, 601):
        there, here = SparseLogits.of(logits_BC, kept), SparseLogits.of(logits_BC.numpy(), kept)
        np.testing.assert_array_equal(there.values_BK, here.values_BK)
        np.testing.assert_array_equal(there.classes_BK, here.classes_BK)
        np.testing.assert_array_max_ulp(there.mass_B2, here.mass_B2)


def test_wrong_ones_are_found_where_they_lie() -> None:
    topk, asked = find_encoding("topk"), plan_encoding("topk", kept=4)
    logits_MC = torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
    bound = topk.fit(asked, logits_MC.numpy()).bound
    stored = {
        name: values.reshape(6, -1)
        for name, values in topk.to_stored(logits_MC[None], asked, bound).items()
    }
    assert not topk.beyond(logits_MC, stored, (bound,), slack=0.0).any()
    logits_MC[2, int(stored["classes"][2, 0])] -= 1  # a kept one
    logits_MC[4, 29 if 29 not in stored["classes"][4] else 28] += 20  # one that was not
    found = topk.beyond(logits_MC, stored, (bound,), slack=0.0)
    assert found.tolist() == [False, False, True, False, True, False]
    np.testing.assert_array_equal(
        found, topk.beyond(logits_MC.numpy(), stored, (bound,), slack=0.0)
    )


def test_a_recording_of_logits_that_stayed_has_the_same_bytes(
    tmp_path: Path, stayed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = toy(write_toys(tmp_path), classes=300)
    chosen = tuple(range(40, 52))
    record_toy(tmp_path / "stayed.zarr", teacher, encoding="topk", class_map=chosen)
    assert any(stayed)
    monkeypatch.undo()
    record_toy(tmp_path / "came.zarr", teacher, encoding="topk", class_map=chosen)
    assert contents(tmp_path / "stayed.zarr") == contents(tmp_path / "came.zarr")


def test_what_is_written_whole_does_not_stay(tmp_path: Path, stayed: list[bool]) -> None:
    teacher = toy(write_toys(tmp_path))
    for encoding in ("exact", "half", "compact", "portable"):
        record_toy(tmp_path / f"{encoding}.zarr", teacher, encoding=encoding)
    assert stayed
    assert not any(stayed)


def test_a_logit_that_stayed_and_is_no_number_is_named() -> None:
    logits_BC = torch.zeros(3, 40)
    logits_BC[1, 17] = torch.inf
    with pytest.raises(InvalidInputError, match=r"class 17 for sample 8, view 2, is inf"):
        check_finite(logits_BC, np.array([7, 8, 9]), views_B=np.array([2, 2, 2]))
