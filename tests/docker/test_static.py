"""nginx-static.conf: a sealed recording as plain files, without kdrec."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docker.conftest import StartNginx
from tests.docker.nginx import Nginx
from tests.programs import contents


@pytest.fixture
def files(root: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(root, tmp_path / "files"))


@pytest.fixture
def nginx(start_nginx: StartNginx, files: Path) -> Iterator[Nginx]:
    with start_nginx("nginx-static.conf", recordings=files) as running:
        yield running


def test_every_file_is_given_as_it_is(nginx: Nginx, root: Path) -> None:
    with httpx.Client(base_url=f"{nginx.url}/recordings/mn.zarr/") as client:
        given = {key: client.get(key).content for key in contents(root / "mn.zarr")}
    assert given == contents(root / "mn.zarr")


def test_a_file_is_revalidated_and_given_in_parts(nginx: Nginx, root: Path) -> None:
    address = f"{nginx.url}/recordings/mn.zarr/seal.json"
    whole = httpx.get(address)
    assert whole.headers["Cache-Control"] == "no-cache"
    assert whole.headers["Content-Type"] == "application/json"
    known = httpx.get(address, headers={"If-None-Match": whole.headers["ETag"]})
    part = httpx.get(address, headers={"Range": "bytes=3-9"})
    assert (known.status_code, part.status_code) == (304, 206)
    assert part.content == whole.content[3:10]


def test_what_is_absent_hidden_linked_or_a_folder_is_not_given(
    nginx: Nginx, files: Path, tmp_path: Path
) -> None:
    recording = files / "mn.zarr"
    (tmp_path / "secret").write_text("secret")
    (recording / ".seal.json.1-1.tmp").write_text("half")
    (recording / "linked").symlink_to(tmp_path / "secret")
    (files / "elsewhere.zarr").symlink_to(tmp_path)
    below = f"{nginx.url}/recordings"
    asked = {
        "mn.zarr/none": 404,
        "mn.zarr/.seal.json.1-1.tmp": 404,
        ".hidden/zarr.json": 404,
        "mn.zarr/linked": 403,
        "elsewhere.zarr/secret": 404,
        "mn.zarr/": 403,
        "": 403,
    }
    assert {key: httpx.get(f"{below}/{key}").status_code for key in asked} == asked
    assert httpx.get(f"{nginx.url}/").status_code == 404
