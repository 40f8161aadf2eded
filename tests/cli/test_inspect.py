"""`kdrec inspect`: the fidelity section, for people and for machines, here and over a network."""

from pathlib import Path

import pytest

from kdrec.samples import make_shapes
from kdrec.store import plan_encoding
from kdrec.testing import flip_bit, make_plan, make_recording
from tests.programs import kdrec, service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    samples = make_shapes(20, seed=0, num_points=32)
    for encoding in ("exact", "half", "topk"):
        plan = make_plan(samples, encoding=plan_encoding(encoding))
        make_recording(folder / f"{encoding}.zarr", samples, plan=plan)
    make_recording(folder / "begun.zarr", samples, blocks=0)
    return folder


def test_fidelity_is_shown_with_both_directions_classes_and_the_worst_record(folder: Path) -> None:
    shown = kdrec("inspect", folder / "half.zarr").out
    for part in ("on 2 of 2 proof records", "T 1 ", "T 8", "teacher to stored",
                 "stored to teacher", "class helix", "top-1 agreement    100.0 %",
                 "calibration error", "largest error", "view 4 of sample 19"):  # fmt: skip
        assert part in shown
    assert "of float16" in shown


def test_an_exact_recording_loses_nothing(folder: Path) -> None:
    found = kdrec("inspect", folder / "exact.zarr", "--json").json["fidelity"]
    assert [(d["forward"], d["reverse"]) for d in found["divergences"]] == [(0, 0)] * 4
    assert (found["agreement"], found["largest_error"]) == (1, 0)
    assert found["calibration"]["change"] == 0


def test_machines_get_every_class_and_temperature(folder: Path) -> None:
    found = kdrec("inspect", folder / "half.zarr", "--json").json["fidelity"]
    assert [d["temperature"] for d in found["divergences"]] == [1, 2, 4, 8]
    assert all(0 < d["forward"] < 1e-6 for d in found["divergences"])
    assert sum(each["records"] for each in found["by_class"]) == found["records"] == 2
    assert found["worst"]["divergence"] >= found["divergences"][0]["forward"]


def test_classes_and_masses_count_as_bytes_of_the_logits(folder: Path) -> None:
    path = folder / "topk.zarr"
    shards = [p for name in ("logits", "classes", "mass") for p in path.glob(f"{name}/c/*/*/0")]
    found = kdrec("inspect", path, "--json").json
    plan = found["manifest"]["plan"]
    records = plan["views"] * plan["data"]["num_samples"]
    assert found["logit_bytes_per_record"] * records == sum(p.stat().st_size for p in shards)


def test_what_is_not_measured_is_said_so(folder: Path, tmp_path: Path) -> None:
    assert (
        "no proof record is in a block that is here" in kdrec("inspect", folder / "begun.zarr").out
    )
    assert "not measured" in kdrec("inspect", folder / "half.zarr", "--no-fidelity").out
    with service(folder) as url:
        remote = ("inspect", f"{url}/half", "--cache", tmp_path)
        assert kdrec(*remote, "--json").json["fidelity"] is None
        assert "not measured; --fidelity measures it" in kdrec(*remote).out
        asked = kdrec(*remote, "--fidelity", "--json").json["fidelity"]
    assert asked == kdrec("inspect", folder / "half.zarr", "--json").json["fidelity"]


def test_a_damaged_recording_can_still_be_looked_at(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    flip_bit(tmp_path / "r.zarr" / "logits/c/0/0/0", 1000)
    shown = kdrec("inspect", tmp_path / "r.zarr")
    assert shown.code == 0
    assert "fidelity           unknown; block g00000-p00000" in shown.out
    assert kdrec("inspect", tmp_path / "r.zarr", "--fidelity").code == 4
