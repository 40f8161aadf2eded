"""nginx.conf: kdrec says yes, nginx sends the bytes; what a client sees is the same."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import kdrec
from tests.docker.conftest import Serve, StartNginx
from tests.docker.nginx import Nginx, find_nginx, running_nginx
from tests.programs import contents, serving
from tests.programs import kdrec as run_kdrec

POINTS = "zarr/samples/points/c/0/0/0"


@pytest.fixture(scope="module")
def nginx(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if find_nginx() is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    with (
        serving(root, "--accel-prefix", "/internal/recordings/") as url,
        running_nginx(folder, services=[url], recordings=root) as running,
    ):
        yield running


def stored(root: Path, key: str) -> bytes:
    return (root / "mn.zarr" / key.removeprefix("zarr/")).read_bytes()


def test_nginx_sends_a_shard_with_the_headers_of_kdrec(
    nginx: Nginx, service: str, root: Path
) -> None:
    direct = httpx.get(f"{service}/v1/recordings/mn/{POINTS}")
    answer = httpx.get(f"{nginx.recordings}/mn/{POINTS}?a=secret")
    assert answer.content == direct.content == stored(root, POINTS)
    for name in ("ETag", "Cache-Control", "Content-Type", "Accept-Ranges", "Content-Length",
                 "X-Content-Type-Options"):  # fmt: skip
        assert answer.headers[name] == direct.headers[name], name
    assert "Last-Modified" not in answer.headers
    lines = nginx.requests(of=POINTS)
    assert lines[-1]["upstream_status"] == "200"
    assert lines[-1]["uri"] == f"/v1/recordings/mn/{POINTS}"
    assert "secret" not in nginx.log.read_text()


def test_the_bytes_did_not_pass_through_kdrec(serve: Serve, root: Path) -> None:
    with serve(root, "--accel-prefix", "/internal/recordings/") as url:
        answer = httpx.get(f"{url}/v1/recordings/mn/{POINTS}")
    assert answer.content == b""
    assert answer.headers["X-Accel-Redirect"] == (
        "/internal/recordings/mn.zarr/" + POINTS.removeprefix("zarr/")
    )


def test_the_line_in_the_log_names_the_token_and_the_answer_does_not(
    serve: Serve, start_nginx: StartNginx, root: Path, tmp_path: Path
) -> None:
    file = str(tmp_path / "tokens")
    made = run_kdrec("token", "new", "--tokens", file, "--read", "*", "--name", "student")
    known = {"Authorization": f"Bearer {made.out.strip()}"}
    prefix = ("--accel-prefix", "/internal/recordings/")
    with (
        serve(root, "--tokens", file, *prefix) as service,
        start_nginx(services=[service]) as nginx,
    ):
        answers = [httpx.get(f"{nginx.recordings}/mn/{POINTS}", headers=known) for _ in range(2)]
        lines = nginx.requests(at_least=2)
    assert [line["token"] for line in lines] == ["student", "student"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert not any("token" in name for answer in answers for name in answer.headers)


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"Range": "bytes=5-104"}, 206, slice(5, 105)),
        ({"Range": "bytes=-7"}, 206, slice(-7, None)),
        ({"Range": "bytes=0-0,5-6"}, 200, slice(None)),
        ({"Range": "bytes=0-0,"}, 200, slice(None)),
        ({"Range": "bytes=5-2"}, 200, slice(None)),
        ({"Range": "bytes=5-" + "9" * 30}, 206, slice(5, None)),
        ({"Range": "bytes=\t5-104"}, 206, slice(5, 105)),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200, slice(None)),
        ({"Range": "bytes=5-104", "If-Range": '"other"'}, 200, slice(None)),
        ({"Range": "bytes=5-104", "If-Range": "TAG"}, 206, slice(5, 105)),
        ({"If-None-Match": '"other"'}, 200, slice(None)),
        ({"If-Match": "TAG"}, 200, slice(None)),
        ({"If-None-Match": "TAG"}, 304, slice(0)),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200, slice(None)),
    ],
)
def test_conditions_and_parts_are_those_of_kdrec(
    nginx: Nginx, root: Path, headers: dict[str, str], status: int, part: slice
) -> None:
    tag = httpx.head(f"{nginx.recordings}/mn/{POINTS}").headers["ETag"]
    sent = {name: value.replace("TAG", tag) for name, value in headers.items()}
    for _ in ("found", "known"):
        answer = httpx.get(f"{nginx.recordings}/mn/{POINTS}", headers=sent)
        assert (answer.status_code, answer.headers["ETag"]) == (status, tag)
        assert answer.content == stored(root, POINTS)[part]
        assert httpx.get(f"{nginx.recordings}/mn/{POINTS}").content == stored(root, POINTS)


def test_a_range_beyond_the_end_is_refused_with_the_size(nginx: Nginx, root: Path) -> None:
    size = len(stored(root, POINTS))
    answer = httpx.get(f"{nginx.recordings}/mn/{POINTS}", headers={"Range": f"bytes={size}-{size}"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_a_recording_is_read_and_copied_through_nginx(
    nginx: Nginx, root: Path, tmp_path: Path
) -> None:
    url = f"{nginx.recordings}/mn"
    opened = kdrec.open_recording(url, cache=tmp_path / "cache")
    local = kdrec.open_recording(root / "mn.zarr")
    assert (opened.read(3, [5, 900])[1] == local.read(3, [5, 900])[1]).all()
    done = run_kdrec("fetch", url, tmp_path / "mn.zarr")
    assert done.code == 0, done.err
    assert contents(tmp_path / "mn.zarr") == contents(root / "mn.zarr")


@pytest.mark.parametrize(
    "path",
    [
        "/internal/recordings/mn.zarr/zarr.json",
        "/v1/../internal/recordings/mn.zarr/zarr.json",
        "/v1/recordings/mn/zarr/..%2f..%2finternal/recordings/mn.zarr/zarr.json",
        "/internal%2frecordings/mn.zarr/zarr.json",
        "//internal/recordings/mn.zarr/zarr.json",
        "/v1/recordings/mn/zarr/%2e%2e/%2e%2e/etc/passwd",
        "/v1/recordings/mn/zarr/zarr.json%00",
        "/v1/recordings/mn/zarr/.hidden",
    ],
)
def test_nothing_is_reached_around_kdrec(nginx: Nginx, path: str) -> None:
    with nginx.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: kdrec\r\n\r\n".encode())
        status = int(connection.recv(1 << 16).split(b" ")[1])
    assert status in (400, 404)


def test_a_link_that_was_planted_is_not_followed(
    serve: Serve, start_nginx: StartNginx, root: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    shutil.copytree(root, copies)
    shard = copies / "mn.zarr" / POINTS.removeprefix("zarr/")
    outside = tmp_path / "secret"
    shard.rename(outside)
    shard.symlink_to(outside)
    with (
        serve(copies, "--accel-prefix", "/internal/recordings/") as url,
        start_nginx(services=[url], recordings=copies) as nginx,
    ):
        answer = httpx.get(f"{nginx.recordings}/mn/{POINTS}")
    assert (answer.status_code, answer.json()["kind"]) == (500, "integrity")
