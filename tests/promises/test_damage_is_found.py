"""Promise 4, and what of promise 3 concerns damage: one changed byte anywhere is found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kdrec.errors import IntegrityError, KdrecError, NotFoundError
from kdrec.store import LocalStorage, RecordingReader, VerifyReport, verify_bytes
from kdrec.testing import flip_bit, make_recording, truncate
from tests.programs import contents

FILES = [
    "zarr.json",
    "seal.json",
    "ledger/header.json",
    "ledger/g00001-p00002.json",
    "logits/c/1/2/0",
    "logits/zarr.json",
    "params/c/0/0/0",
    "params/zarr.json",
    "proof/logits/c/0/0",
    "proof/fingerprint/zarr.json",
    "samples/digest/c/0/0",
    "samples/points/c/0/0/0",
    "samples/zarr.json",
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    make_recording(tmp_path / "r.zarr")
    return tmp_path / "r.zarr"


def verify(path: Path) -> VerifyReport:
    storage = LocalStorage(path)
    reader = RecordingReader(storage, where=path.name)
    *_, report = verify_bytes(reader, storage)
    return report


def is_found(path: Path) -> bool:
    try:
        return bool(verify(path).damaged)
    except IntegrityError:
        return True


def read_everything(path: Path) -> None:
    reader = RecordingReader(LocalStorage(path), where=path.name)
    for view in range(5):
        reader.read(view)


def test_an_undamaged_recording_passes(recording: Path) -> None:
    report = verify(recording)
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])
    assert report.proof_checked == 2
    assert report.files == sum(p.is_file() for p in recording.rglob("*")) - 1  # the seal itself


@pytest.mark.parametrize("position", [0, 777, 31_415, 5_000_011])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(recording: Path, name: str, position: int) -> None:
    flip_bit(recording / name, position)
    assert is_found(recording)


def test_every_byte_of_the_small_files_counts(recording: Path) -> None:
    for name in ("ledger/g00001-p00002.json", "seal.json"):
        original = (recording / name).read_bytes()
        for place in range(0, len(original), 7):
            (recording / name).write_bytes(
                original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :]
            )
            assert is_found(recording), f"{name} byte {place}"
        (recording / name).write_bytes(original)


@pytest.mark.parametrize("harm", [truncate, Path.unlink])
@pytest.mark.parametrize("name", [name for name in FILES if name != "seal.json"])
def test_a_cut_or_deleted_file_is_found(
    recording: Path, name: str, harm: Callable[[Path], None]
) -> None:
    harm(recording / name)
    try:
        report = verify(recording)
    except KdrecError:
        return
    assert report.damaged or report.absent


@pytest.mark.parametrize("harm", [truncate, Path.unlink, lambda path: flip_bit(path, 4321)])
@pytest.mark.parametrize("name", ["logits/c/1/2/0", "params/c/1/2/0"])
def test_a_damaged_shard_is_never_read(
    recording: Path, name: str, harm: Callable[[Path], None]
) -> None:
    harm(recording / name)
    with pytest.raises(IntegrityError, match=r"block g00001-p00002 \(views 2..3, samples 16..19\)"):
        read_everything(recording)


@pytest.mark.parametrize("name", ["logits/zarr.json", "ledger/g00001-p00002.json"])
def test_what_is_damaged_is_said_once_and_not_called_foreign(recording: Path, name: str) -> None:
    flip_bit(recording / name, 777)
    report = verify(recording)
    assert report.unlisted == []
    assert 0 < len(report.damaged) == len(set(report.damaged)) <= 2
    assert all(name in line for line in report.damaged)


def test_a_root_that_is_gone_is_told_from_a_recording_that_never_was(
    tmp_path: Path, recording: Path
) -> None:
    make_recording(tmp_path / "begun.zarr", blocks=2)
    for path in (recording, tmp_path / "begun.zarr"):
        (path / "zarr.json").unlink()
        with pytest.raises(NotFoundError, match=r"without its zarr\.json .*`kdrec repair"):
            read_everything(path)
    with pytest.raises(NotFoundError, match=r"never\.zarr; give the folder or the address of one"):
        read_everything(tmp_path / "never.zarr")


def test_a_message_names_the_file_the_digests_and_the_remedy(recording: Path) -> None:
    flip_bit(recording / "logits/c/1/2/0", 99)
    with pytest.raises(
        IntegrityError,
        match=r"c/1/2/0 does not match its digest \(ledger \w{8}\.\., found \w{8}\.\.\); run",
    ):
        read_everything(recording)


def test_a_block_of_another_recording_is_refused(tmp_path: Path) -> None:
    from kdrec.samples import make_shapes
    from kdrec.testing import make_plan

    samples = make_shapes(20, seed=0, num_points=32)
    make_recording(tmp_path / "a.zarr", samples)
    make_recording(tmp_path / "b.zarr", samples, plan=make_plan(samples, seed=1))
    for name in ("ledger/g00001-p00002.json", "logits/c/1/2/0", "params/c/1/2/0"):
        (tmp_path / "a.zarr" / name).write_bytes((tmp_path / "b.zarr" / name).read_bytes())
    (tmp_path / "a.zarr" / "seal.json").unlink()
    with pytest.raises(IntegrityError, match="belongs to another recording"):
        read_everything(tmp_path / "a.zarr")


@pytest.mark.parametrize("harm", [truncate, Path.unlink, lambda path: flip_bit(path, 4321)])
@pytest.mark.parametrize("name", ["ledger/header.json", "logits/zarr.json", "params/zarr.json"])
def test_a_recording_is_not_continued_on_a_damaged_header(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / "begun.zarr"
    make_recording(path, blocks=2)
    harm(path / name)
    before = contents(path)
    with pytest.raises(IntegrityError, match=rf"{name} .*; put it back with"):
        make_recording(path)
    assert contents(path) == before
