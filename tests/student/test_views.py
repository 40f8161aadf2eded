"""Recorded views: what a sample and a batch hold, in one process and in several.

Shape letters: S samples, B batch, N points, D channels, C classes.
"""

import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from kdrec.client import Recording
from kdrec.errors import ConflictError, ErrorKind, IncompleteError, InvalidInputError, NotFoundError
from kdrec.student import (
    MixedTeachers,
    RecordedBatch,
    RecordedSample,
    RecordedViews,
    TrainSettings,
    train,
)
from tests.student.recordings import (
    NUM_CLASSES,
    NUM_SAMPLES,
    NUM_VIEWS,
    make_samples,
    record,
    teacher_logits,
)


def expected_points(recording: Recording, view: int, samples_B: list[int]) -> Tensor:
    plan = recording.manifest.plan
    parameters = plan.augmentation.draw(plan.seed, views=view, samples_B=samples_B)
    points_BND = make_samples().points_SND[samples_B]
    seen_BND = plan.augmentation.apply(points_BND, parameters, channels=plan.data.channels)
    return torch.from_numpy(seen_BND)


def assert_same(batch: Iterable[Tensor], other: Iterable[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))


def test_a_sample_is_what_the_teacher_saw_with_what_it_said() -> None:
    recording = record()
    views = RecordedViews(recording)
    views.set_epoch(2)
    sample = views[17]
    assert isinstance(sample, RecordedSample)
    assert torch.equal(sample.points, expected_points(recording, 2, [17])[0])
    logits_VSC = teacher_logits(recording)
    np.testing.assert_array_equal(sample.teacher_logits.numpy(), logits_VSC[2, 17])
    assert sample.label.dtype == torch.int64
    assert sample.label.item() == 17 % NUM_CLASSES
    assert sample.index.item() == 17
    assert sample.points.dtype == sample.teacher_logits.dtype == torch.float32
    assert len(views) == NUM_SAMPLES


@pytest.mark.parametrize("index", [[40, 3, 3], np.array([40, 3, 3]), torch.tensor([40, 3, 3])])
def test_a_list_of_numbers_gives_a_batch_in_that_order(index: Any) -> None:
    views = RecordedViews(record())
    batch = views[index]
    assert isinstance(batch, RecordedBatch)
    assert batch.index.tolist() == [40, 3, 3]
    for row, sample in enumerate((40, 3, 3)):
        assert_same(views[sample], (tensor[row] for tensor in batch))


def test_a_view_follows_the_epoch_modulo_the_views() -> None:
    views = RecordedViews(record())
    seen = []
    for epoch in range(2 * NUM_VIEWS):
        views.set_epoch(epoch)
        assert views.view == epoch % NUM_VIEWS
        seen.append(views[[0, 1]])
    for view in range(NUM_VIEWS):
        assert_same(seen[view], seen[view + NUM_VIEWS])
    assert not torch.equal(seen[0].points, seen[1].points)
    assert not torch.equal(seen[0].teacher_logits, seen[1].teacher_logits)


def test_a_negative_epoch_or_a_number_out_of_range_is_refused() -> None:
    views = RecordedViews(record())
    with pytest.raises(InvalidInputError, match="epoch must be from 0 on, got -1"):
        views.set_epoch(-1)
    with pytest.raises(InvalidInputError, match="sample must be from 0 to 40, got 41"):
        views[[0, 41]]
    with pytest.raises(InvalidInputError, match="sample must be from 0 to 40, got -1"):
        views[-1]


def test_samples_can_be_iterated_and_end() -> None:
    views = RecordedViews(record())
    assert [int(sample.index) for sample in views] == list(range(NUM_SAMPLES))


def test_the_plain_loader_reads_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record()
    views = RecordedViews(recording)
    reads: list[int] = []
    read = recording.read

    def counted(view: int, indices: Any) -> Any:
        reads.append(len(indices))
        return read(view, indices)

    monkeypatch.setattr(recording, "read", counted)
    batches = list(DataLoader(views, batch_size=16))
    assert reads == [16, 16, 9]
    assert all(isinstance(batch, RecordedSample) for batch in batches)
    whole = views[list(range(NUM_SAMPLES))]
    stacked = [torch.cat(tensors) for tensors in zip(*batches, strict=True)]
    assert_same(whole, stacked)


def batch_loader(views: RecordedViews, **arguments: Any) -> DataLoader[Any]:
    sampler = BatchSampler(SequentialSampler(views), 16, drop_last=False)
    return DataLoader(views, sampler=sampler, batch_size=None, **arguments)


