"""Thousands of classes: the largest logits, and the mass of the rest.

Shape letters: V views, S samples, C classes, B records, K kept classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.errors import IntegrityError, InvalidInputError
from kdrec.samples import make_shapes
from kdrec.store import (
    LocalStorage,
    RecordingReader,
    SparseLogits,
    find_encoding,
    plan_encoding,
    verify_bytes,
)
from kdrec.testing import make_plan, make_recording

Logits = npt.NDArray[np.float32]
VIEWS, CLASSES, KEPT = 3, 300, 7


def softmax_logs(logits_BC: Logits, temperature: float) -> npt.NDArray[np.float64]:
    scaled = logits_BC.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))


@settings(deadline=None)
@given(
    logits_BC=arrays(np.float32, (3, 9), elements=st.floats(-80, 80, width=32)),
    kept=st.integers(1, 9),
)
def test_kept_logits_are_the_largest_and_their_probabilities_are_true(
    logits_BC: Logits, kept: int
) -> None:
    sparse = SparseLogits.of(logits_BC, kept)
    np.testing.assert_array_equal(sparse.values_BK, -np.sort(-logits_BC, axis=1)[:, :kept])
    found_BK = np.take_along_axis(logits_BC, sparse.classes_BK, axis=1)
    np.testing.assert_array_equal(found_BK, sparse.values_BK)
    log_BK, log_rest_B = sparse.log_probs()
    true_BC = softmax_logs(logits_BC, 1.0)
    np.testing.assert_allclose(
        log_BK, np.take_along_axis(true_BC, sparse.classes_BK, axis=1), rtol=1e-5, atol=1e-4
    )
    total = np.exp(log_BK).sum(axis=1) + (9 - kept) * np.exp(log_rest_B) * (kept < 9)
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dense_logits_and_probabilities_are_one_rule(temperature: float) -> None:
    logits_BC = np.random.default_rng(0).normal(size=(5, 50)).astype(np.float32) * 4
    sparse = SparseLogits.of(logits_BC, 6)
    log_BC = softmax_logs(sparse.dense_logits(), temperature)
    log_BK, log_rest_B = sparse.log_probs(temperature)
    np.testing.assert_allclose(np.take_along_axis(log_BC, sparse.classes_BK, axis=1), log_BK, 1e-4)
    unkept = np.setdiff1d(np.arange(50), sparse.classes_BK[0])
    np.testing.assert_allclose(log_BC[0, unkept], log_rest_B[0], 1e-4)


def test_equal_logits_are_kept_by_class_on_every_machine() -> None:
    sparse = SparseLogits.of(np.zeros((2, 1000), dtype=np.float32), 4)
    assert sparse.classes_BK.tolist() == [[0, 1, 2, 3]] * 2


@pytest.fixture
def recording(tmp_path: Path) -> tuple[RecordingReader, Logits]:
    samples = make_shapes(10, seed=0, num_points=8)
    asked = plan_encoding("topk", kept=KEPT)
    plan = make_plan(samples, views=VIEWS, group=2, block_samples=4, encoding=asked)
    logits = make_recording(tmp_path / "r.zarr", samples, plan=plan, num_classes=CLASSES)
    return RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr"), logits


def test_a_recording_keeps_the_largest_within_the_bound(
    recording: tuple[RecordingReader, Logits], tmp_path: Path
) -> None:
    reader, logits_VSC = recording
    for view in range(VIEWS):
        _, sparse = reader.read_sparse(view)
        true = SparseLogits.of(logits_VSC[view], KEPT)
        np.testing.assert_array_equal(sparse.classes_BK, true.classes_BK)
        assert np.abs(sparse.values_BK - true.values_BK).max() <= 0.05 + 1e-5
        np.testing.assert_array_equal(sparse.mass_B2, true.mass_B2)
        np.testing.assert_array_equal(reader.read(view)[1], sparse.dense_logits())
    *_, report = verify_bytes(reader, LocalStorage(tmp_path / "r.zarr"))
    assert (report.damaged, report.proof_checked) == ([], 2)


def test_all_classes_are_not_read_as_sparse(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    with pytest.raises(InvalidInputError, match="keeps the logits of all classes"):
        reader.read_sparse(0)


def test_a_class_that_there_is_not_is_refused() -> None:
    topk = find_encoding("topk")
    stored: dict[str, npt.NDArray[Any]] = {
        "logits": np.zeros((1, 2), np.float32),
        "classes": np.array([[0, 300]], np.uint16),
        "mass": np.zeros((1, 2), np.float32),
    }
    with pytest.raises(IntegrityError, match="keeps class 300 of 300"):
        topk.to_logits(stored, CLASSES)


def test_dense_logits_beyond_memory_are_refused() -> None:
    pairs = np.zeros((4, 2), np.float32)
    sparse = SparseLogits(pairs, pairs.astype(np.uint32), pairs, 2**31)
    with pytest.raises(InvalidInputError, match="read fewer at once, or sparse"):
        sparse.dense_logits()


@pytest.mark.parametrize(
    ("classes", "name"), [(40, "compact"), (2048, "compact"), (2049, "topk"), (2**31, "topk")]
)
def test_an_encoding_is_chosen_by_the_number_of_classes(classes: int, name: str) -> None:
    assert plan_encoding(num_classes=classes).name == name
    assert plan_encoding("exact", num_classes=classes).name == "exact"


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"name": "exact", "max_kl": 1.0}, "exact has no max_kl, got 1; allowed are: none"),
        ({"name": "topk", "max_kl": 1.0}, "topk has no max_kl"),
        (
            {"name": "compact", "kept": 3},
            "compact has no kept, got 3; allowed are: max_kl",
        ),
        ({"name": "compact", "max_kl": 1e-3, "max_error": 1e-3}, "either max_kl or max_error"),
        ({"name": "compact", "max_kl": -1.0}, "max_kl: .*greater than 0, got -1"),
        ({"name": "topk", "kept": 0}, "kept: .*got 0"),
        ({"name": "zip"}, "no encoding 'zip'; allowed are: compact"),
    ],
)
def test_what_an_encoding_cannot_keep_is_refused(dials: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plan_encoding(**dials)  # type: ignore[arg-type]
