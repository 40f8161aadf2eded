"""Disks that are full, read-only or gone: an error of the disk, and the same bytes later."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdrec.errors import KdrecError, StorageError
from kdrec.store import LocalStorage, RecordingReader, recording_lock, verify_bytes
from kdrec.testing import make_recording
from tests.programs import contents


class Disk:
    """A file system in memory, of a size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: str) -> str | None:
        """Why it was refused, None if it was not."""
        options = f"size={size},nr_inodes=4096"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        return None if done.returncode == 0 else done.stderr.strip()

    def remount(self, option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    refused = disk.mount("100k")
    if refused is not None:
        pytest.skip(f"mounting a small file system is refused here: {refused}")
    try:
        yield disk
    finally:
        disk.unmount()


def record(path: Path) -> None:
    """By the writer, file after file: the usual recording is copied elsewhere."""
    make_recording(path, storage=LocalStorage(path))


def test_a_full_disk_is_said_so_and_the_recording_goes_on_when_there_is_room(
    disk: Disk, tmp_path: Path
) -> None:
    record(tmp_path / "whole.zarr")
    path = disk.folder / "r.zarr"
    for size in ("100k", "120k", "140k", "160k", "180k"):  # in the header, then in blocks
        disk.remount(f"size={size}")
        with pytest.raises(StorageError, match="No space left on device; free some space"):
            record(path)
        assert_claims_only_what_it_has(path)
    disk.remount("size=8m")
    record(path)
    assert contents(path) == contents(tmp_path / "whole.zarr")


def assert_claims_only_what_it_has(path: Path) -> None:
    storage = LocalStorage(path)
    if not storage.has("zarr.json"):
        return
    *_, report = verify_bytes(RecordingReader(storage, where="r.zarr"), storage)
    assert report.damaged == []


def test_a_full_disk_leaves_no_half_written_file(disk: Disk) -> None:
    with pytest.raises(StorageError):
        record(disk.folder / "r.zarr")
    assert LocalStorage(disk.folder / "r.zarr").remove_unfinished() == []


def test_a_read_only_disk_is_said_so_and_read(disk: Disk, tmp_path: Path) -> None:
    disk.remount("size=8m")
    path = disk.folder / "r.zarr"
    make_recording(path, blocks=4, storage=LocalStorage(path))
    disk.remount("ro")
    try:
        with pytest.raises(StorageError, match="Read-only file system"):
            record(path)
        with (
            pytest.raises(StorageError, match="takes no lock: Read-only file system"),
            recording_lock(disk.folder / "new.zarr", while_waiting=lambda: None),
        ):
            pass
        assert len(RecordingReader(LocalStorage(path), where="r.zarr").read(1)[1]) == 20
    finally:
        disk.remount("rw")
    record(path)
    record(tmp_path / "whole.zarr")
    assert contents(path) == contents(tmp_path / "whole.zarr")


class RemovingStorage(LocalStorage):
    """Somebody removes the folder before the n-th block's first shard is written."""

    def __init__(self, root: Path, *, after: int) -> None:
        super().__init__(root)
        self._left = after

    def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        super().write(key, data, durable=durable)
        if key.startswith("ledger/g"):
            self._left -= 1
            if self._left == 0:
                shutil.rmtree(self.root)


def test_a_folder_removed_while_it_is_recorded_is_no_half_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.zarr"
    with pytest.raises(StorageError, match="removed while it was recorded"):
        make_recording(path, storage=RemovingStorage(path, after=3))
    assert not path.exists()
    record(path)
    record(tmp_path / "whole.zarr")
    assert contents(path) == contents(tmp_path / "whole.zarr")


def test_a_folder_removed_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.zarr"
    record(path)
    reader = RecordingReader(LocalStorage(path), where="r.zarr")
    before = reader.read(0)[1]
    shutil.rmtree(path)
    assert (reader.read(0)[1] == before).all()  # decoded already
    with pytest.raises(KdrecError):
        reader.read(4)
