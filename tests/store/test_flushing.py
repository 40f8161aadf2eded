"""What a power cut must not find: a name without its bytes, a ledger entry without its shards."""

import os
from pathlib import Path

import pytest

from kdrec.store import LocalStorage
from kdrec.testing import make_recording


def test_bytes_are_on_the_disk_before_their_name_and_the_name_before_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not tell the path of an open file")
    events: list[tuple[str, Path]] = []
    rename = Path.replace

    def flush(fd: int) -> None:
        events.append(("flush", Path(f"/proc/self/fd/{fd}").readlink()))

    def replace(path: Path, target: Path) -> Path:
        events.append(("rename", path))
        events.append(("named", target))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", replace)
    make_recording(tmp_path / "r.zarr", storage=LocalStorage(tmp_path / "r.zarr"))

    named = [path for kind, path in events if kind == "named"]
    assert tmp_path / "r.zarr" / "seal.json" == named[-1]
    for place, (kind, path) in enumerate(events):
        if kind == "rename":
            assert events[place - 1] == ("flush", path)
        if kind == "named":
            assert events[place + 1] == ("flush", path.parent)