def test_the_batch_sampler_idiom_gives_whole_batches() -> None:
    views = RecordedViews(record())
    batches = list(batch_loader(views))
    assert [len(batch.index) for batch in batches] == [16, 16, 9]
    assert all(isinstance(batch, RecordedBatch) for batch in batches)
    assert_same(batches[1], views[list(range(16, 32))])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_stay_notice_the_epoch(start: str) -> None:
    views = RecordedViews(record())
    loader = batch_loader(
        views, num_workers=2, persistent_workers=True, multiprocessing_context=start
    )
    for epoch in (0, 1, 5):
        views.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch.index) for batch in batches] == [16, 16, 9]
        for batch in batches:
            assert_same(batch, views[batch.index])


def test_pickled_views_give_the_same_batches() -> None:
    views = RecordedViews(record())
    views.set_epoch(1)
    copy = pickle.loads(pickle.dumps(views))
    assert_same(copy[[5, 6]], views[[5, 6]])


def test_a_class_map_chooses_the_columns_of_the_data() -> None:
    class_map = (8, 1, 5, 0, 3)
    recording = record(class_map=class_map, teacher_classes=9)
    views = RecordedViews(recording)
    batch = views[[4, 20]]
    logits_VSC = teacher_logits(recording)
    expected_BC = logits_VSC[0][[4, 20]][:, list(class_map)]
    np.testing.assert_array_equal(batch.teacher_logits.numpy(), expected_BC)
    assert views.description.num_classes == 5


def test_given_samples_are_checked_and_give_the_same() -> None:
    recording = record(with_samples=False)
    with pytest.raises(NotFoundError, match="without its samples"):
        RecordedViews(recording)
    embedded = RecordedViews(record())
    assert_same(RecordedViews(recording, make_samples())[[7, 8]], embedded[[7, 8]])


def test_misaligned_samples_are_refused() -> None:
    recording = record(with_samples=False)
    samples = make_samples()
    swapped = samples.rows(np.array([1, 0, *range(2, NUM_SAMPLES)]))
    with pytest.raises(ConflictError, match="sample 0"):
        RecordedViews(recording, swapped)
    moved = replace(samples, points_SND=samples.points_SND + np.float32(0.25))
    with pytest.raises(ConflictError, match="sample 0"):
        RecordedViews(recording, moved)
    RecordedViews(recording, moved, check=False)
    with pytest.raises(InvalidInputError, match="records of 41 samples, got 40"):
        RecordedViews(recording, samples.rows(np.arange(40)), check=False)


def test_a_label_that_is_no_class_of_the_logits_is_refused() -> None:
    recording = record(teacher_classes=3)
    with pytest.raises(InvalidInputError, match=r"sample 3 has label 3.*classes 0 to 2"):
        RecordedViews(recording)


def test_data_without_labels_give_empty_labels_and_never_a_class() -> None:
    samples = replace(make_samples(), labels_S=None)
    views = RecordedViews(record(samples))
    assert not views.description.labelled
    assert views[3].label.shape == (0,)
    assert views[[3, 4]].label.shape == (2, 0)
    (batch,) = DataLoader(views, batch_size=NUM_SAMPLES)
    assert batch.label.shape == (NUM_SAMPLES, 0)


def test_a_view_that_is_not_recorded_yet_is_said_so() -> None:
    views = RecordedViews(record(committed_views=1))
    assert len(list(batch_loader(views))) == 3
    views.set_epoch(1)
    with pytest.raises(IncompleteError, match="not recorded yet"):
        list(batch_loader(views))


def test_an_error_in_a_worker_keeps_its_class_and_kind() -> None:
    views = RecordedViews(record(committed_views=0))
    iterator: Any = iter(batch_loader(views, num_workers=1))
    with pytest.raises(IncompleteError, match="not recorded yet") as caught:
        next(iterator)
    assert caught.value.kind is ErrorKind.INCOMPLETE
    iterator._shutdown_workers()  # left to the garbage collector, torch waits 5 s for each


def test_the_description_names_the_recording() -> None:
    recording = record(augment="scale=0.9:1.1,normalize")
    description = RecordedViews(recording).description
    assert description.header == recording.reader.header.digest
    assert description.identity == recording.identity
    assert description.identity is not None
    assert description.normalized
    assert description.class_names == make_samples().class_names
    assert not RecordedViews(record()).description.normalized


