"""nginx-cache.conf: what many ask for is fetched once, and kept for those who may read it."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.docker.conftest import Serve, StartNginx
from tests.programs import kdrec

POINTS = "zarr/samples/points/c/0/0/0"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def identity_of(recordings: str, token: str = "") -> str:
    headers = bearer(token) if token else {}
    return str(httpx.get(f"{recordings}/mn", headers=headers).json()["identity"])


@pytest.fixture
def tokens(tmp_path: Path) -> tuple[Path, str, str]:
    """A file of hashes; a token that may read `mn`; one that may not."""
    file = tmp_path / "tokens"
    made = [
        kdrec("token", "new", "--tokens", file, "--read", pattern, "--name", name, "--json")
        for name, pattern in (("student", "mn*"), ("stranger", "other"))
    ]
    student, stranger = (done.json["token"] for done in made)
    return file, student, stranger


def test_a_herd_costs_one_request_and_everyone_gets_the_bytes(
    service: str, start_nginx: StartNginx, root: Path
) -> None:
    stored = (root / "mn.zarr" / POINTS.removeprefix("zarr/")).read_bytes()
    with start_nginx("nginx-cache.conf", services=[service]) as nginx:
        address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings)}/{POINTS}"
        with ThreadPoolExecutor(16) as herd:
            answers = list(herd.map(lambda _: httpx.get(address), range(32)))
        assert all(answer.content == stored for answer in answers)
        log = [line for line in nginx.requests(at_least=33) if POINTS in line["uri"]]
    assert sorted(line["cache"] for line in log) == ["HIT"] * 31 + ["MISS"]


def test_a_part_is_cut_from_what_is_kept(service: str, start_nginx: StartNginx, root: Path) -> None:
    stored = (root / "mn.zarr" / POINTS.removeprefix("zarr/")).read_bytes()
    with start_nginx("nginx-cache.conf", services=[service]) as nginx:
        address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings)}/{POINTS}"
        for _ in range(2):
            answer = httpx.get(address, headers={"Range": "bytes=100-1099"})
            assert (answer.status_code, answer.content) == (206, stored[100:1100])
        known = httpx.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert (known.status_code, known.content) == (304, b"")
        caches = [line["cache"] for line in nginx.requests(at_least=4)]
    assert caches == ["", "MISS", "HIT", "HIT"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"other"'}, 412),
        ({"Range": "bytes=99999999-"}, 416),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200),
    ],
)
def test_what_is_refused_is_refused_in_the_words_of_kdrec(
    service: str, start_nginx: StartNginx, headers: dict[str, str], status: int
) -> None:
    with start_nginx("nginx-cache.conf", services=[service]) as nginx:
        address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings)}/{POINTS}"
        for _ in ("fetched", "kept"):
            answer = httpx.get(address, headers=headers)
            assert answer.status_code == status
            assert status == 200 or answer.json()["status"] == status


def test_a_flood_is_answered_in_the_form_of_kdrec(service: str, start_nginx: StartNginx) -> None:
    few = {"rate=500r/s": "rate=1r/s", "burst=1000 delay=800": "burst=1 nodelay"}
    with start_nginx("nginx-cache.conf", services=[service], changes=few) as nginx:
        answers = [httpx.get(f"{nginx.recordings}/mn@0/{POINTS}") for _ in range(4)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["kind"] == "overloaded"
    assert answers[-1].headers["Retry-After"] == "1"


def test_a_plain_name_is_never_kept(service: str, start_nginx: StartNginx) -> None:
    with start_nginx("nginx-cache.conf", services=[service]) as nginx:
        for _ in range(2):
            assert httpx.get(f"{nginx.recordings}/mn/{POINTS}").status_code == 200
        assert {line["cache"] for line in nginx.requests(at_least=2)} == {""}


def test_what_is_kept_is_given_only_to_those_who_may_read_it(
    serve: Serve, start_nginx: StartNginx, root: Path, tokens: tuple[Path, str, str]
) -> None:
    file, student, stranger = tokens
    with (
        serve(root, "--tokens", str(file)) as url,
        start_nginx("nginx-cache.conf", services=[url]) as nginx,
    ):
        address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings, student)}/{POINTS}"
        assert httpx.get(address, headers=bearer(student)).status_code == 200
        refused = [httpx.get(address), httpx.get(address, headers=bearer(stranger))]
        assert kdrec("token", "revoke", "student", "--tokens", file).code == 0
        refused.append(httpx.get(address, headers=bearer(student)))
        assert nginx.requests(at_least=2)[1]["cache"] == "MISS"
        log = nginx.log.read_text()
    for answer, status in zip(refused, (401, 403, 401), strict=True):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert student not in log


def test_nothing_is_given_while_kdrec_cannot_be_asked(
    serve: Serve, start_nginx: StartNginx, root: Path
) -> None:
    with ExitStack() as both:
        with serve(root) as url:
            nginx = both.enter_context(start_nginx("nginx-cache.conf", services=[url]))
            address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings)}/{POINTS}"
            assert httpx.get(address).status_code == 200
        answer = httpx.get(address)
    assert (answer.status_code, answer.json()["kind"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "2"


def test_a_recording_that_is_gone_is_gone_from_the_cache(
    serve: Serve, start_nginx: StartNginx, root: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    shutil.copytree(root, copies)
    with serve(copies) as url, start_nginx("nginx-cache.conf", services=[url]) as nginx:
        address = f"{nginx.recordings}/mn@{identity_of(nginx.recordings)}/{POINTS}"
        assert httpx.get(address).status_code == 200
        shutil.rmtree(copies / "mn.zarr")
        time.sleep(1.1)  # kdrec may send for a second what it has just sent
        answer = httpx.get(address)
    assert (answer.status_code, answer.json()["kind"]) == (404, "not_found")
