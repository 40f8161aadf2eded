"""Conversion: the same records under their own address, a bound that stays true and provable."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec.augment import fingerprint
from kdrec.client import ConvertRequest, Recording, convert, open_recording
from kdrec.errors import ConflictError, IncompleteError, InvalidInputError
from kdrec.recorder import TeacherVerdict, load_teacher, verify_teacher
from kdrec.samples import make_shapes
from kdrec.store import Bound, LocalStorage, beyond_bound, plan_encoding, verify_bytes
from kdrec.student import RecordedViews
from kdrec.testing import make_plan, make_recording
from tests.programs import contents
from tests.recorder.toy_teachers import record_toy, toy, toy_samples, write_toys

AUGMENT = "scale=0.9:1.1,rotate_y=15,subset=24"


def run(source: Recording, out: Path, request: ConvertRequest) -> Recording:
    for _ in convert(source, out, request):
        pass
    return open_recording(out)


def assert_sound(path: Path) -> None:
    """Every byte, and the bound on the proof records."""
    recording = open_recording(path)
    (*_, report) = verify_bytes(recording.reader, LocalStorage(path))
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])
    assert report.proof_checked == report.proof_records > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    samples = make_shapes(20, seed=0, num_points=32)
    for encoding in ("exact", "half"):
        plan = make_plan(samples, encoding=encoding, augment=AUGMENT)
        make_recording(folder / f"{encoding}.zarr", samples, plan=plan)
    return folder


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_part_in_any_form_holds_the_same_records(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    source = open_recording(folder / "exact.zarr")
    first = data.draw(st.integers(0, 4))
    views = range(first, data.draw(st.integers(first + 1, 5)))
    samples = sorted(data.draw(st.sets(st.integers(0, 19), min_size=1)))
    request = ConvertRequest(
        views=views,
        samples_S=np.array(samples),
        encoding=data.draw(st.sampled_from([None, *map(plan_encoding, ("half", "compact"))])),
        group=data.draw(st.sampled_from([None, 1, 3])),
        block_samples=data.draw(st.sampled_from([None, 4])),
    )
    out = tmp_path_factory.mktemp("any") / "r.zarr"
    made = run(source, out, request)
    assert_sound(out)
    points_SND = made.samples().points_SND
    for place, view in enumerate(views):
        there, expected = source.read(view, samples)
        here, found = made.read(place)
        np.testing.assert_array_equal(here.values_BP, there.values_BP)
        assert not beyond_bound(expected, found, made.manifest.bounds).any()
        # With `subset`, replay needs the address by which the record was drawn.
        seen = made.replay(points_SND, here)
        np.testing.assert_array_equal(
            seen, source.replay(source.samples().points_SND[samples], there)
        )
    made.check(source.samples().rows(np.array(samples)))


def test_a_student_gets_the_same_batches(folder: Path, tmp_path: Path) -> None:
    source = open_recording(folder / "exact.zarr")
    request = ConvertRequest(views=range(1, 5), samples_S=np.array([19, 3, 7]))
    views, whole = RecordedViews(run(source, tmp_path / "r.zarr", request)), RecordedViews(source)
    views.set_epoch(2)
    whole.set_epoch(3)
    ours, theirs = views.batch([2, 0, 1]), whole.batch([19, 3, 7])
    for name in ("points", "teacher_logits", "label"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()
    assert ours.index.tolist() == [2, 0, 1]


def test_bounds_add_up_and_the_proof_shows_them(folder: Path, tmp_path: Path) -> None:
    half = Bound(relative=2.0**-11, absolute=2.0**-25)
    exact, lossy = (open_recording(folder / f"{name}.zarr") for name in ("exact", "half"))
    first = run(exact, tmp_path / "a.zarr", ConvertRequest(encoding=plan_encoding("half")))
    assert first.manifest.bounds == (Bound(), half)
    # The same encoding of its own values loses nothing more, though the bounds count it.
    again = run(lossy, tmp_path / "b.zarr", ConvertRequest(group=1))
    assert again.manifest.bounds == (half, half)
    np.testing.assert_array_equal(again.read(3)[1], lossy.read(3)[1])
    assert_sound(tmp_path / "b.zarr")
    same = run(exact, tmp_path / "c.zarr", ConvertRequest())
    assert same.manifest.bounds == (Bound(), Bound())
    assert same.identity != exact.identity
    assert same.manifest.origin is not None
    assert same.manifest.origin.identity == exact.identity


def test_bits_that_are_lost_are_not_promised(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="keeps the teacher's logits bit for bit, and"):
        run(
            open_recording(folder / "half.zarr"),
            tmp_path / "r",
            ConvertRequest(encoding=plan_encoding("exact")),
        )
    assert not (tmp_path / "r").exists()


def test_classes_that_were_not_kept_are_not_promised(folder: Path, tmp_path: Path) -> None:
    exact = open_recording(folder / "exact.zarr")
    kept = {n: ConvertRequest(encoding=plan_encoding("topk", kept=n)) for n in (2, 3, 4, 12)}
    three = run(exact, tmp_path / "3.zarr", kept[3])
    for request in (kept[4], ConvertRequest(encoding=plan_encoding("half"))):
        with pytest.raises(InvalidInputError, match="keeps 3 of 12 classes, and no bound holds"):
            run(three, tmp_path / "r", request)
    run(three, tmp_path / "2.zarr", kept[2])
    assert_sound(tmp_path / "2.zarr")
    # Where all classes were kept, none is lost.
    all_kept = run(exact, tmp_path / "12.zarr", kept[12])
    run(all_kept, tmp_path / "half.zarr", ConvertRequest(encoding=plan_encoding("half")))
    assert_sound(tmp_path / "half.zarr")


def test_proof_remains_or_is_made_where_nothing_was_lost(folder: Path, tmp_path: Path) -> None:
    middle = ConvertRequest(views=range(1, 3))  # the proof is of views 0 and 4
    made = run(open_recording(folder / "exact.zarr"), tmp_path / "a.zarr", middle)
    assert_sound(tmp_path / "a.zarr")
    proof = made.reader.proof()
    parameters, logits = made.read(proof.views_M, proof.samples_M)
    np.testing.assert_array_equal(proof.logits_MC, logits)
    seen = made.replay(made.samples().points_SND[proof.samples_M], parameters)
    np.testing.assert_array_equal(proof.fingerprints_MF, fingerprint(seen))
    with pytest.raises(InvalidInputError, match=r"none of the 2 proof .* views \[0, 4\] .*\[0, 19"):
        run(open_recording(folder / "half.zarr"), tmp_path / "b.zarr", middle)


def test_stopped_and_continued_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    source = open_recording(folder / "exact.zarr")
    request = ConvertRequest(encoding=plan_encoding("half"), group=1)
    run(source, tmp_path / "whole.zarr", request)
    for blocks in range(1, 4):
        begun = convert(source, tmp_path / "r.zarr", request)
        for _ in range(blocks):
            next(begun)
        assert isinstance(begun, Generator)
        begun.close()
        assert open_recording(tmp_path / "r.zarr").identity is None
    run(source, tmp_path / "r.zarr", request)
    assert contents(tmp_path / "r.zarr") == contents(tmp_path / "whole.zarr")
    with pytest.raises(ConflictError, match="group: 1 recorded, 2 now"):
        run(source, tmp_path / "r.zarr", ConvertRequest(encoding=plan_encoding("half")))


def test_a_converted_recording_is_converted_again(folder: Path, tmp_path: Path) -> None:
    source = open_recording(folder / "exact.zarr")
    first = run(source, tmp_path / "a.zarr", ConvertRequest(views=range(1, 5)))
    some = ConvertRequest(views=range(2, 4), samples_S=np.array([4, 11]))
    second = run(first, tmp_path / "b.zarr", some)
    third = run(second, tmp_path / "c.zarr", ConvertRequest(samples_S=np.array([1])))
    assert_sound(tmp_path / "c.zarr")
    parameters, logits = third.read(1)
    there, expected = source.read(4, [11])
    np.testing.assert_array_equal(logits, expected)
    assert parameters.views_B.tolist() == there.views_B.tolist() == [4]
    assert parameters.samples_B.tolist() == there.samples_B.tolist() == [11]


def test_what_is_out_of_range_or_not_sealed_is_refused(folder: Path, tmp_path: Path) -> None:
    source, out = open_recording(folder / "exact.zarr"), tmp_path / "r.zarr"
    for request, message in (
        (ConvertRequest(views=range(3, 9)), "within 0:5, got 3:9"),
        (ConvertRequest(views=range(2, 2)), "got 2:2"),
        (ConvertRequest(samples_S=np.array([0, 20])), "from 0 to 19, got 0 to 20"),
        (ConvertRequest(samples_S=np.array([], dtype=int)), "got none"),
        (ConvertRequest(block_samples=3), "multiple of the batch size 4"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            run(source, out, request)
    make_recording(tmp_path / "begun.zarr", blocks=8)
    with pytest.raises(IncompleteError, match="is not sealed"):
        run(open_recording(tmp_path / "begun.zarr"), out, ConvertRequest())
    assert not out.exists()


def test_its_teacher_is_still_known_and_no_teacher_writes_into_it(tmp_path: Path) -> None:
    toys = write_toys(tmp_path)
    record_toy(tmp_path / "r.zarr", toy(toys))
    request = ConvertRequest(samples_S=np.arange(1, 24, 2), encoding=plan_encoding("half"))
    source = open_recording(tmp_path / "r.zarr")
    made = run(source, tmp_path / "c.zarr", request)
    found = verify_teacher(made, load_teacher(toy(toys)), toy_samples().rows(np.arange(1, 24, 2)))
    assert found.verdict is not TeacherVerdict.ANOTHER
    another = verify_teacher(made, load_teacher(toy(toys, seed=1)), made.samples())
    assert another.verdict is TeacherVerdict.ANOTHER
    with pytest.raises(ConflictError, match="was converted from recording"):
        record_toy(tmp_path / "c.zarr", toy(toys))
