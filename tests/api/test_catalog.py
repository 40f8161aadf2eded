import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.errors import ErrorKind, NotFoundError, StorageError
from kdrec.store import HEADER_KEY, ROOT_KEY

Ask = Callable[..., httpx.Response]
Record = Callable[..., None]


def test_the_list_has_every_recording_with_its_progress(
    root: Path, record: Record, ask: Ask
) -> None:
    record(root / "half.zarr", blocks=3, seed=1)
    record(root / "plain", blocks=0, seed=2)
    answer = ask(root, "/v1/recordings").json()
    assert [found["name"] for found in answer["recordings"]] == ["half", "mn", "plain"]
    half, finished, plain = answer["recordings"]
    assert half["blocks"] == {"committed": 3, "total": 6}
    assert half["identity"] is None
    assert plain["blocks"] == {"committed": 0, "total": 6}
    assert finished["blocks"] == {"committed": 6, "total": 6}
    assert len(finished["identity"]) == 64
    assert finished["error"] is None
    assert (answer["total"], answer["next"]) == (3, None)


def test_the_list_comes_in_pages(root: Path, ask: Ask) -> None:
    for name in "abcd":
        shutil.copytree(root / "mn.zarr", root / f"{name}.zarr")
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = ask(root, f"/v1/recordings?offset={offset}&limit=2").json()
        assert len(page["recordings"]) <= 2
        seen += [found["name"] for found in page["recordings"]]
        offset = page["next"]
    assert seen == ["a", "b", "c", "d", "mn"]
    beyond = ask(root, "/v1/recordings?offset=50").json()
    assert beyond == {"recordings": [], "total": 5, "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "offset=-1", "limit=many"])
def test_a_page_that_cannot_be_is_refused(finished: Path, ask: Ask, query: str) -> None:
    answer = ask(finished, f"/v1/recordings?{query}")
    name, _, value = query.partition("=")
    assert answer.status_code == 422
    assert answer.json()["kind"] == ErrorKind.INVALID_INPUT
    assert answer.json()["detail"].startswith(f"{name}: ")
    assert answer.json()["detail"].endswith(f"got '{value}'")


@pytest.mark.parametrize("key", [ROOT_KEY, HEADER_KEY, "seal.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\0"])
def test_a_damaged_recording_is_listed_with_its_error(
    root: Path, ask: Ask, key: str, damage: bytes
) -> None:
    shutil.copytree(root / "mn.zarr", root / "good.zarr")
    (root / "mn.zarr" / key).write_bytes(damage)
    good, bad = ask(root, "/v1/recordings").json()["recordings"]
    assert good["error"] is None
    assert bad["error"]["kind"] == ErrorKind.INTEGRITY
    assert bad["blocks"] is None
    assert str(root) not in bad["error"]["detail"]
    assert ask(root, "/v1/recordings/mn").status_code == 500


def test_a_recording_without_its_root_file_is_listed_with_its_error(root: Path, ask: Ask) -> None:
    (root / "mn.zarr" / ROOT_KEY).unlink()
    (found,) = ask(root, "/v1/recordings").json()["recordings"]
    assert found["error"]["kind"] == ErrorKind.NOT_FOUND


def test_a_seal_of_another_recording_is_refused(root: Path, record: Record, ask: Ask) -> None:
    record(root / "other.zarr", seed=7)
    shutil.copy(root / "other.zarr" / "seal.json", root / "mn.zarr" / "seal.json")
    answer = ask(root, "/v1/recordings/mn")
    assert answer.status_code == 500
    assert "mn/seal.json belongs to another recording" in answer.json()["detail"]


def test_what_is_no_recording_is_not_listed(root: Path, ask: Ask) -> None:
    (root / "empty").mkdir()
    (root / "project" / "ledger").mkdir(parents=True)
    (root / "foreign.zarr").mkdir()
    (root / "foreign.zarr" / ROOT_KEY).write_text("{}")
    (root / "file.zarr").touch()
    (root / ".mn.zarr.lock").touch()
    shutil.copytree(root / "mn.zarr", root / ".hidden.zarr")
    names = [found["name"] for found in ask(root, "/v1/recordings").json()["recordings"]]
    assert names == ["mn"]
    for name in ("empty", "project", "foreign", "file", ".hidden"):
        assert ask(root, f"/v1/recordings/{name}").status_code == 404


def test_names_that_cannot_be_served_are_listed_with_the_reason(root: Path, ask: Ask) -> None:
    shutil.copytree(root / "mn.zarr", root / "with space.zarr")
    (root / "mn.zarr").rename(root / b"not-\xff-text.zarr".decode(errors="surrogateescape"))
    found = ask(root, "/v1/recordings").json()["recordings"]
    assert [entry["name"] for entry in found] == ["not-\\udcff-text", "with space"]
    assert all("rename its folder" in entry["error"]["detail"] for entry in found)


def test_a_link_out_of_the_folder_is_refused(root: Path, tmp_path: Path, ask: Ask) -> None:
    (root / "mn.zarr").rename(tmp_path / "elsewhere.zarr")
    (root / "mn.zarr").symlink_to(tmp_path / "elsewhere.zarr")
    answer = ask(root, "/v1/recordings/mn")
    assert answer.status_code == 404
    assert "leads out of the folder" in answer.json()["detail"]
    assert ask(root, "/v1/recordings/mn/zarr/zarr.json").status_code == 404
    (found,) = ask(root, "/v1/recordings").json()["recordings"]
    assert "leads out of the folder" in found["error"]["detail"]


def test_a_link_within_the_folder_is_another_name(root: Path, ask: Ask) -> None:
    (root / "latest.zarr").symlink_to("mn.zarr")
    latest, original = ask(root, "/v1/recordings").json()["recordings"]
    assert latest["identity"] == original["identity"]
    assert ask(root, "/v1/recordings/latest/zarr/zarr.json").status_code == 200


def test_a_folder_that_is_a_recording_is_served_under_its_own_name(
    finished: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished / "mn.zarr")
    for root in (finished / "mn.zarr", Path()):
        (found,) = ask(root, "/v1/recordings").json()["recordings"]
        assert found["name"] == "mn"
        assert ask(root, "/v1/recordings/mn").json()["name"] == "mn"
        assert ask(root, "/v1/recordings/mn/zarr/logits/c/0/0/0").status_code == 200
        assert ask(root, "/v1/recordings/logits").status_code == 404


def test_of_two_folders_the_one_with_the_ending_has_the_name(
    root: Path, record: Record, ask: Ask
) -> None:
    record(root / "mn", seed=5)
    (found,) = ask(root, "/v1/recordings").json()["recordings"]
    sealed = ask(root, "/v1/recordings/mn/zarr/seal.json").content
    assert sealed == (root / "mn.zarr" / "seal.json").read_bytes()
    assert found["identity"] == ask(root, "/v1/recordings/mn").json()["identity"]


def test_the_ending_is_no_part_of_the_name(finished: Path, ask: Ask) -> None:
    assert ask(finished, "/v1/recordings/mn.zarr").status_code == 404


def test_a_replaced_recording_is_noticed(root: Path, record: Record) -> None:
    catalog = Catalog(root)
    first = catalog.find(RecordingAddress("mn"))
    assert catalog.find(RecordingAddress("mn")) is first
    shutil.rmtree(root / "mn.zarr")
    with pytest.raises(NotFoundError, match="no recording mn"):
        catalog.find(RecordingAddress("mn"))
    record(root / "mn.zarr", seed=9)
    assert catalog.find(RecordingAddress("mn")).identity != first.identity


def test_a_folder_that_vanished_is_unreachable_and_not_empty(root: Path) -> None:
    catalog = Catalog(root)
    shutil.rmtree(root)
    for question in (
        catalog.names,
        catalog.check_readable,
        lambda: catalog.find(RecordingAddress("mn")),
    ):
        with pytest.raises(StorageError, match="folder of recordings cannot be read") as caught:
            question()
        assert str(root) not in str(caught.value)


def test_a_folder_that_cannot_be_reached_does_not_hide_the_others(
    root: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "mn.zarr", root / "sick.zarr")
    is_dir = Path.is_dir

    def refuse_one(path: Path) -> bool:
        if "sick" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse_one)
    good, sick = ask(root, "/v1/recordings").json()["recordings"]
    assert good["error"] is None
    assert sick["error"]["kind"] == ErrorKind.STORAGE
    assert sick["error"]["detail"].startswith("recording sick cannot be read: Permission denied")
    assert ask(root, "/v1/recordings/sick").status_code == 503
