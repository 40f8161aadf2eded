"""Proof records beside what is stored of them, and what a clean sample is worth."""

from pathlib import Path

import numpy as np
import pytest

from kdrec.store import (
    LocalStorage,
    RecordingReader,
    count_draws,
    read_stored_proof,
    unnoticed_share,
)
from kdrec.testing import make_recording


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


def test_views_of_one_sample_in_one_group_are_one_draw(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r.zarr")
    proof = reader.proof()
    assert count_draws(proof, reader.manifest) == 2
    assert count_draws(proof.rows(np.array([0, 0, 1])), reader.manifest) == 2
    assert count_draws(proof.rows(np.array([0, 0])), reader.manifest) == 1
