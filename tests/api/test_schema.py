"""Whatever is asked, the answer is one that the OpenAPI description has, and nothing changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kdrec.api.answers import LedgerAnswer, RecordingAnswer, RecordingPage, RecordsAnswer
from tests.programs import contents

_MANY = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
_KEYS = (
    "zarr.json",
    "logits/c/0/1/0",
    "seal.json",
    "ledger/header.json",
    "ledger/g00000-p00000.json",
)


@pytest.fixture(scope="module")
def operations(finished: Path, finished_url: str) -> Iterator[list[Any]]:
    before = contents(finished)
    schema = schemathesis.openapi.from_url(f"{finished_url}/openapi.json")
    found = [operation.ok() for operation in schema.get_all_operations()]  # type: ignore[union-attr]
    yield found
    assert contents(finished) == before


def test_no_request_gives_a_server_error_or_an_answer_outside_the_schema(
    operations: list[Any],
) -> None:
    assert len(operations) == 7
    for operation in operations:

        @_MANY
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate()

        check()


@pytest.mark.parametrize(
    "answer",
    [RecordingPage, RecordingAnswer, LedgerAnswer, RecordsAnswer],
    ids=lambda a: a.__name__,
)
def test_an_answer_that_is_described_has_an_example_of_itself(answer: type[BaseModel]) -> None:
    described = answer.model_json_schema()
    assert answer.model_validate(described["example"])
    assert described["example"].keys() == answer.model_fields.keys()


def test_nor_does_one_for_a_recording_that_is_there(operations: list[Any]) -> None:
    for operation in operations:
        if "{name}" not in operation.path:
            continue

        @_MANY
        @given(case=operation.as_strategy(), key=st.sampled_from(_KEYS))
        def check(case: Any, key: str) -> None:
            case.path_parameters["name"] = "mn"
            if "key" in case.path_parameters:
                case.path_parameters["key"] = key
            if "wait" in (case.query or {}):
                case.query["wait"] = 0
            # Which views and samples there are, the recording says, not the schema.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        check()


@pytest.fixture(scope="module")
def client(finished_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=finished_url) as connected:
        yield connected


_HEADERS = st.dictionaries(
    st.sampled_from(["Range", "If-Range", "If-Match", "If-None-Match", "Accept", "X-Request-ID"]),
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip),
        st.sampled_from(["bytes=0-9", "bytes=-7", "*", '"x"', "bytes=5-1", "bytes=999999999-"]),
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
    key=st.sampled_from(_KEYS),
    headers=_HEADERS,
)
def test_every_answer_over_a_socket_is_a_part_of_the_stored_bytes_or_a_problem(
    finished: Path, client: httpx.Client, method: str, key: str, headers: dict[str, str]
) -> None:
    data = (finished / "mn.zarr" / key).read_bytes()
    answer = client.request(method, f"/v1/recordings/mn/zarr/{key}", headers=headers)
    if answer.status_code == 200:
        assert answer.content == (data if method == "GET" else b"")
    elif answer.status_code == 206:
        span, size = answer.headers["content-range"].removeprefix("bytes ").split("/")
        first, last = map(int, span.split("-"))
        assert (int(size), answer.content) == (len(data), data[first : last + 1])
    elif answer.status_code == 304:
        assert answer.content == b""
    else:
        assert answer.status_code in (405, 412, 416)
        assert answer.headers["content-type"] == "application/problem+json"
