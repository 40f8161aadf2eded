"""Promise 2: a view replayed from its stored parameters is what the teacher saw.

Shape letters: S samples, V views, B batch, N points, D channels, P parameters.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from kdrec.augment import (
    NORMAL,
    XYZ,
    ViewParameters,
    fingerprint,
    fingerprint_tolerance,
    parse_augmentation,
)
from kdrec.client import Recording, open_recording
from kdrec.errors import ConflictError
from kdrec.recorder import RecordRequest, TeacherOptions, load_teacher, record
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import BlockGrid, RecordingReader, RecordingWriter, verify_bytes
from kdrec.testing import make_logits, make_plan, make_recording
from tests.memory import MemoryStorage

AUGMENTATIONS = [
    "none",
    "normalize",
    "scale=0.8:1.2:common,rotate_y=180,normalize",
    "rotate_x=30,reflect_x,rotate_z=30,translate=0.2,reflect_z=0.9",
    "scale=0.8:1.2,subset=16,normalize",
    "subset=16,rotate_y=15,translate=0.1,rotate_y=15",
]
CHANNELS = [XYZ, XYZ + NORMAL, (*XYZ, "height", *NORMAL)]
EVERY_COLUMN = "scale=0.8:1.2,rotate_x=10,rotate_y=20,rotate_z=30,translate=0.1,reflect_x"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

# What it says is what it saw, so that the recorded logits show the teacher's own input.
MIRROR = """
from torch import nn

class Mirror(nn.Module):
    def forward(self, points):
        return points.flatten(1)[:, :48]
