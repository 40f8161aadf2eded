"""Repair by recording again: only the damaged blocks, to the byte, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdrec.augment import parse_augmentation
from kdrec.client import RepairReport, repair
from kdrec.errors import ConflictError, NotFoundError
from kdrec.recorder import (
    RecomputedFiles,
    TeacherOptions,
    Votes,
    load_teacher,
    recorded_options,
)
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import LocalStorage, find_manifest
from kdrec.testing import flip_bit
from tests.programs import contents
from tests.recorder.toy_teachers import record_toy, toy, toy_samples, write_toys


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toys = write_toys(tmp_path_factory.mktemp("toys"))
    for encoding in ("exact", "half", "topk"):
        record_toy(toys.with_name(f"{encoding}.zarr"), toy(toys), encoding=encoding)
    return toys


@pytest.fixture(params=["exact", "half", "topk"])
def broken(request: pytest.FixtureRequest, toys: Path, tmp_path: Path) -> Path:
    path = tmp_path / f"{request.param}.zarr"
    return Path(shutil.copytree(toys.with_name(path.name), path))


def run(folder: Path, teacher: TeacherOptions, samples: SampleSet | None = None) -> RepairReport:
    source = RecomputedFiles(
        LocalStorage(folder), load_teacher(teacher), samples or toy_samples(), where=str(folder)
    )
    for report in repair(folder, source):  # noqa: B007 - the last one
        pass
    return report


def test_every_file_but_the_root_comes_out_the_same(broken: Path, toys: Path) -> None:
    whole = contents(toys.with_name(broken.name))
    keys = [key for key in whole if key != "zarr.json"]
    for number, key in enumerate(keys):
        if number % 2:
            flip_bit(broken / key, 999)
        else:
            (broken / key).unlink()
    # The seal alone cannot be had from a teacher.
    (broken / "seal.json").write_bytes(whole["seal.json"])
    report = run(broken, toy(toys))
    assert report.broken == []
    assert contents(broken) == whole
    assert len(report.repaired) == len(keys) - 1


def test_only_the_damaged_block_is_asked_again(broken: Path, toys: Path, tmp_path: Path) -> None:
    flip_bit(broken / "logits/c/1/0/0", 50)
    asked = tmp_path / "asked.py"
    counting = "    def forward(self, points):\n        Toy.asked = getattr(Toy, 'asked', 0) + 1\n"
    source = toys.read_text().replace("    def forward(self, points):\n", counting)
    asked.write_text(source)
    teacher = load_teacher(toy(asked))
    recomputed = RecomputedFiles(LocalStorage(broken), teacher, toy_samples(), where="r.zarr")
    (*_, report) = repair(broken, recomputed)
    assert report.repaired == ["logits/c/1/0/0"]
    module: Any = teacher.module
    assert type(module).asked == 2 * 2  # two views of eight samples in batches of four


def test_what_comes_out_otherwise_is_never_written(broken: Path, toys: Path) -> None:
    for key in ("logits/c/0/1/0", "ledger/g00002-p00000.json", "proof/logits/c/0/0"):
        flip_bit(broken / key, 60)
    before = contents(broken)
    for other in (toy(toys, sharpen=1.5), toy(toys, order="backward")):
        with pytest.raises(ConflictError, match="device or libraries give other last bits"):
            run(broken, other)
        assert contents(broken) == before


def test_another_teacher_or_other_data_are_refused(broken: Path, toys: Path) -> None:
    with pytest.raises(ConflictError, match=r"teacher's tensors .* give its weights"):
        run(broken, toy(toys, seed=1))
    with pytest.raises(ConflictError, match="--replay DATA` says what differs"):
        run(broken, toy(toys), make_shapes(24, seed=1, num_points=32))
    (broken / "zarr.json").unlink()
    with pytest.raises(NotFoundError, match="the plan to record again"):
        run(broken, toy(toys))


def test_a_recording_of_votes_is_repaired_by_the_votes_of_its_plan(
    toys: Path, tmp_path: Path
) -> None:
    path = tmp_path / "votes.zarr"
    votes = Votes(2, parse_augmentation("rotate_y=5"))
    record_toy(path, replace(toy(toys), votes=votes), encoding="exact")
    whole = contents(path)
    (path / "logits/c/1/0/0").unlink()
    manifest = find_manifest(LocalStorage(path), where=path.name)
    assert manifest is not None
    asked = recorded_options(manifest.plan, factory=toy(toys).factory, arguments={})
    assert asked.votes == votes
    assert run(path, asked).broken == []
    assert contents(path) == whole