def test_samples_in_another_order_are_found_by_content_and_keep_their_numbers() -> None:
    recording = record()
    order = np.random.default_rng(0).permutation(NUM_SAMPLES)
    views = RecordedViews(recording, make_samples().rows(order), align="digest")
    plain = RecordedViews(recording)
    found = views[[0, 7, 40]]
    assert found.index.tolist() == [0, 7, 40]
    assert_same(found[:3], plain[order[[0, 7, 40]]][:3])
    assert_same([views.teacher_logits(1, [3, 4])], [plain.teacher_logits(1, order[[3, 4]])])
    with pytest.raises(ConflictError):
        RecordedViews(recording, make_samples(seed=1), align="digest")
    with pytest.raises(InvalidInputError, match="'order' or 'digest', got 'name'"):
        RecordedViews(recording, make_samples(), align="name")  # type: ignore[arg-type]


def test_a_subset_is_numbered_anew_and_reads_only_its_own() -> None:
    chosen = [40, 2, 30]
    views = RecordedViews(record(), subset=chosen)
    assert len(views) == 3
    assert_same(views[[2, 0]][:3], RecordedViews(record())[[30, 40]][:3])
    assert views[[2, 0]].index.tolist() == [2, 0]
    order = np.arange(NUM_SAMPLES)[::-1].copy()
    reversed_views = RecordedViews(record(), make_samples().rows(order), subset=[0], align="digest")
    assert_same(reversed_views[[0]][:3], RecordedViews(record())[[40]][:3])
    for wrong in ([41], [-1], [0.5], [[1]]):
        with pytest.raises(InvalidInputError, match="sample"):
            RecordedViews(record(), subset=wrong)
    for index in ([3], [-1]):
        with pytest.raises(InvalidInputError, match="sample must be from 0 to 2"):
            views[index]


def test_several_views_of_each_sample_come_in_one_batch() -> None:
    views = RecordedViews(record(), views_per_step=2)
    views.set_epoch(1)
    batch = views[[5, 9]]
    assert batch.index.tolist() == [5, 9, 5, 9]
    plain = RecordedViews(record())
    for row, view in ((0, 2), (2, 0)):
        plain.set_epoch(view)
        assert_same((tensor[row : row + 2] for tensor in batch), plain[[5, 9]])
    (stacked,) = DataLoader(views, batch_size=NUM_SAMPLES)
    assert stacked.points.shape[0] == 2 * NUM_SAMPLES
    with pytest.raises(InvalidInputError, match=r"2 views in each step.*views\[\[3\]\]"):
        views[3]


def test_only_some_views_are_read_in_a_random_order_without_repeats() -> None:
    views = RecordedViews(record(committed_views=2), views=[1, 0], view_order="random", seed=4)
    assert views.num_views == 2
    seen = []
    for epoch in range(8):
        views.set_epoch(epoch)
        assert {views.view, views.second_view} == {0, 1}
        seen.append(views.view)
        views[[0]]
    assert {*seen[0:2]} == {*seen[2:4]} == {*seen[4:6]} == {0, 1}


def test_train_and_a_mix_of_teachers_refuse_several_views_a_step(tmp_path: Path) -> None:
    views = RecordedViews(record(), views_per_step=2)
    with pytest.raises(InvalidInputError, match="views_per_step is 2, but train"):
        train(views, TrainSettings(epochs=1, device="cpu"), tmp_path / "out")
    with pytest.raises(InvalidInputError, match="views_per_step is 2, but train"):
        MixedTeachers([views, views], shares=[1, 1], draw_seed=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_views_are_replayed_on_the_device_of_the_student() -> None:
    recording = record(augment="scale=0.9:1.1,rotate_y=-15:15,normalize,subset=16")
    there, here = RecordedViews(recording, device="cuda"), RecordedViews(recording)
    for found, expected in zip(there[[3, 1]], here[[3, 1]], strict=True):
        assert found.device.type == "cuda"
        torch.testing.assert_close(found.cpu(), expected)
    mixed = MixedTeachers([there, there], shares=[1.0, 1.0], draw_seed=0)
    assert mixed.batch([3, 1]).teacher_logits.device.type == "cuda"
    iterator: Any = iter(batch_loader(there, num_workers=1))
    with pytest.raises(InvalidInputError, match="workers cannot replay on cuda"):
        next(iterator)
    iterator._shutdown_workers()