"""


class Silent:
    def on_probe(self, report: object, score: object) -> None: ...
    def on_wait(self) -> None: ...
    def on_found(self, found: object) -> None: ...
    def on_progress(self, progress: object) -> None: ...


def make_samples(channels: tuple[str, ...] = XYZ) -> SampleSet:
    """Shapes; normals point outwards, everything else is the height."""
    shapes = make_shapes(20, seed=0, num_points=32)
    unit = shapes.points_SND / np.linalg.norm(shapes.points_SND, axis=2, keepdims=True)
    columns = {name: shapes.points_SND[..., axis] for axis, name in enumerate(XYZ)}
    columns |= {name: unit[..., axis] for axis, name in enumerate(NORMAL)}
    columns["height"] = shapes.points_SND[..., 1]
    points_SND = np.stack([columns[name] for name in channels], axis=2)
    return replace(shapes, points_SND=points_SND, channels=channels)


@cache
def recorded(augment: str, channels: tuple[str, ...] = XYZ) -> tuple[Recording, SampleSet]:
    """A recording under this augmentation, and its samples; not to be changed."""
    samples, storage = make_samples(channels), MemoryStorage()
    plan = make_plan(samples, views=3, group=2, block_samples=12, augment=augment)
    make_recording(Path("r.zarr"), samples, plan=plan, storage=storage)
    return Recording(storage, where="r.zarr"), samples


@pytest.mark.parametrize("channels", CHANNELS, ids=len)
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_every_proof_record_replays_from_what_is_stored(
    augment: str, channels: tuple[str, ...]
) -> None:
    recording, samples = recorded(augment, channels)
    assert recording.check(samples) is None
    proof = recording.reader.proof()
    parameters, _ = recording.read(proof.views_M, proof.samples_M)
    points_MND = samples.points_SND[proof.samples_M]
    for device in DEVICES:
        seen = recording.replay(torch.from_numpy(points_MND).to(device), parameters).cpu().numpy()
        difference = np.abs(fingerprint(seen) - proof.fingerprints_MF)
        assert (difference <= fingerprint_tolerance(seen)).all()


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_stored_parameters_are_the_drawn_ones_and_lie_on_their_grid(
    augment: str,
) -> None:
    recording, _ = recorded(augment)
    for view in range(recording.num_views):
        stored, _ = recording.read(view)
        drawn = recording.manifest.plan.augmentation.draw(0, views=view, samples_B=np.arange(20))
        assert stored.names == drawn.names
        assert stored.values_BP.tobytes() == drawn.values_BP.tobytes()
        for values, column in zip(stored.values_BP.T, recording.manifest.parameters, strict=True):
            steps = values.astype(np.float64) * 2.0**column.exponent
            assert (steps == np.round(steps)).all()
            assert column.low <= steps.min() <= steps.max() <= column.high


@pytest.mark.parametrize("channels", CHANNELS, ids=len)
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_numpy_and_torch_replay_alike(augment: str, channels: tuple[str, ...]) -> None:
    recording, samples = recorded(augment, channels)
    for view in range(recording.num_views):
        parameters, _ = recording.read(view)
        here = recording.replay(samples.points_SND, parameters)
        there = recording.replay(torch.from_numpy(samples.points_SND), parameters).numpy()
        assert here.dtype == there.dtype == np.float32
        if "normalize" in augment or len(channels) > 3:  # sums are taken, roots drawn
            np.testing.assert_allclose(here, there, rtol=0, atol=4e-7)
        else:
            assert here.tobytes() == there.tobytes()


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_view_is_bit_for_bit_what_a_teacher_was_given(tmp_path: Path, augment: str) -> None:
    (tmp_path / "mirror.py").write_text(MIRROR)
    samples = replace(make_samples(), labels_S=None, class_names=None)
    request = RecordRequest(
        out=tmp_path / "r.zarr",
        teacher=TeacherOptions(factory=f"{tmp_path / 'mirror.py'}:Mirror"),
        augmentation=parse_augmentation(augment),
        views=3,
        encoding="exact",  # the teacher's logits are what it saw, to be compared to the bit
        group=2,
        batch_size=8,
        threads=1,
    )
    record(request, load_teacher(request.teacher), samples, Silent())
    recording = open_recording(request.out)
    for view in range(3):
        parameters, logits_BC = recording.read(view)
        replayed = recording.replay(torch.from_numpy(samples.points_SND), parameters)
        assert replayed.flatten(1)[:, :48].numpy().tobytes() == logits_BC.tobytes()


def one_step_off(parameters: ViewParameters, recording: Recording, name: str) -> ViewParameters:
    values_BP = parameters.values_BP.copy()
    place = parameters.names.index(name)
    column = recording.manifest.parameters[place]
    if column.unit == "sign":
        values_BP[:, place] *= -1
    else:
        values_BP[:, place] += np.float32(2.0**-column.exponent)
    return replace(parameters, values_BP=values_BP)


@pytest.mark.parametrize(
    "name", [column.name for column in parse_augmentation(EVERY_COLUMN).columns]
)
def test_one_grid_step_of_one_parameter_does_not_match_its_fingerprint(
    name: str,
) -> None:
    recording, samples = recorded(EVERY_COLUMN)
    proof = recording.reader.proof()
    parameters, _ = recording.read(proof.views_M, proof.samples_M)
    tampered = one_step_off(parameters, recording, name)
    seen = recording.replay(samples.points_SND[proof.samples_M], tampered)
    difference = np.abs(fingerprint(seen) - proof.fingerprints_MF)
    assert (difference > fingerprint_tolerance(seen)).any(axis=1).all()


def test_parameters_that_were_stored_wrong_are_found() -> None:
    """By `check` or by verification: a student replays from what is stored, not from the seed."""
    samples, storage = make_samples(), MemoryStorage()
    plan = make_plan(samples, views=2, block_samples=20, augment=EVERY_COLUMN)
    make_recording(Path("r.zarr"), samples, plan=plan, storage=storage, blocks=0)
    writer = RecordingWriter(storage, where="r.zarr")
    manifest = writer.prepare()
    assert manifest is not None
    writer.resume(manifest)
    (block,) = BlockGrid.of(plan)
    # Those of the views in the wrong order: each on its grid, and of another view.
    drawn = [plan.augmentation.draw(0, views=v, samples_B=block.samples) for v in (1, 0)]
    wrong_GSP = np.stack([parameters.values_BP for parameters in drawn])
    writer.commit(block, wrong_GSP, make_logits(plan, 12), correct=None)
    writer.seal()
    *_, report = verify_bytes(RecordingReader(storage, where="r.zarr"), storage)
    if not report.damaged:
        with pytest.raises(ConflictError):
            Recording(storage, where="r.zarr").check(samples)
