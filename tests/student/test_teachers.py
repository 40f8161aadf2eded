"""Several teachers, and teachers that know more classes than the data have.

Shape letters: B batch, C classes.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdrec.client import ConvertRequest, Recording, convert, open_recording
from kdrec.errors import ConflictError, InvalidInputError
from kdrec.store import EncodingPlan
from kdrec.student import (
    MixedTeachers,
    RecordedViews,
    TrainSettings,
    evaluate,
    join_teachers,
    load_student,
    train,
)
from tests.student.recordings import NUM_CLASSES, NUM_SAMPLES, make_samples, record
from tests.student.test_training import assert_same_tensors, make_settings

CLASS_MAP = (8, 1, 5, 0, 3)
ALL = list(range(NUM_SAMPLES))


def two_teachers(**plan: Any) -> tuple[Recording, Recording]:
    """Of the same views, with other logits: those follow from the whole plan."""
    return record(**plan), record(**plan, encoding="half")


def centred(logits_BC: torch.Tensor) -> torch.Tensor:
    return logits_BC - logits_BC.mean(dim=1, keepdim=True)


def test_the_mean_is_weighted_by_the_shares_and_knows_no_shift() -> None:
    first, second = two_teachers()
    mixed = join_teachers([first, second], None, TrainSettings(shares=[3.0, 1.0]))
    for epoch in (0, 4):
        mixed.set_epoch(epoch)
        one, two = RecordedViews(first), RecordedViews(second)
        one.set_epoch(epoch)
        two.set_epoch(epoch)
        batch, a, b = mixed.batch([5, 2]), one.batch([5, 2]), two.batch([5, 2])
        assert torch.equal(batch.points, a.points)
        assert torch.equal(batch.points, b.points)
        expected = 0.75 * centred(a.teacher_logits) + 0.25 * centred(b.teacher_logits)
        torch.testing.assert_close(batch.teacher_logits, expected)


def test_one_teacher_is_drawn_for_each_sample_and_epoch_in_proportion() -> None:
    first, second = two_teachers()
    drawn = join_teachers([first, second], None, TrainSettings(mix="draw", shares=[1.0, 3.0]))
    counts: Counter[bool] = Counter()
    choices = []
    for epoch in range(20):
        drawn.set_epoch(epoch)
        one, two = RecordedViews(first), RecordedViews(second)
        one.set_epoch(epoch)
        two.set_epoch(epoch)
        logits = drawn.batch(ALL).teacher_logits
        from_one = (logits == one.batch(ALL).teacher_logits).all(dim=1)
        from_two = (logits == two.batch(ALL).teacher_logits).all(dim=1)
        assert (from_one ^ from_two).all()
        counts.update(from_one.tolist())
        choices.append(tuple(from_one.tolist()))
        alone = torch.cat([drawn.batch([sample]).teacher_logits for sample in (7, 3)])
        assert torch.equal(alone, logits[[7, 3]])
    assert len(set(choices)) == 20
    assert 0.2 < counts[True] / counts.total() < 0.3


def test_a_training_on_two_teachers_names_both_and_continues(tmp_path: Path) -> None:
    first, second = two_teachers()
    settings = make_settings(epochs=2, loss="mlkd")
    result = train(join_teachers([first, second], None, settings), settings, tmp_path / "out")
    assert result.recording.identity == f"{first.identity}+{second.identity}"
    with pytest.raises(ConflictError, match="of another training"):
        train(first, settings, tmp_path / "out")


def test_teachers_of_other_views_data_or_classes_are_refused() -> None:
    settings = TrainSettings()
    other_data = replace(make_samples(), points_SND=make_samples().points_SND + np.float32(1))
    for other, message in (
        (record(seed=1), "not of the same views as .*: seed is 1, not 0"),
        (record(views=5), "views is 5, not 3"),
        (record(augment="normalize"), "augmentation is "),
        (record(other_data), "data is "),
    ):
        with pytest.raises(ConflictError, match=message):
            join_teachers([record(), other], None, settings)
    more = record(teacher_classes=9, class_map=CLASS_MAP)
    join_teachers([record(), more], None, settings)
    with pytest.raises(InvalidInputError, match="teachers of 5 and 9 classes cannot be mixed"):
        join_teachers([record(), more], None, TrainSettings(classes="all"))


@pytest.mark.parametrize("shares", [[1.0], [1.0, 1.0, 1.0]])
def test_shares_must_be_one_for_each_teacher(shares: list[float]) -> None:
    with pytest.raises(InvalidInputError, match=rf"{len(shares)} shares do not go with 2"):
        join_teachers(two_teachers(), None, TrainSettings(shares=shares))
    for wrong in ([-1.0, 2.0], [0.0, 0.0]):
        with pytest.raises(InvalidInputError, match="from 0 on, and not all 0"):
            TrainSettings(shares=wrong)


def test_all_columns_can_be_kept_and_labels_become_columns(tmp_path: Path) -> None:
    recording = record(class_map=CLASS_MAP, teacher_classes=9)
    views = RecordedViews(recording, classes="all")
    batch = views.batch([4, 20])
    assert batch.teacher_logits.shape == (2, 9)
    assert batch.label.tolist() == [CLASS_MAP[4], CLASS_MAP[0]]
    test = make_samples(20, seed=1)
    result = train(recording, make_settings(epochs=2, classes="all"), tmp_path / "out", test=test)
    student = load_student(tmp_path / "out")
    assert student.model(batch.points).shape == (2, 9)
    assert student.info.recording.class_columns == CLASS_MAP
    report = evaluate(student.model, test, class_columns=CLASS_MAP)
    assert report.accuracy == result.final.test_accuracy
    assert len(report.confusion) == NUM_CLASSES


def test_without_a_class_map_all_columns_are_the_datas(tmp_path: Path) -> None:
    recording = record()
    for classes in ("data", "all"):
        train(recording, make_settings(epochs=1, classes=classes), tmp_path / classes)
    assert_same_tensors(*(tmp_path / c / "last.safetensors" for c in ("data", "all")))


def test_a_mix_of_views_that_do_not_belong_together_is_refused() -> None:
    first, other = two_teachers()
    order = np.arange(NUM_SAMPLES)[::-1].copy()
    reversed_samples = make_samples().rows(order)
    for views, message in (
        (RecordedViews(record(seed=1)), "seed is 1"),
        (RecordedViews(other, subset=range(40)), "samples of .* are others"),
        (RecordedViews(other, reversed_samples, align="digest"), "in another order"),
    ):
        with pytest.raises(ConflictError, match=message):
            MixedTeachers([RecordedViews(first), views], shares=[1.0, 1.0], draw_seed=None)
    both = [RecordedViews(r, reversed_samples, align="digest") for r in (first, other)]
    mixed = MixedTeachers(both, shares=[1.0, 1.0], draw_seed=None).batch([3]).teacher_logits
    expected = join_teachers([first, other], None, TrainSettings()).batch([37]).teacher_logits
    torch.testing.assert_close(mixed, expected)


def test_recordings_converted_from_other_views_are_no_pair(tmp_path: Path) -> None:
    converted = []
    for recording, views in zip(two_teachers(), (range(2), range(1, 3)), strict=True):
        out = tmp_path / f"{views.start}.zarr"
        for _ in convert(recording, out, ConvertRequest(views=views)):
            pass
        converted.append(open_recording(out))
    with pytest.raises(ConflictError, match="its first view is 1, not 0"):
        join_teachers(converted, None, TrainSettings())


def test_the_reverse_term_needs_all_logits(tmp_path: Path) -> None:
    encoding = EncodingPlan(name="topk", max_error=0.05, kept=3)
    some, every = record(encoding=encoding), record()
    settings = make_settings(epochs=1, reverse_weight=0.5)
    with pytest.raises(InvalidInputError, match="only the largest logits were recorded"):
        train(some, settings, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="only the largest logits were recorded"):
        train(join_teachers([every, some], None, settings), settings, tmp_path / "out")
    train(some, make_settings(epochs=1), tmp_path / "forward")
    all_kept = encoding.model_copy(update={"kept": NUM_CLASSES})
    train(record(encoding=all_kept), settings, tmp_path / "all")
