"""Who may read what, asked through a real port."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from kdrec.api import TOKEN_BYTES, ServiceSettings, TokenEntry, TokenFile, make_token
from kdrec.client import fetch, open_recording
from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError, ServiceError
from kdrec.store import LocalStorage, RecordingReader

MINE, OTHERS = make_token(b"m" * TOKEN_BYTES), make_token(b"o" * TOKEN_BYTES)
PATHS = ["", "/ledger", "/zarr/zarr.json", "/zarr/logits/c/0/0/0", "/zarr/nothing"]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    TokenFile(path).add(TokenEntry.of(MINE, name="mine", patterns=["mn", "none-*"]))
    TokenFile(path).add(TokenEntry.of(OTHERS, name="others", patterns=["other*"]))
    return path


@pytest.fixture
def url(root: Path, tokens: Path, serve_folder: Callable[..., str]) -> str:
    shutil.copytree(root / "mn.zarr", root / "other.zarr")
    return serve_folder(root, tokens=tokens)


def get(url: str, token: str | None, **settings: str) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(url, headers=headers | settings)


@pytest.mark.parametrize("token", [None, "wrong", MINE[:-1], MINE.upper()])
def test_without_a_token_of_this_service_there_is_nothing(url: str, token: str | None) -> None:
    for place in ("", *(f"/{name}{path}" for name in ("mn", "mn@00", "nowhere") for path in PATHS)):
        answer = get(f"{url}/v1/recordings{place}", token)
        assert (answer.status_code, answer.json()["kind"]) == (401, ErrorKind.UNAUTHENTICATED)
        assert answer.headers["www-authenticate"] == 'Bearer realm="kdrec"'
        assert token is None or token not in answer.text


@pytest.mark.parametrize("name", ["other", "nowhere", "mn2"])
def test_a_token_of_another_recording_tells_not_even_whether_it_exists(url: str, name: str) -> None:
    for path in PATHS:
        answer = get(f"{url}/v1/recordings/{name}{path}", MINE)
        assert (answer.status_code, answer.json()["kind"]) == (403, ErrorKind.FORBIDDEN)
        assert f"may read mn none-*, not {name}" in answer.json()["detail"]


def test_a_token_reads_and_lists_what_it_covers(url: str) -> None:
    for path in PATHS[:-1]:
        assert get(f"{url}/v1/recordings/mn{path}", MINE).status_code == 200
    found = get(f"{url}/v1/recordings", MINE).json()
    assert [entry["name"] for entry in found["recordings"]] == ["mn"]
    assert found["total"] == 1
    assert get(f"{url}/v1/recordings/none-such", MINE).status_code == 404


def test_a_shared_cache_must_not_keep_what_needs_a_token(url: str, root: Path) -> None:
    identity = RecordingReader(LocalStorage(root / "mn.zarr"), where="mn").identity
    for name, lifetime in (("mn", "no-cache"), (f"mn@{identity}", "max-age=31536000, immutable")):
        answer = get(f"{url}/v1/recordings/{name}/zarr/zarr.json", MINE)
        assert answer.headers["cache-control"] == f"private, {lifetime}"


def test_a_token_in_the_address_is_not_looked_at(url: str) -> None:
    for query in (f"token={MINE}", f"access_token={MINE}"):
        assert httpx.get(f"{url}/v1/recordings/mn?{query}").status_code == 401


def test_health_and_documentation_need_no_token(url: str) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert httpx.get(f"{url}{path}").status_code == 200


def test_tokens_are_made_and_revoked_while_it_runs(url: str, tokens: Path) -> None:
    new = make_token(b"n" * TOKEN_BYTES)
    with httpx.Client(headers={"Authorization": f"Bearer {new}"}) as client:
        assert client.get(f"{url}/v1/recordings/mn").status_code == 401
        TokenFile(tokens).add(TokenEntry.of(new, name="new", patterns=["*"]))
        assert client.get(f"{url}/v1/recordings/mn").status_code == 200
        TokenFile(tokens).remove("new")
        assert client.get(f"{url}/v1/recordings/mn").status_code == 401


def test_no_token_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        get(f"{url}/v1/recordings/mn?token={MINE}", MINE)
        get(f"{url}/v1/recordings/mn?token={MINE}", "a-wrong-token-x")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("kdrec")]
    assert not any(MINE in message or "a-wrong-token-x" in message for message in ours)


def test_the_client_reads_with_its_token_and_says_what_is_missing_without(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, cache = f"{url}/v1/recordings/mn", tmp_path / "cache"
    for variable in ("KDREC_TOKEN", "KDREC_TOKEN_FILE"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ServiceError, match=r"asks for a token.*KDREC_TOKEN") as refusal:
        open_recording(address, cache=cache)
    assert (refusal.value.status, refusal.value.kind) == (401, ErrorKind.UNAUTHENTICATED)
    assert open_recording(address, cache=cache, token=MINE).read(0)[1].shape == (10, 5)
    (tmp_path / "secret").write_text(f"{MINE}\n")
    monkeypatch.setenv("KDREC_TOKEN_FILE", str(tmp_path / "secret"))
    list(fetch(address, tmp_path / "copy.zarr"))
    monkeypatch.setenv("KDREC_TOKEN", OTHERS)
    with pytest.raises(ServiceError, match="may read other") as forbidden:
        open_recording(address, cache=cache)
    assert forbidden.value.kind is ErrorKind.FORBIDDEN


def test_with_tokens_it_may_listen_everywhere_but_not_be_public_too(
    finished: Path, tokens: Path
) -> None:
    with pytest.raises(InvalidInputError, match="say one"):
        ServiceSettings(root=finished, tokens=tokens, public=True)
    with pytest.raises(NotFoundError, match="kdrec token new"):
        ServiceSettings(root=finished, tokens=tokens.with_name("nowhere"))
    tokens.write_text("alice 12 *\n")
    with pytest.raises(InvalidInputError, match="line 1 of"):
        ServiceSettings(root=finished, tokens=tokens)
