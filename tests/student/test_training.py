"""Training: its result, and that stopping and going on changes nothing.

Shape letters: S samples.
"""

import errno
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from torch import Tensor

from kdrec.errors import (
    AlreadyExistsError,
    ConflictError,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    StorageError,
)
from kdrec.student import (
    EpochReport,
    Processes,
    RecordedBatch,
    RecordedViews,
    SourceDescription,
    TrainResult,
    TrainSettings,
    read_checkpoint,
    train,
)
from kdrec.testing import make_recording
from tests.student.recordings import NUM_CLASSES, NUM_SAMPLES, make_samples, record

DROPOUT = {"dropout": 0.3}


def make_settings(**changed: Any) -> TrainSettings:
    arguments = {"epochs": 4, "batch_size": 16, "device": "cpu", "threads": 1, **changed}
    return TrainSettings(**arguments)


def tensors(path: Path) -> dict[str, Tensor]:
    return dict(read_checkpoint(path).tensors)


def assert_same_tensors(a: Path, b: Path) -> None:
    left, right = tensors(a), tensors(b)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def without_times(report: EpochReport) -> EpochReport:
    return report.model_copy(update={"seconds": 0.0, "wait_seconds": 0.0})


class StoppedError(Exception):
    """Stands for Ctrl-C."""


def stop_after(epoch: int) -> Any:
    def stop(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise StoppedError

    return stop


def test_a_training_leaves_weights_and_results(tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    recording = record()
    result = train(
        recording,
        make_settings(),
        tmp_path / "out",
        test=make_samples(20, seed=1),
        on_progress=reports.append,
    )
    assert tuple(reports) == result.epochs
    assert [report.epoch for report in reports] == [0, 1, 2, 3]
    assert result.finished
    assert result.final == reports[-1]
    assert result.best.test_accuracy == max(report.test_accuracy or 0 for report in reports)
    assert result.recording.identity == recording.identity
    assert result.peak_memory_bytes > 2**20
    assert result.total_seconds == sum(report.seconds for report in reports)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert TrainResult.model_validate(found) == result
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"best.safetensors", "last.safetensors", "log.csv", "results.json"}


def test_a_report_gives_the_loss_and_its_parts(tmp_path: Path) -> None:
    result = train(record(), make_settings(epochs=2), tmp_path / "out")
    for report in result.epochs:
        assert report.label_loss is not None
        assert report.teacher_loss is not None
        expected = 0.1 * report.label_loss + 0.9 * report.teacher_loss
        assert report.loss == pytest.approx(expected, rel=1e-5)
        assert report.train_accuracy is not None
        assert report.test_accuracy is None
        assert 0 <= report.wait_seconds <= report.seconds
    assert result.best == result.final


def test_the_student_learns(tmp_path: Path) -> None:
    result = train(
        record(),
        make_settings(epochs=12, labels_only=True, learning_rate=1e-2),
        tmp_path / "out",
        test=make_samples(40, seed=1),
    )
    assert result.final.loss < 0.5 * result.epochs[0].loss
    assert result.final.test_accuracy is not None
    assert result.final.test_accuracy > 0.6
    assert all(report.teacher_loss is None for report in result.epochs)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_stopped_and_continued_gives_the_weights_of_one_run(
    tmp_path: Path, num_workers: int
) -> None:
    recording, test = record(), make_samples(20, seed=1)
    settings = make_settings(student_arguments=DROPOUT)
    whole = train(recording, settings, tmp_path / "whole", test=test)
    with_workers = settings.model_copy(update={"num_workers": num_workers})
    with pytest.raises(StoppedError):
        train(recording, with_workers, tmp_path / "parts", test=test, on_progress=stop_after(1))
    torch.rand(3)  # whatever happens between the two
    parts = train(recording, with_workers, tmp_path / "parts", test=test)
    for name in ("best.safetensors", "last.safetensors"):
        assert_same_tensors(tmp_path / "whole" / name, tmp_path / "parts" / name)
    assert [without_times(r) for r in whole.epochs] == [without_times(r) for r in parts.epochs]


def test_interrupted_within_an_epoch_the_last_complete_one_is_kept(tmp_path: Path) -> None:
    recording = record()
    whole = train(recording, make_settings(), tmp_path / "whole")
    views = RecordedViews(recording)

    class Interrupted:
        """Ctrl-C in the second batch of the third epoch."""

        description = views.description
        epoch = left = 0

        def __len__(self) -> int:
            return len(views)

        def set_epoch(self, epoch: int) -> None:
            self.epoch, self.left = epoch, 2
            views.set_epoch(epoch)

        def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
            self.left -= 1
            if self.epoch == 2 and self.left == 0:
                raise KeyboardInterrupt
            return views.batch(indices)

    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(), make_settings(), tmp_path / "out")
    assert len(read_checkpoint(tmp_path / "out" / "last.safetensors").info.epochs) == 2
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert not results["finished"]
    continued = train(recording, make_settings(), tmp_path / "out")
    assert_same_tensors(
        tmp_path / "whole" / "last.safetensors", tmp_path / "out" / "last.safetensors"
    )
    assert continued.final.loss == whole.final.loss


