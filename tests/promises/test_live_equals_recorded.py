"""A student on the record is the student beside the live teacher, bit for bit.

Shape letters: B batch, N points, D channels, C classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from kdrec.augment import parse_augmentation
from kdrec.client import open_recording
from kdrec.models import build_model
from kdrec.recorder import (
    RecordRequest,
    Teacher,
    TeacherOptions,
    TeacherPass,
    load_teacher,
    read_class_map,
    record,
)
from kdrec.samples import SampleSet, load_samples, make_shapes
from kdrec.store import BlockGrid, Plan
from kdrec.student import RecordedBatch, RecordedViews, SourceDescription, TrainSettings, train

NUM_REAL_CLOUDS, NUM_REAL_POINTS = 40, 256


class Silent:
    def on_probe(self, report: object, score: object) -> None: ...
    def on_wait(self) -> None: ...
    def on_found(self, found: object) -> None: ...
    def on_progress(self, progress: object) -> None: ...


class LiveViews:
    """Batches whose logits a teacher computes when they are asked for.

    `recorder_batches` asks it in the recorder's batches (same rows, order, shape) and picks the
    student's rows from them; otherwise in the student's own batches. Like a recording, it gives
    the columns of the data's classes.
    """

    def __init__(
        self, teacher: Teacher, samples: SampleSet, plan: Plan, source: SourceDescription,
        *, recorder_batches: bool,
    ) -> None:  # fmt: skip
        self._pass = TeacherPass.under(plan, teacher, samples)
        self._plan = plan
        self._samples = samples
        self._columns = slice(None) if plan.class_map is None else list(plan.class_map)
        self._recorder_batches = recorder_batches
        self._view = 0
        self._whole_SC: npt.NDArray[np.float32] | None = None
        self.description = source

    def __len__(self) -> int:
        return len(self._samples)

    def set_epoch(self, epoch: int) -> None:
        self._view, self._whole_SC = epoch % self._plan.views, None

    def _logits(self, index_B: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        if not self._recorder_batches:
            return self._pass.logits(self._draw(index_B))
        if self._whole_SC is None:
            blocks = [b for b in BlockGrid.of(self._plan) if self._view in b.views]
            parts = [self._pass.logits(self._draw(np.asarray(b.samples))) for b in blocks]
            self._whole_SC = np.concatenate(parts)
        found: npt.NDArray[np.float32] = self._whole_SC[index_B]
        return found

    def batch(self, indices: npt.ArrayLike) -> RecordedBatch:
        index_B = np.asarray(indices, dtype=np.int64)
        points = torch.from_numpy(self._samples.points_SND[index_B])
        assert self._samples.labels_S is not None
        return RecordedBatch(
            points=self._plan.augmentation.apply(points, self._draw(index_B)),
            teacher_logits=torch.from_numpy(self._logits(index_B)[:, self._columns]),
            label=torch.from_numpy(self._samples.labels_S[index_B]),
            index=torch.from_numpy(index_B),
        )

    def _draw(self, index_B: npt.NDArray[np.int64]):  # type: ignore[no-untyped-def]
        return self._plan.augmentation.draw(self._plan.seed, views=self._view, samples_B=index_B)


@dataclass(frozen=True, slots=True)
class Case:
    """A teacher, its data, how it is recorded, how long a student learns."""

    teacher: Teacher
    samples: SampleSet
    augment: str
    views: int
    epochs: int
    class_map: tuple[int, ...] | None = None


@pytest.fixture(scope="module", params=["a small network", "PointNet on real clouds"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param == "PointNet on real clouds":
        # Asked for here, so that the other case runs where the real data are absent.
        return _real_case(request.getfixturevalue("shared_data"))
    return _small_case(tmp_path_factory.mktemp("weights"))


def _small_case(folder: Path) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build_model("pointnet-s", num_classes=12).state_dict(), folder / "t.pt")
    teacher = load_teacher(TeacherOptions(factory="pointnet-s", weights=folder / "t.pt"))
    samples = make_shapes(70, seed=0, num_points=48)
    augment = "scale=0.8:1.2,rotate_y=30,translate=0.1,normalize"
    return Case(teacher, samples, augment, views=3, epochs=4)


def _real_case(shared_data: Path) -> Case:
    weights = shared_data / "teachers" / "pointnet_modelnet40.npz"
    teacher = load_teacher(TeacherOptions(factory="pointnet", weights=weights))
    clouds = str(shared_data / "clouds" / "modelnet10_test908_1024.npz")
    samples = load_samples(clouds, num_points=NUM_REAL_POINTS)
    # Spread over the file, which is sorted by class.
    some = samples.rows(np.linspace(0, len(samples) - 1, NUM_REAL_CLOUDS).astype(np.int64))
    class_map = read_class_map("modelnet40_index", clouds)
    augment = "scale=0.9:1.1,rotate_y=-15:15,translate=0.05"
    return Case(teacher, some, augment, views=2, epochs=2, class_map=class_map)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, case: Case) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "r.zarr"
    request = RecordRequest(
        out=out,
        teacher=case.teacher.options,
        augmentation=parse_augmentation(case.augment),
        views=case.views,
        encoding="exact",
        group=2,
        batch_size=16,
        block_samples=32,
        threads=1,
        class_map=case.class_map,
    )
    record(request, case.teacher, case.samples, Silent())
    return out


def test_losses_and_weights_are_those_of_a_live_teacher(
    tmp_path: Path, path: Path, case: Case
) -> None:
    recording = open_recording(path)
    views = RecordedViews(recording, case.samples)
    live = LiveViews(
        case.teacher,
        case.samples,
        recording.manifest.plan,
        views.description,
        recorder_batches=True,
    )
    settings = TrainSettings(epochs=case.epochs, batch_size=20, threads=1, device="cpu")
    recorded_run = train(views, settings, tmp_path / "recorded")
    live_run = train(live, settings, tmp_path / "live")
    assert [e.loss for e in recorded_run.epochs] == [e.loss for e in live_run.epochs]
    weights = [(tmp_path / run / "last.safetensors").read_bytes() for run in ("recorded", "live")]
    tensors = [data[8 + int.from_bytes(data[:8], "little") :] for data in weights]
    assert tensors[0] == tensors[1]


def test_asked_in_the_students_batches_the_teacher_agrees_within_rounding(
    path: Path, case: Case
) -> None:
    recording = open_recording(path)
    views = RecordedViews(recording, case.samples)
    live = LiveViews(
        case.teacher,
        case.samples,
        recording.manifest.plan,
        views.description,
        recorder_batches=False,
    )
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(case.samples))
    worst = 0.0
    for epoch in range(case.views):
        views.set_epoch(epoch)
        live.set_epoch(epoch)
        for index in np.array_split(order, 5):
            ours, theirs = views.batch(index), live.batch(index)
            assert torch.equal(ours.points, theirs.points)
            difference = (ours.teacher_logits - theirs.teacher_logits).abs().max()
            worst = max(worst, float(difference))
    print(f"largest difference of a logit: {worst:.2g}")  # noqa: T201
    assert worst < 1e-5
