"""The service and the client that it is for, over a real port."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import fetch, open_recording
from kdrec.errors import IncompleteError, IntegrityError, NotFoundError, ServiceError
from kdrec.store import LocalStorage, RecordingReader, verify_bytes

Record = Callable[..., None]
Serve = Callable[[Path], str]


def contents(folder: Path) -> dict[str, bytes]:
    storage = LocalStorage(folder)
    return {key: storage.read(key) for key in storage.keys("")}


def test_records_over_http_are_those_on_disk(
    finished: Path, finished_url: str, tmp_path: Path
) -> None:
    local = open_recording(finished / "mn.zarr")
    remote = open_recording(f"{finished_url}/v1/recordings/mn", cache=tmp_path)
    assert remote.identity == local.identity
    assert remote.manifest == local.manifest
    for view in range(local.num_views):
        parameters, logits = remote.read(view)
        expected_parameters, expected = local.read(view)
        np.testing.assert_array_equal(logits, expected)
        np.testing.assert_array_equal(parameters.values_BP, expected_parameters.values_BP)
    np.testing.assert_array_equal(remote.samples().points_SND, local.samples().points_SND)
    assert remote.progress() == local.progress() == (6, 6)


def test_a_recording_opens_under_its_identity_too(
    finished: Path, finished_url: str, tmp_path: Path
) -> None:
    identity = open_recording(finished / "mn.zarr").identity
    remote = open_recording(f"{finished_url}/v1/recordings/mn@{identity}", cache=tmp_path)
    assert remote.identity == identity
    assert remote.read(0)[1].shape == (10, 5)
    with pytest.raises(NotFoundError, match="of identity '00'"):
        open_recording(f"{finished_url}/v1/recordings/mn@00", cache=tmp_path)


def test_a_fetched_recording_is_the_same_byte_for_byte(
    finished: Path, finished_url: str, tmp_path: Path
) -> None:
    *_, last = fetch(f"{finished_url}/v1/recordings/mn", tmp_path / "copy.zarr")
    assert last.done == last.total
    assert contents(tmp_path / "copy.zarr") == contents(finished / "mn.zarr")
    storage = LocalStorage(tmp_path / "copy.zarr")
    *_, report = verify_bytes(RecordingReader(storage, where="copy"), storage)
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])


def test_a_partial_copy_is_a_recording_that_can_be_served(
    finished_url: str, tmp_path: Path, serve_folder: Serve
) -> None:
    url = f"{finished_url}/v1/recordings/mn"
    list(fetch(url, tmp_path / "mirror" / "mn.zarr", views=range(2)))
    mirror = serve_folder(tmp_path / "mirror")
    remote = open_recording(f"{mirror}/v1/recordings/mn", cache=tmp_path / "cache")
    expected = open_recording(url, cache=tmp_path / "other")
    np.testing.assert_array_equal(remote.read(1)[1], expected.read(1)[1])
    with pytest.raises((IncompleteError, NotFoundError), match="g00001-p00000"):
        remote.read(2)


def test_a_student_follows_a_running_recorder(
    tmp_path: Path, record: Record, serve_folder: Serve
) -> None:
    folder = tmp_path / "served" / "run.zarr"
    record(folder, blocks=3)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    remote = open_recording(url, cache=tmp_path / "cache")
    assert remote.progress() == (3, 6)
    assert remote.read(0)[1].shape == (10, 5)
    with pytest.raises(IncompleteError, match="g00001-p00000"):
        remote.read(2)
    record(folder)
    assert remote.progress() == (6, 6)
    assert remote.identity == open_recording(folder).identity
    np.testing.assert_array_equal(remote.read(2)[1], open_recording(folder).read(2)[1])


def test_many_students_read_at_the_same_time(
    finished: Path, finished_url: str, tmp_path: Path
) -> None:
    expected = open_recording(finished / "mn.zarr").read(3)[1]

    def read(student: int) -> np.ndarray:
        cache = tmp_path / str(student)
        return open_recording(f"{finished_url}/v1/recordings/mn", cache=cache).read(3)[1]

    with ThreadPoolExecutor(8) as students:
        for logits in students.map(read, range(8)):
            np.testing.assert_array_equal(logits, expected)


def test_damage_on_the_server_reaches_the_student_as_an_error(
    root: Path, tmp_path: Path, serve_folder: Serve
) -> None:
    (root / "mn.zarr" / "logits" / "c" / "0" / "0" / "0").unlink()
    url = f"{serve_folder(root)}/v1/recordings/mn"
    remote = open_recording(url, cache=tmp_path / "cache")
    with pytest.raises(IntegrityError, match="logits/c/0/0/0 of mn is missing"):
        remote.read(0)
    assert remote.read(2)[1].shape == (10, 5)


def test_the_service_is_no_recording_itself(finished_url: str, tmp_path: Path) -> None:
    for address in (finished_url, f"{finished_url}/v1/recordings", f"{finished_url}/healthz"):
        with pytest.raises((NotFoundError, ServiceError)):
            open_recording(address, cache=tmp_path)
