import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from kdrec import errors
from kdrec.api import ServiceSettings, create_app
from kdrec.api.access import VisibleCatalog
from kdrec.api.problems import install_problem_handlers
from kdrec.errors import ErrorKind, KdrecError

Ask = Callable[..., httpx.Response]
MEMBERS = {"type", "title", "status", "detail", "kind", "instance"}
CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, KdrecError) and cls is not KdrecError
]


async def answer_of(error: Exception) -> httpx.Response:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/fail")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://kdrec") as client:
        return await client.get("/fail")


@pytest.fixture
def answer() -> Callable[[Exception], httpx.Response]:
    return lambda error: asyncio.run(answer_of(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_of_the_library_keeps_kind_status_and_message(
    cls: type[KdrecError], answer: Callable[[Exception], httpx.Response]
) -> None:
    error = cls("block 17 is wrong; do this")
    found = answer(error)
    problem = found.json()
    assert found.status_code == problem["status"] == error.outcome.http_status
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["cache-control"] == "no-store"
    assert problem.keys() == MEMBERS
    assert problem["kind"] == error.kind
    assert problem["type"] == f"urn:kdrec:problem:{error.kind}"
    assert problem["detail"] == "block 17 is wrong; do this"
    assert problem["instance"] == "/fail"


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_title(
    kind: ErrorKind, answer: Callable[[Exception], httpx.Response]
) -> None:
    problem = answer(errors.InvalidInputError("x", kind=kind)).json()
    assert problem["title"][0].isupper()
    assert "_" not in problem["title"]


def test_a_bug_is_a_problem_that_gives_nothing_away(
    answer: Callable[[Exception], httpx.Response],
) -> None:
    found = answer(RuntimeError("/secret/path"))
    assert found.status_code == 500
    assert found.json()["kind"] == ErrorKind.SERVICE
    assert "/secret/path" not in found.text


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, ErrorKind.NOT_FOUND),
        ("GET", "/v1/recordings/", 404, ErrorKind.NOT_FOUND),
        ("GET", "/v1/recordings/nothing", 404, ErrorKind.NOT_FOUND),
        ("GET", "/v1/recordings/nothing/ledger", 404, ErrorKind.NOT_FOUND),
        ("GET", "/v1/recordings/nothing/zarr/zarr.json", 404, ErrorKind.NOT_FOUND),
        ("POST", "/v1/recordings", 405, ErrorKind.INVALID_INPUT),
        ("DELETE", "/v1/recordings/mn/zarr/zarr.json", 405, ErrorKind.INVALID_INPUT),
        ("PUT", "/v1/recordings/mn/zarr/zarr.json", 405, ErrorKind.INVALID_INPUT),
    ],
)
def test_whatever_is_wrong_with_a_request_is_a_problem(
    finished: Path, ask: Ask, method: str, path: str, status: int, kind: ErrorKind
) -> None:
    answer = ask(finished, path, method=method)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() == MEMBERS
    assert (problem["kind"], problem["instance"]) == (kind, path)


def test_a_refused_method_says_which_are_allowed(finished: Path, ask: Ask) -> None:
    answer = ask(finished, "/v1/recordings", method="POST")
    assert answer.headers["allow"] == "GET"


def test_an_odd_path_comes_back_encoded(finished: Path, ask: Ask) -> None:
    problem = ask(finished, "/v1/recordings/a%20b%0A%3Fc").json()
    assert problem["instance"] == "/v1/recordings/a%20b%0A%3Fc"


def test_what_is_wrong_with_the_server_is_logged(
    answer: Callable[[Exception], httpx.Response], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer(errors.IntegrityError("block 3 is damaged"))
        answer(errors.NotFoundError("no such thing"))
    assert [record.getMessage() for record in caplog.records] == ["GET /fail: block 3 is damaged"]


def test_the_documentation_shows_every_address(finished: Path) -> None:
    schema = create_app(ServiceSettings(root=finished)).openapi()
    assert sorted(schema["paths"]) == [
        "/healthz",
        "/readyz",
        "/v1/recordings",
        "/v1/recordings/{name}",
        "/v1/recordings/{name}/ledger",
        "/v1/recordings/{name}/records",
        "/v1/recordings/{name}/zarr/{key}",
    ]
    responses = schema["paths"]["/v1/recordings/{name}"]["get"]["responses"]
    assert responses.keys() == {"200", "4XX", "5XX"}
    assert "application/problem+json" in responses["4XX"]["content"]


@pytest.mark.parametrize(
    ("broken", "path"),
    [("recall", "/v1/recordings/mn/zarr/logits/c/0/1/0"), ("names", "/v1/recordings")],
)
def test_a_bug_is_one_problem_with_an_id_also_where_the_framework_is_not_asked(
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    path: str,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(VisibleCatalog, broken, fail)
    transport = httpx.ASGITransport(
        create_app(ServiceSettings(root=finished)), raise_app_exceptions=False
    )

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://kdrec") as client:
            return await client.get(path)

    found = asyncio.run(ask())
    assert (found.status_code, found.json()["kind"]) == (500, ErrorKind.SERVICE)
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["x-request-id"]
    told = [record for record in caplog.records if "did not expect" in record.message]
    assert len(told) == 1
    assert "a bug" not in found.text