def test_a_finished_training_is_returned_at_once(tmp_path: Path) -> None:
    recording = record()
    first = train(recording, make_settings(epochs=1), tmp_path / "out")
    (tmp_path / "out" / "results.json").unlink()
    calls: list[EpochReport] = []
    again = train(recording, make_settings(epochs=1), tmp_path / "out", on_progress=calls.append)
    assert again == first
    assert calls == []
    assert (tmp_path / "out" / "results.json").is_file()


def test_another_training_in_the_same_folder_is_refused_with_the_difference(
    tmp_path: Path,
) -> None:
    recording = record()
    train(recording, make_settings(epochs=1), tmp_path / "out")
    with pytest.raises(ConflictError, match=r"temperature: 4\.0 before, 2\.0 now"):
        train(recording, make_settings(epochs=1, temperature=2.0), tmp_path / "out")
    with pytest.raises(ConflictError, match=r"of another training \(recording: "):
        train(record(seed=1), make_settings(epochs=1), tmp_path / "out")
    train(recording, make_settings(epochs=1, num_workers=1), tmp_path / "out")


def test_a_folder_that_is_not_a_trainings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlreadyExistsError, match="is a file"):
        train(record(), make_settings(), tmp_path / "file")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "best.safetensors")
    with pytest.raises(IntegrityError, match="no student of kdrec"):
        train(record(), make_settings(), tmp_path)
    train(record(), make_settings(epochs=1), tmp_path / "out")
    (tmp_path / "out" / "best.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"lacks its best\.safetensors"):
        train(record(), make_settings(epochs=1), tmp_path / "out")


def test_the_callers_random_numbers_and_threads_stay_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(record(), make_settings(epochs=1, threads=2), tmp_path / "out")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


def test_the_callers_random_numbers_change_nothing(tmp_path: Path) -> None:
    recording, settings = record(), make_settings(epochs=1, student_arguments=DROPOUT)
    for seed in (1, 2):
        torch.manual_seed(seed)
        train(recording, settings, tmp_path / str(seed))
    assert_same_tensors(*(tmp_path / seed / "last.safetensors" for seed in ("1", "2")))


def test_another_seed_gives_another_student(tmp_path: Path) -> None:
    losses = {
        train(record(), make_settings(epochs=1, seed=seed), tmp_path / str(seed)).final.loss
        for seed in (0, 1)
    }
    assert len(losses) == 2


def test_an_absent_view_stops_the_training_and_is_trained_on_later(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="not recorded yet"):
        train(record(committed_views=2), make_settings(), tmp_path / "out")
    done = read_checkpoint(tmp_path / "out" / "last.safetensors").info
    assert len(done.epochs) == 2
    assert done.recording.identity is None
    assert train(record(), make_settings(), tmp_path / "out").finished


def test_data_without_labels_need_a_label_weight_of_0(tmp_path: Path) -> None:
    recording = record(replace(make_samples(), labels_S=None))
    with pytest.raises(
        InvalidInputError, match=r"label_weight is 0\.1, but the data have no labels"
    ):
        train(recording, make_settings(), tmp_path / "out")
    result = train(recording, make_settings(epochs=1, label_weight=0.0), tmp_path / "out")
    assert result.final.label_loss is None
    assert result.final.train_accuracy is None


def test_given_samples_take_the_place_of_those_not_kept(tmp_path: Path) -> None:
    without = record(with_samples=False)
    train(without, make_settings(epochs=1), tmp_path / "given", samples=make_samples())
    train(RecordedViews(without, make_samples()), make_settings(epochs=1), tmp_path / "views")
    assert_same_tensors(*(tmp_path / n / "last.safetensors" for n in ("given", "views")))
    with pytest.raises(InvalidInputError, match="samples go with a recording"):
        train(RecordedViews(record()), make_settings(), tmp_path / "x", samples=make_samples())


def test_a_class_map_gives_a_student_of_the_datas_classes(tmp_path: Path) -> None:
    recording = record(class_map=(8, 1, 5, 0, 3), teacher_classes=9)
    train(recording, make_settings(epochs=1), tmp_path / "out")
    weights = safetensors.torch.load_file(tmp_path / "out" / "best.safetensors")
    assert len(weights["linear3.weight"]) == NUM_CLASSES


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": ("x", "y", "z", "height")}, "channels x, y, z, height, the recording x, y"),
        ({"class_names": tuple("abcde")}, r"classes of the test data are a, b, c, d ... \(5\)"),
        ({"labels_S": None}, "no labels"),
        ({"labels_S": np.full(8, 7), "class_names": None}, "label 7.*classes are 0 to 4"),
    ],
)
def test_test_data_that_do_not_fit_are_refused_before_the_first_epoch(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    points_SND = make_samples(8).points_SND
    if "channels" in changed:
        changed["points_SND"] = np.concatenate([points_SND, points_SND[..., :1]], axis=2)
    with pytest.raises(InvalidInputError, match=message):
        train(record(), make_settings(), tmp_path / "out", test=replace(make_samples(8), **changed))
    assert not (tmp_path / "out").exists()


class Poisoned:
    """Teacher logits that are not numbers, from one batch on."""

    def __init__(self, views: RecordedViews, *, epoch: int, batch: int) -> None:
        self._views = views
        self._when = epoch, batch
        self._now = 0, 0

    @property
    def description(self) -> SourceDescription:
        return self._views.description

    def __len__(self) -> int:
        return len(self._views)

    def set_epoch(self, epoch: int) -> None:
        self._views.set_epoch(epoch)
        self._now = epoch, -1

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        self._now = self._now[0], self._now[1] + 1
        batch = self._views.batch(indices)
        if self._now != self._when:
            return batch
        return batch._replace(teacher_logits=torch.full_like(batch.teacher_logits, math.nan))


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_loss_that_is_not_a_number_stops_and_names_its_step(tmp_path: Path, batch: int) -> None:
    source = Poisoned(RecordedViews(record()), epoch=1, batch=batch)
    with pytest.raises(InvalidInputError, match=f"the loss became nan in epoch 1, step {batch};"):
        train(source, make_settings(), tmp_path / "out")
    kept = read_checkpoint(tmp_path / "out" / "last.safetensors")
    assert len(kept.info.epochs) == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values())


