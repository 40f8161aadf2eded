"""Proof records beside what is stored of them, and what a clean sample is worth."""

from pathlib import Path

import numpy as np
import pytest

from kdrec.samples import make_shapes
from kdrec.store import (
    LocalStorage,
    RecordingReader,
    choose_proof,
    count_draws,
    plan_encoding,
    read_stored_proof,
    unnoticed_share,
)
from kdrec.testing import make_plan, make_recording


def test_only_proof_records_in_the_blocks_asked_for_are_read(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr", blocks=1)  # proof: view 0 of sample 0, view 4 of sample 19
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    stored = read_stored_proof(reader, blocks=set(reader.committed()))
    assert (len(stored), stored.kept) == (1, 2)
    np.testing.assert_array_equal(stored.logits_MC, stored.proof.logits_MC)
    assert len(read_stored_proof(reader, blocks=set())) == 0


def test_few_records_are_decoded_where_few_are_allowed(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    every = set(reader.committed())
    assert len(read_stored_proof(reader, blocks=every)) == 2
    assert len(read_stored_proof(reader, blocks=every, most_records=16)) == 1
    assert len(read_stored_proof(reader, blocks=every, most_records=17)) == 2


def test_a_clean_sample_says_how_much_could_be_wrong() -> None:
    assert unnoticed_share(0) == 1
    assert unnoticed_share(1) == pytest.approx(0.95)
    assert unnoticed_share(32) == pytest.approx(0.0894, abs=1e-3)
    assert unnoticed_share(32, confidence=0.99) > unnoticed_share(32)
    # By trial: with that share wrong, a sample of this size is clean once in twenty.
    drawn = np.random.default_rng(0).random((20_000, 32)) < unnoticed_share(32)
    assert (~drawn.any(axis=1)).mean() == pytest.approx(0.05, abs=0.006)


def test_a_record_drawn_twice_is_one_draw(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    proof = reader.proof()
    assert count_draws(proof, reader.manifest) == 2
    assert count_draws(proof.rows(np.array([0, 0, 1])), reader.manifest) == 2
    assert count_draws(proof.rows(np.array([0, 0])), reader.manifest) == 1


@pytest.mark.parametrize(
    ("views", "samples", "least", "most"),
    [(1, 3, 1, 3), (2, 20, 5, 8), (12, 908, 25, 27), (300, 9840, 250, 256)],
)
def test_proof_records_are_a_few_draws_of_the_whole_plan(
    views: int, samples: int, least: int, most: int
) -> None:
    plan = make_plan(make_shapes(1, seed=0, num_points=8), views=views)
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"num_samples": samples})})
    views_M, samples_M = choose_proof(plan)
    assert least <= len(set(zip(views_M.tolist(), samples_M.tolist(), strict=True))) <= most
    assert 0 <= views_M.min() <= views_M.max() < views
    assert 0 <= samples_M.min() <= samples_M.max() < samples


def test_a_sparse_recording_keeps_fewer_records_of_all_its_classes() -> None:
    plan = make_plan(make_shapes(1, seed=0, num_points=8), views=100)
    data = plan.data.model_copy(update={"num_samples": 1000})
    dense = plan.model_copy(update={"data": data})
    sparse = dense.model_copy(update={"encoding": plan_encoding("topk")})
    assert len(choose_proof(sparse)[0]) <= 25 < 240 < len(choose_proof(dense)[0])
