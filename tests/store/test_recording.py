"""A recording from the writer to the reader."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec.errors import (
    AlreadyExistsError,
    ConflictError,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import (
    ENCODINGS,
    BlockGrid,
    Bound,
    Classes,
    Correct,
    LedgerEntry,
    LocalStorage,
    MemoryStorage,
    ProofRecords,
    RecordingReader,
    RecordingWriter,
    SampleContents,
    beyond_bound,
    check_same_plan,
    find_encoding,
    find_manifest,
    plan_encoding,
)
from kdrec.store.documents import seal_document
from kdrec.testing import (
    FaultyStorage,
    ProcessKilled,
    make_logits,
    make_plan,
    make_recording,
)


@pytest.fixture(scope="module")
def samples() -> SampleSet:
    return make_shapes(20, seed=0, num_points=32)


def open_reader(path: Path, *, memory: int = 2**30) -> RecordingReader:
    return RecordingReader(LocalStorage(path), where=str(path), memory=memory)


def contents(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("views", "group", "block_samples"), [(5, 2, 8), (1, 1, 4), (8, 8, 20)])
def test_what_was_written_is_read_in_any_order(
    tmp_path: Path, samples: SampleSet, encoding: str, views: int, group: int, block_samples: int
) -> None:
    plan = make_plan(
        samples, views=views, group=group, block_samples=block_samples, encoding=encoding
    )
    logits = make_recording(tmp_path / "r.zarr", samples, plan=plan)
    reader = open_reader(tmp_path / "r.zarr")
    index = np.array([19, 0, 7, 7, 12])
    for view in reversed(range(views)):
        parameters, found = reader.read(view, index)
        assert not beyond_bound(logits[view, index], found, reader.manifest.bounds).any()
        drawn = plan.augmentation.draw(plan.seed, views=view, samples_B=index)
        np.testing.assert_array_equal(parameters.values_BP, drawn.values_BP)
        assert parameters.names == drawn.names


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_gather_over_views_equals_one_read_each(recording: Path, data: st.DataObject) -> None:
    reader = open_reader(recording)
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 19)), max_size=12))
    views, samples = [v for v, _ in pairs], [s for _, s in pairs]
    _, together = reader.read(np.array(views, dtype=int), np.array(samples, dtype=int))
    for row, (view, sample) in enumerate(pairs):
        np.testing.assert_array_equal(together[row], reader.read(view, [sample])[1][0])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "r.zarr"
    make_recording(path)
    return path


def test_little_memory_gives_the_same_records(recording: Path) -> None:
    small, large = open_reader(recording, memory=1), open_reader(recording)
    for view in (0, 4, 2, 0):
        np.testing.assert_array_equal(small.read(view)[1], large.read(view)[1])


def test_a_reader_travels_to_another_process(recording: Path) -> None:
    reader = open_reader(recording)
    expected = reader.read(3)[1]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(3)[1], expected)


@pytest.mark.parametrize(
    ("view", "index", "message"),
    [
        (5, [0], "view must be from 0 to 4, got 5"),
        (-1, [0], "got -1"),
        (0, [20], "sample must be from 0 to 19, got 20"),
        (0, [-1], "got -1"),
        (0, [0.5], "integers, got float64"),
        ([0, 1], [0], "2 views do not go with 1 samples"),
    ],
)
def test_what_is_out_of_range_is_named(
    recording: Path, view: int, index: list[int], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_reader(recording).read(view, index)


def test_keys_are_the_same_by_whatever_path_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_recording(tmp_path / "r.zarr")
    keys = list(LocalStorage(tmp_path / "r.zarr").keys())
    entries = [key for key in keys if key.startswith("ledger/")]
    monkeypatch.chdir(tmp_path / "r.zarr")
    for root in (Path(), Path("../r.zarr"), Path("ledger/..")):
        assert list(LocalStorage(root).keys()) == keys
        assert list(LocalStorage(root).keys("ledger/")) == entries


def test_nothing_but_committed_blocks_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.zarr"
    logits = make_recording(path, blocks=2)
    reader = open_reader(path)
    assert [block.name for block in reader.committed()] == ["g00000-p00000", "g00000-p00001"]
    np.testing.assert_array_equal(reader.read(1, range(16))[1], logits[1, :16])
    with pytest.raises(IncompleteError, match=r"g00000-p00002 .*not recorded yet \(2 of 9"):
        reader.read(0, [16])
    make_recording(path)
    np.testing.assert_array_equal(reader.read(0, [16])[1], logits[0, [16]])
    assert reader.identity is None
    reader.refresh()
    assert reader.identity is not None


def test_any_interruption_ends_in_the_same_bytes(tmp_path: Path, samples: SampleSet) -> None:
    plan = make_plan(samples, views=2, group=1, block_samples=16)
    make_recording(tmp_path / "whole.zarr", samples, plan=plan)
    whole = contents(tmp_path / "whole.zarr")
    counting = FaultyStorage(LocalStorage(tmp_path / "count.zarr"))
    make_recording(tmp_path / "count.zarr", samples, plan=plan, storage=counting)
    for write in range(counting.writes):
        path = tmp_path / f"{write}.zarr"
        fault = {"kill_at": write} if write % 2 else {"fail_at": write}
        storage = FaultyStorage(LocalStorage(path), **fault)
        with pytest.raises((ProcessKilled, StorageError)):
            make_recording(path, samples, plan=plan, storage=storage)
        make_recording(path, samples, plan=plan)
        assert contents(path) == whole, f"interrupted at write {write}"


def test_a_beginning_of_another_plan_leaves_nothing_behind(
    tmp_path: Path, samples: SampleSet
) -> None:
    make_recording(tmp_path / "whole.zarr", samples, plan=make_plan(samples, with_samples=False))
    path = tmp_path / "r.zarr"
    with pytest.raises(ProcessKilled):
        make_recording(path, samples, storage=FaultyStorage(LocalStorage(path), kill_at=15))
    make_recording(path, samples, plan=make_plan(samples, with_samples=False))
    assert contents(path) == contents(tmp_path / "whole.zarr")


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AlreadyExistsError, match=r"thesis\.tex"):
        make_recording(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_seal_over_missing_blocks_is_refused(tmp_path: Path, samples: SampleSet) -> None:
    path = tmp_path / "r.zarr"
    make_recording(path, samples, blocks=3)
    writer = RecordingWriter(LocalStorage(path), where="r.zarr")
    there = writer.prepare()
    assert there is not None
    writer.resume(there)
    with pytest.raises(IncompleteError, match=r"r\.zarr lacks 6 blocks, the first is block g00001"):
        writer.seal()


def test_another_plan_is_refused_with_the_difference(recording: Path, samples: SampleSet) -> None:
    manifest = find_manifest(LocalStorage(recording), where="r.zarr")
    assert manifest is not None
    check_same_plan(manifest.plan, make_plan(samples), where="r.zarr")
    other = make_plan(samples, seed=1, augment="scale=0.9:1.2,rotate_y=15")
    with pytest.raises(ConflictError, match=r"augmentation\.operations: .*; seed: 0 recorded, 1"):
        check_same_plan(manifest.plan, other, where="r.zarr")


def test_blocks_cover_every_record_once(samples: SampleSet) -> None:
    plan = make_plan(samples, views=5, group=2, block_samples=8)
    seen = np.zeros((5, 20), dtype=int)
    for block in BlockGrid.of(plan):
        seen[np.ix_(block.views, block.samples)] += 1
    assert (seen == 1).all()
    assert len(BlockGrid.of(plan)) == 9


def test_plain_zarr_reads_the_same_logits(recording: Path, samples: SampleSet) -> None:
    group = zarr.open_group(recording, mode="r")
    logits = group["logits"]
    assert isinstance(logits, zarr.Array)
    np.testing.assert_array_equal(logits[2], make_logits(make_plan(samples), 12)[2])
    assert logits.metadata.to_dict()["dimension_names"] == ("view", "sample", "class")


def test_a_recording_without_parameters_has_no_params(tmp_path: Path, samples: SampleSet) -> None:
    plan = make_plan(samples, augment="none")
    make_recording(tmp_path / "r.zarr", samples, plan=plan)
    assert not (tmp_path / "r.zarr" / "params").exists()
    parameters, logits = open_reader(tmp_path / "r.zarr").read(0)
    assert parameters.values_BP.shape == (20, 0)
    assert np.isfinite(logits).all()


def test_a_logit_beyond_half_precision_is_refused(tmp_path: Path, samples: SampleSet) -> None:
    with pytest.raises(InvalidInputError, match=r"65504, got 70000; use --encoding exact"):
        find_encoding("half").to_stored(
            np.full((1, 1, 2), 7e4, dtype=np.float32), plan_encoding("half"), Bound()
        )
    with pytest.raises(InvalidInputError, match="allowed are: compact, portable, exact, half, t"):
        find_encoding("zip")


@pytest.mark.parametrize("encoding", ["compact", "half", "portable", "topk"])
def test_what_cannot_be_kept_is_refused_before_anything_is_written(
    samples: SampleSet, encoding: str
) -> None:
    storage = MemoryStorage()
    proof = ProofRecords(
        np.zeros(1, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.array([[1e13, 0, 0]], dtype=np.float32),
        np.zeros((1, 8)),
    )
    contents = SampleContents(np.zeros((20, 16), dtype=np.uint8), np.zeros((20, 16), np.float32))
    plan = make_plan(samples, encoding=encoding, with_samples=False)
    with pytest.raises(InvalidInputError, match=r"holds logits up to .*, got 1e\+13; use --enc"):
        RecordingWriter(storage, where="r").begin(plan, Classes(num_teacher=3), contents, proof)
    assert not list(storage.keys())


@pytest.mark.parametrize(
    ("encoding", "asked"),
    [
        ("portable", {"max_kl": 1e-9}),
        ("portable", {"max_error": np.inf}),
        ("topk", {"max_error": 1e-9}),
        ("compact", {"max_kl": 5}),
    ],
)
def test_a_fidelity_that_cannot_be_kept_is_refused_before_a_teacher_is_asked(
    encoding: str, asked: dict[str, float]
) -> None:
    with pytest.raises(InvalidInputError, match=r"max_kl|max_error"):
        plan_encoding(encoding, **asked)  # type: ignore[arg-type]


@given(st.lists(st.floats(-65504, 65504, width=32), min_size=1, max_size=50))
def test_half_keeps_its_bound(values: list[float]) -> None:
    logits = np.array([[values]], dtype=np.float32)
    half = find_encoding("half")
    asked = plan_encoding("half")
    bound = half.fit(asked, logits[0]).bound
    stored = half.to_stored(logits, asked, bound)["logits"]
    assert not beyond_bound(logits, stored.astype(np.float32), (bound,)).any()


def test_no_recording_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recording at"):
        open_reader(tmp_path / "nothing")


def test_a_zarr_group_of_somebody_else_is_no_recording(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "g.zarr")
    (tmp_path / "g.zarr" / "ledger").mkdir()
    with pytest.raises((InvalidInputError, IntegrityError)):
        open_reader(tmp_path / "g.zarr")
    with pytest.raises(InvalidInputError, match="no recording of kdrec"):
        find_manifest(LocalStorage(tmp_path / "g.zarr"), where="g.zarr")


@pytest.mark.parametrize(
    ("version", "message"),
    [(2, r"format version 2.*needs kdrec 9\.3\.0"), (1, r"needs kdrec 9\.3\.0 or newer, this is")],
)
def test_a_newer_recording_says_which_version_it_needs(
    tmp_path: Path, version: int, message: str
) -> None:
    path = tmp_path / "r.zarr"
    make_recording(path)
    root = (path / "zarr.json").read_text()
    root = root.replace('"format_version": 1', f'"format_version": {version}, "new": 1')
    (path / "zarr.json").write_text(root.replace('"0.1.0"', '"9.3.0"'))
    with pytest.raises(InvalidInputError, match=message):
        find_manifest(LocalStorage(path), where="r.zarr")
    # Its ledger, too, may hold what this version does not know.
    header = path / "ledger" / "header.json"
    body = json.loads(header.read_bytes())["body"] | {"new": 1}
    header.write_bytes(seal_document(body))
    with pytest.raises(InvalidInputError, match=message):
        open_reader(path)


def test_a_seal_is_never_written_over(tmp_path: Path, samples: SampleSet) -> None:
    path = tmp_path / "r.zarr"
    make_recording(path, samples)
    sealed = (path / "seal.json").stat()
    make_recording(path, samples)  # continued: there is nothing left to do
    assert (path / "seal.json").stat() == sealed
    entry = path / "ledger" / "g00001-p00001.json"
    found = LedgerEntry.from_bytes(entry.read_bytes(), where="", remedy="")
    entry.write_bytes(found.model_copy(update={"correct": Correct(records=1)}).to_bytes())
    with pytest.raises(IntegrityError, match=r"disagree on ledger/g00001-p00001.json; put it back"):
        make_recording(path, samples)
    assert (path / "seal.json").stat() == sealed


def test_sizes_are_those_of_the_files_whether_it_is_sealed_or_not(
    tmp_path: Path, samples: SampleSet
) -> None:
    plan = make_plan(samples, encoding="topk")
    for blocks in (0, 2, None):
        path = tmp_path / f"{blocks}.zarr"
        make_recording(path, samples, plan=plan, blocks=blocks)
        files = contents(path)
        assert open_reader(path).shard_sizes() == {
            name: sum(len(data) for key, data in files.items() if key.startswith(f"{name}/c/"))
            for name in ("params", "logits", "classes", "mass")
        }
