"""The whole way on real clouds with a real teacher, as a user would go it: commands only."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import open_recording
from tests.programs import contents, environment, kdrec, options, service


@pytest.fixture(scope="session")
def clouds(shared_data: Path) -> Path:
    return shared_data / "clouds" / "modelnet10_test908_1024.npz"


def teacher(shared_data: Path) -> dict[str, object]:
    return {
        "teacher": "pointnet",
        "weights": shared_data / "teachers" / "pointnet_modelnet40.npz",
        "class-map": "modelnet40_index",
    }


def test_the_real_teacher_gives_its_known_logits_and_accuracy(
    tmp_path: Path, shared_data: Path, clouds: Path
) -> None:
    path = tmp_path / "clean.zarr"
    plan = {"data": clouds, "views": 1, "augment": "normalize", "without-samples": True}
    plan["encoding"] = "exact"
    done = kdrec("record", path, *options(teacher(shared_data) | plan))
    assert done.code == 0, done.err
    # Counted over all records, among all 40 classes and among the data's 10.
    assert "85.0 % among all of the teacher's classes, 89.6 % among the data's" in done.out
    assert "teacher on 64 clean clouds" in done.err
    expected = np.load(shared_data / "logits" / "pointnet_clean.npy")
    _, logits = open_recording(path).read(0)
    assert np.abs(logits - expected).max() < 0.03


def test_recorded_inspected_served_fetched_and_trained_from_elsewhere(
    tmp_path: Path, shared_data: Path, clouds: Path
) -> None:
    path = tmp_path / "served" / "mn10.zarr"
    plan = {
        "data": clouds,
        "split": "split=0",
        "views": 20,
        "augment": "scale=0.9:1.1,rotate_y=-15:15,translate=0.05",
        "num-points": 64,
    }
    recorded = kdrec("record", path, *options(teacher(shared_data) | plan), "--json")
    assert recorded.code == 0, recorded.err
    assert recorded.json["records"] == 20 * 610

    shown = kdrec("inspect", path)
    assert re.search(r"views\s+20 in groups of 8, seed 0", shown.out)
    assert "sealed; 3 of 3 blocks" in shown.out

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with service(path.parent) as url:
        assert kdrec("inspect", f"{url}/mn10", "--cache", tmp_path / "c1").out.count("mn10")
        fetched = kdrec("fetch", f"{url}/mn10", elsewhere / "copy.zarr")
        assert fetched.code == 0, fetched.err
        over_http = kdrec(
            "train", f"{url}/mn10", "--out", "http", "--epochs", "2", "--threads", "1",
            "--cache", tmp_path / "c2", cwd=elsewhere,
        )  # fmt: skip
        assert over_http.code == 0, over_http.err
    assert contents(elsewhere / "copy.zarr") == contents(path)
    # The server is gone, and neither data, weights nor teacher are named: the copy is enough.
    local = kdrec(
        "train", "copy.zarr", "--out", "local", "--epochs", "2", "--threads", "1",
        "--test", clouds, "--test-split", "split=1", "--json", cwd=elsewhere,
    )  # fmt: skip
    assert local.code == 0, local.err
    assert local.json["final"]["test_accuracy"] > 0.25
    weights = [(elsewhere / run / "last.safetensors").read_bytes() for run in ("http", "local")]
    losses = [json.loads((elsewhere / run / "results.json").read_text())["epochs"][-1]["loss"]
              for run in ("http", "local")]  # fmt: skip
    assert losses[0] == losses[1]
    assert len(weights[0]) > 100_000


def test_a_student_needs_no_teacher_code(tmp_path: Path) -> None:
    code = (
        "import sys, kdrec; from kdrec.student import train; "
        "print(*[m for m in sys.modules if m.startswith('kdrec.recorder')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.split() == []


def test_data_that_are_not_the_recorded_ones_are_refused(
    tmp_path: Path, shared_data: Path, clouds: Path
) -> None:
    path = tmp_path / "mn10.zarr"
    plan = {"split": "split=1", "views": 2, "num-points": 64, "threads": 1}
    real = np.load(clouds)
    centred = tmp_path / "centred.npz"
    xyz = real["xyz"].astype(np.float32) / 32767
    xyz -= xyz.mean(axis=1, keepdims=True)
    kept = {"label": real["label"], "split": real["split"], "class_names": real["class_names"],
            "modelnet40_index": real["modelnet40_index"]}  # fmt: skip
    np.savez(centred, xyz=xyz, **kept)
    swapped = tmp_path / "swapped.npz"
    order = np.arange(len(xyz))
    first, second = np.flatnonzero(real["split"] == 1)[[3, 7]]
    order[[first, second]] = order[[second, first]]
    exchanged = {"xyz": real["xyz"][order], "label": real["label"][order]}
    np.savez(swapped, **(kept | exchanged))
    turned = tmp_path / "turned.npz"
    np.savez(turned, **(kept | {"xyz": real["xyz"][..., [0, 2, 1]]}))

    base = options(teacher(shared_data) | plan)
    assert kdrec("record", path, "--data", clouds, *base).code == 0
    before = contents(path)
    for data, why in (
        (swapped, r"sample 3 .*(another order|recorded sample 7)"),
        (centred, r"sample 0 .*(centre|shift)"),
        (turned, r"sample 0 .*ax"),
    ):
        again = kdrec("record", path, "--data", data, *base)
        assert again.code == 5, again.err
        assert re.search(f"recorded from other data: .*{why}", again.err, re.IGNORECASE), again.err
        assert "give another name" in again.err
        for command in (
            ("train", path, "--out", tmp_path / "out", "--data", data, "--split", "split=1"),
            ("verify", path, "--replay", data, "--split", "split=1"),
        ):
            refused = kdrec(*command)
            assert refused.code == 5, refused.err
            assert re.search(why, refused.err, re.IGNORECASE), refused.err
    same = kdrec("verify", path, "--replay", clouds, "--split", "split=1", "--bytes")
    assert same.code == 0, same.err
    assert contents(path) == before
    assert not (tmp_path / "out").exists()


def test_other_weights_and_another_seed_are_refused(
    tmp_path: Path, shared_data: Path, clouds: Path
) -> None:
    path = tmp_path / "mn10.zarr"
    plan = {"data": clouds, "split": "split=1", "views": 1, "num-points": 64, "threads": 1}
    settings = teacher(shared_data) | plan
    assert kdrec("record", path, *options(settings)).code == 0
    other = tmp_path / "other.npz"
    tensors = dict(np.load(shared_data / "teachers" / "pointnet_modelnet40.npz"))
    tensors["linear3.bias"] = tensors["linear3.bias"] + 1e-3
    np.savez(other, **tensors)
    for change, named in (
        ({"weights": other}, "teacher.tensors"),
        ({"seed": 1}, "seed: 0 recorded, 1 now"),
        ({"views": 2}, "views: 1 recorded, 2 now"),
        ({"augment": "translate=0.1"}, "augmentation.operations"),
    ):
        done = kdrec("record", path, *options(settings | change))
        assert done.code == 5, done.err
        assert named in done.err
        assert len([line for line in done.err.splitlines() if line.startswith("kdrec:")]) == 1
    # The same tensors from another kind of file are the same teacher.
    same = kdrec("record", path, *options(
        settings | {"weights": shared_data / "teachers" / "pointnet_modelnet40.t7"}
    ))  # fmt: skip
    assert same.code == 0, same.err
