import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.errors import ErrorKind
from kdrec.store import BlockGrid, LocalStorage, Manifest, RecordingReader

Ask = Callable[..., httpx.Response]
Record = Callable[..., None]


def open_local(folder: Path) -> RecordingReader:
    return RecordingReader(LocalStorage(folder), where=folder.name)


def test_a_recording_tells_manifest_identity_and_progress(finished: Path, ask: Ask) -> None:
    reader = open_local(finished / "mn.zarr")
    answer = ask(finished, "/v1/recordings/mn")
    found = answer.json()
    assert answer.headers["cache-control"] == "no-cache"
    assert Manifest.model_validate(found.pop("manifest")) == reader.manifest
    assert found == {
        "name": "mn",
        "identity": reader.identity,
        "header": reader.header.digest,
        "sealed": True,
        "blocks": {"committed": 6, "total": 6},
    }


def test_a_running_recording_grows_without_a_restart(
    tmp_path: Path, record: Record, serve_folder: Callable[[Path], str]
) -> None:
    url = f"{serve_folder(tmp_path)}/v1/recordings"
    folder = tmp_path / "run.zarr"
    with httpx.Client() as client:
        assert client.get(f"{url}/run").status_code == 404
        for blocks in range(6):
            record(folder, blocks=blocks)
            found = client.get(f"{url}/run").json()
            ledger = client.get(f"{url}/run/ledger").json()
            assert found["blocks"] == {"committed": blocks, "total": 6}
            assert (found["sealed"], found["identity"], ledger["identity"]) == (False, None, None)
            assert len(ledger["blocks"]) == blocks
            assert client.get(f"{url}/run/zarr/seal.json").status_code == 404
        record(folder)
        found = client.get(f"{url}/run").json()
        assert found["sealed"] is True
        assert found["identity"] == open_local(folder).identity
        assert client.get(f"{url}/run@{found['identity']}/ledger").status_code == 200


def test_the_ledger_lists_the_files_of_every_committed_block(
    tmp_path: Path, record: Record, ask: Ask
) -> None:
    record(tmp_path / "run.zarr", blocks=4)
    reader = open_local(tmp_path / "run.zarr")
    ledger = ask(tmp_path, "/v1/recordings/run/ledger").json()
    assert (ledger["header"], ledger["identity"]) == (reader.header.digest, None)
    committed = {block.name: reader.entry(block) for block in reader.committed()}
    assert len(committed) == 4
    assert ledger["blocks"] == {
        name: {"files": {key: digest.model_dump() for key, digest in entry.files.items()}}
        for name, entry in committed.items()
    }


def test_the_ledger_has_a_strong_tag_that_changes_with_it(
    tmp_path: Path, record: Record, ask: Ask
) -> None:
    record(tmp_path / "run.zarr", blocks=2)
    path = "/v1/recordings/run/ledger"
    first = ask(tmp_path, path)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert first.headers["content-type"] == "application/json"
    again = ask(tmp_path, path, headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    record(tmp_path / "run.zarr", blocks=3)
    later = ask(tmp_path, path, headers={"If-None-Match": tag})
    assert later.status_code == 200
    assert later.headers["etag"] != tag


def test_a_damaged_ledger_entry_is_reported_and_not_left_out(root: Path, ask: Ask) -> None:
    entry = root / "mn.zarr" / "ledger" / "g00001-p00001.json"
    entry.write_bytes(entry.read_bytes().replace(b"g00001", b"g00002"))
    answer = ask(root, "/v1/recordings/mn/ledger")
    assert answer.status_code == 500
    assert answer.json()["kind"] == ErrorKind.INTEGRITY
    assert "g00001-p00001" in answer.json()["detail"]


def test_files_that_vanish_or_are_foreign_do_not_hide_the_committed_blocks(
    root: Path, ask: Ask
) -> None:
    ledger = root / "mn.zarr" / "ledger"
    (ledger / "g00000-p00002.json").unlink()
    (ledger / "g00000-p00002.json").symlink_to("vanished")
    for name in (".g1.json.1-1.tmp", "notes.txt", "g00009-p00000.json", "g0-p0.json"):
        (ledger / name).touch()
    assert ask(root, "/v1/recordings/mn").json()["blocks"] == {"committed": 5, "total": 6}
    assert len(ask(root, "/v1/recordings/mn/ledger").json()["blocks"]) == 5


def test_a_partial_copy_of_a_sealed_recording_is_served_as_far_as_it_goes(
    root: Path, ask: Ask
) -> None:
    (root / "mn.zarr" / "ledger" / "g00001-p00001.json").unlink()
    found = ask(root, "/v1/recordings/mn").json()
    assert (found["sealed"], found["blocks"]["committed"]) == (True, 5)
    absent = ask(root, "/v1/recordings/mn/zarr/logits/c/1/1/0")
    assert (absent.status_code, absent.json()["kind"]) == (404, ErrorKind.INCOMPLETE)
    assert "block g00001-p00001" in absent.json()["detail"]


def test_a_block_that_is_recorded_again_is_read_again(tmp_path: Path, record: Record) -> None:
    folder = tmp_path / "run.zarr"
    record(folder, blocks=2)
    recording = Catalog(tmp_path).find(RecordingAddress("run"))
    before = recording.ledger()
    key = BlockGrid.of(recording.reader.manifest.plan).block(0, 1).ledger_key
    entry = (folder / key).read_bytes()
    (folder / key).unlink()
    assert len(json.loads(recording.ledger().data)["blocks"]) == 1
    (folder / key).write_bytes(entry)
    assert recording.ledger() == before
    assert recording.ledger() is recording.ledger()


def test_an_identity_gives_that_recording_or_nothing(root: Path, record: Record, ask: Ask) -> None:
    identity = open_local(root / "mn.zarr").identity
    assert ask(root, f"/v1/recordings/mn@{identity}").json()["identity"] == identity
    shutil.rmtree(root / "mn.zarr")
    record(root / "mn.zarr", seed=3)
    answer = ask(root, f"/v1/recordings/mn@{identity}")
    assert (answer.status_code, answer.json()["kind"]) == (404, ErrorKind.NOT_FOUND)
    assert str(identity) in answer.json()["detail"]
    assert str(open_local(root / "mn.zarr").identity) in answer.json()["detail"]


@pytest.mark.parametrize("identity", ["", "0" * 64, "None", "null"])
def test_a_running_recording_has_no_identity_to_ask_for(
    tmp_path: Path, record: Record, ask: Ask, identity: str
) -> None:
    record(tmp_path / "run.zarr", blocks=1)
    answer = ask(tmp_path, f"/v1/recordings/run@{identity}")
    assert answer.status_code == 404
    assert "has no identity yet" in answer.json()["detail"]


def test_alive_and_ready(root: Path, ask: Ask, serve_folder: Callable[[Path], str]) -> None:
    url = serve_folder(root)
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/readyz").status_code == 200
    shutil.rmtree(root)
    assert httpx.get(f"{url}/healthz").status_code == 200
    unready = httpx.get(f"{url}/readyz")
    assert (unready.status_code, unready.json()["kind"]) == (503, ErrorKind.STORAGE)
    assert httpx.get(f"{url}/v1/recordings").status_code == 503
    assert httpx.get(f"{url}/v1/recordings/mn").status_code == 503