def test_a_student_from_a_file_is_trained(tmp_path: Path) -> None:
    file = tmp_path / "my_student.py"
    file.write_text(
        "from torch import nn\n"
        "def flat(num_classes, num_channels, points):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(points * num_channels, num_classes))\n"
        "def wrong(num_classes, num_channels):\n"
        "    return nn.Linear(num_channels, 7)\n"
        "def no_network(num_classes, num_channels):\n"
        "    return 3\n"
    )
    settings = make_settings(student=f"{file}:flat", student_arguments={"points": 24}, epochs=1)
    assert train(record(), settings, tmp_path / "out").num_parameters == 24 * 3 * 5 + 5
    for name, message in (
        ("wrong", r"logits of shape \(16, 5\), got \(16, 24, 7\)"),
        ("no_network", "gave a int; a student must be a torch.nn.Module"),
        ("flat", r"calling .*:flat with .* failed: TypeError: flat\(\) missing 1"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            train(record(), make_settings(student=f"{file}:{name}"), tmp_path / name)


def test_every_sample_is_seen_once_an_epoch(tmp_path: Path) -> None:
    seen: list[list[int]] = []
    views = RecordedViews(record())

    class Watched(Poisoned):
        def set_epoch(self, epoch: int) -> None:
            super().set_epoch(epoch)
            seen.append([])

        def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
            batch = super().batch(indices)
            seen[-1] += batch.index.tolist()
            return batch

    train(Watched(views, epoch=-1, batch=0), make_settings(epochs=2), tmp_path / "out")
    assert all(sorted(epoch) == list(range(NUM_SAMPLES)) for epoch in seen)
    assert seen[0] != seen[1]


def test_weights_that_are_no_numbers_are_never_kept(tmp_path: Path) -> None:
    """The root of 0 is finite, its slope is not: the loss of the last step says nothing yet."""
    file = tmp_path / "steep.py"
    file.write_text(
        "from torch import nn\n"
        "class Steep(nn.Module):\n"
        "    def __init__(self, num_classes, num_channels):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(num_channels, num_classes)\n"
        "    def forward(self, points):\n"
        "        return self.layer(points.mean(dim=1)) + (self.layer.bias * 0).sqrt()\n"
    )
    settings = make_settings(student=f"{file}:Steep", batch_size=NUM_SAMPLES, epochs=1)
    with pytest.raises(InvalidInputError, match=r"layer\.\w+ of the student is not finite"):
        train(record(), settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Second(Processes):
    """The second of two processes, without the first: what that one has is given."""

    of_first = 0

    def from_first(self, values: Tensor) -> Tensor:
        return torch.full_like(values, self.of_first)

    def shared(self, module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        return module


def test_a_process_that_finds_another_folder_than_the_first_is_refused(tmp_path: Path) -> None:
    train(record(), make_settings(epochs=1), tmp_path / "out")
    with pytest.raises(ConflictError, match=r"process 1 finds 1 epochs in .*, process 0 finds 0;"):
        train(record(), make_settings(epochs=1), tmp_path / "out", processes=Second(1, 2))


def test_more_processes_than_samples_of_a_step_are_refused(tmp_path: Path) -> None:
    for settings, processes, message in (
        (make_settings(batch_size=2), Processes(0, 3), "must be at least 3, .* got 2"),
        (make_settings(batch_size=99), Processes(0, 42), "42 processes cannot share 41 samples"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            train(record(), settings, tmp_path / "out", processes=processes)


def test_a_folder_that_cannot_be_written_is_told_before_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("kdrec.student.run_folder.TemporaryFile", refuse)
    begun = list[object]()
    with pytest.raises(StorageError, match=r"out cannot be written: Read-only .*another --out"):
        train(record(), make_settings(), tmp_path / "out", on_progress=begun.append)
    assert not begun


def test_nothing_is_trained_into_a_recording(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    before = sorted((tmp_path / "r.zarr").rglob("*"))
    for out in (tmp_path / "r.zarr", tmp_path / "r.zarr" / "student"):
        with pytest.raises(InvalidInputError, match=r"lies within the recording .*r\.zarr"):
            train(record(), make_settings(), out)
    assert sorted((tmp_path / "r.zarr").rglob("*")) == before
