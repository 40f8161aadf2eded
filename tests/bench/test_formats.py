from pathlib import Path

import numpy as np
import pytest

from bench.fidelity import measure_fidelity
from bench.formats import (
    measure_encoding,
    measure_held_out,
    measure_other,
    measure_peer,
    measure_smaller,
)
from bench.peer_formats import PeerFormat, log_probabilities, peer_formats
from bench.real_logits import DrawnLogits, Logits
from bench.recorded_logits import Source, measure_sizes, project_sizes, write_recording
from kdrec.store import plan_encoding

VIEWS, SAMPLES, CLASSES = 12, 64, 40
BYTES = {
    "int8, affine per record": 44,
    "TinyViT, top 10, float16": 40,
    "FKD, top 5, float32": 40,
    "FKD, top 5, float16": 20,
    "DistillKit, recommended": 86,
    "DistillKit, budget": 44,
}


def _logits() -> Logits:
    draw = np.random.Generator(np.random.PCG64(0))
    of_sample = 6 * draw.normal(size=(1, SAMPLES, CLASSES))
    return (of_sample + draw.normal(size=(VIEWS, SAMPLES, CLASSES))).astype(np.float32)


def test_drawn_logits_are_the_same_again_and_new_in_every_block() -> None:
    drawn = DrawnLogits(_logits(), seed=1)
    first = drawn.block(0, views=8, samples=50)
    assert first.shape == (8, 50, CLASSES)
    assert np.array_equal(first, drawn.block(0, views=8, samples=50))
    records = np.concatenate([first, drawn.block(1, views=8, samples=50)]).reshape(-1, CLASSES)
    assert len(np.unique(records, axis=0)) == len(records)


def test_fidelity_is_the_divergence_both_ways_and_the_agreement() -> None:
    teacher = np.log(np.array([[0.5, 0.5], [0.9, 0.1]], dtype=np.float32))
    decoded = np.log(np.array([[0.25, 0.75], [0.9, 0.1]], dtype=np.float32))
    found = measure_fidelity(teacher, decoded, (1.0,))
    assert found.forward[0] == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2)
    assert found.reverse[0] == pytest.approx((0.25 * np.log(0.5) + 0.75 * np.log(1.5)) / 2)
    assert found.agreement == 0.5


@pytest.mark.parametrize("peer", peer_formats(), ids=lambda peer: peer.name)
def test_a_format_of_others_takes_the_bytes_of_its_description(peer: PeerFormat) -> None:
    records = _logits().reshape(-1, CLASSES)
    pieces = peer.encode(records)
    if peer.name in BYTES:
        assert sum(map(len, pieces)) == BYTES[peer.name] * len(records)
    decoded = peer.decode(pieces, CLASSES)
    assert decoded.shape == records.shape
    assert (decoded.argmax(axis=1) == records.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("name", ["TinyViT, top 10, float16", "ml-dr, top 10, gzip"])
def test_what_a_top_k_format_left_out_shares_the_missing_mass(name: str) -> None:
    (peer,) = [peer for peer in peer_formats() if peer.name == name]
    records = _logits()[0, :, :20] / np.float32(8)
    decoded = np.exp(peer.decode(peer.encode(records), 20))
    exact = np.exp(log_probabilities(records))
    kept = np.argsort(-exact, axis=1)[:, :10]
    assert np.allclose(
        np.take_along_axis(decoded, kept, 1), np.take_along_axis(exact, kept, 1), rtol=1e-3
    )
    assert np.allclose(decoded.sum(axis=1), 1, atol=1e-3)
    assert len(np.unique(decoded[0])) <= 11


def test_a_curve_that_keeps_every_class_exactly_is_bfloat16() -> None:
    (peer,) = [peer for peer in peer_formats() if peer.name == "DistillKit, recommended"]
    records = _logits()[0, :, :18]
    decoded = peer.decode(peer.encode(records), 18)
    exact = log_probabilities(records)
    largest = np.argsort(-exact, axis=1)[:, :16]
    assert np.allclose(
        np.take_along_axis(decoded, largest, 1), np.take_along_axis(exact, largest, 1), rtol=2**-8
    )


def test_the_sizes_of_a_recording_are_all_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    reader = write_recording(path, Source.of(_logits()), plan_encoding("compact"))
    sizes = measure_sizes(path)
    assert sizes.total == sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    same = project_sizes(sizes, reader.manifest.plan, views=VIEWS, samples=SAMPLES)
    assert same == sizes
    twice = project_sizes(sizes, reader.manifest.plan, views=2 * VIEWS, samples=SAMPLES)
    assert (twice.logits, twice.manifest) == (2 * sizes.logits, sizes.manifest)


def test_the_table_has_a_line_for_an_encoding_and_for_a_peer(tmp_path: Path) -> None:
    logits, encoding = _logits(), plan_encoding("compact", max_kl=1e-3)
    row = measure_encoding(tmp_path / "a.zarr", logits, encoding, logits[:8], 1)
    assert max(*row.fidelity.forward, *row.fidelity.reverse) <= 1e-3
    assert row.num_bytes < 80
    assert row.encoded is not None
    peer = measure_peer(peer_formats()[0], logits, logits[:8], 1)
    assert peer.num_bytes < 80
    assert "float16, Blosc-zstd" in str(peer)


def test_the_bound_holds_on_records_the_encoding_was_not_fitted_to(tmp_path: Path) -> None:
    row = measure_held_out(tmp_path / "a.zarr", _logits(), plan_encoding("compact", max_kl=1e-3))
    assert max(*row.fidelity.forward, *row.fidelity.reverse) <= 1e-3


def test_the_bound_holds_on_a_single_view_of_another_teacher() -> None:
    row = measure_other(_logits()[:1] / np.float32(3), plan_encoding("compact", max_kl=1e-3))
    assert max(*row.fidelity.forward, *row.fidelity.reverse) <= 1e-3
    assert row.num_bytes < 160  # 64 records bear the metadata of the array


def test_fewer_bytes_cost_a_larger_divergence(tmp_path: Path) -> None:
    encoding = plan_encoding("compact", max_kl=1e-3)
    write_recording(tmp_path / "a.zarr", Source.of(_logits()), encoding)
    sizes = measure_sizes(tmp_path / "a.zarr")
    row = measure_smaller(tmp_path, _logits(), encoding, sizes, tries=2)
    assert 0.8 < row.num_bytes / (sizes.logits / (VIEWS * SAMPLES)) < 1
    assert row.fidelity.forward[0] > 1e-3
