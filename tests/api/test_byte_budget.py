import asyncio
import os
from collections.abc import MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from kdrec.api.byte_budget import ByteBudget
from kdrec.api.file_answers import FileAnswer
from kdrec.api.open_file import PIECE_BYTES, OpenFile
from kdrec.errors import ErrorKind, ServiceError, StorageError


async def hold(budget: ByteBudget, amount: int, until: asyncio.Event) -> None:
    async with budget.taking(amount):
        await until.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_is_lent_than_there_is_and_the_first_come_first() -> None:
    async def run() -> None:
        budget, done = ByteBudget(100, patience=60), [asyncio.Event() for _ in range(4)]
        tasks = [
            asyncio.create_task(hold(budget, n, e))
            for n, e in zip((60, 50, 10, 40), done, strict=True)
        ]
        await settle()
        assert budget.lent == 60  # the ten that would fit wait behind the fifty
        done[0].set()
        await settle()
        assert budget.lent == 100
        for event in done:
            event.set()
        await asyncio.gather(*tasks)
        assert budget.lent == 0

    asyncio.run(run())


def test_one_who_asks_for_more_than_all_gets_all() -> None:
    async def run() -> None:
        budget = ByteBudget(100, patience=60)
        async with budget.taking(10**9):
            assert budget.lent == 100
        assert budget.lent == 0

    asyncio.run(run())


def test_who_waits_too_long_is_told_to_come_again() -> None:
    async def run() -> None:
        budget = ByteBudget(100, patience=0.01)
        async with budget.taking(100):
            with pytest.raises(ServiceError, match="100 bytes of answers") as refusal:
                async with budget.taking(1):
                    pass
        assert refusal.value.kind is ErrorKind.OVERLOADED
        async with budget.taking(100):
            assert budget.lent == 100

    asyncio.run(run())


@pytest.mark.parametrize("lent_first", [True, False])
def test_one_who_leaves_while_waiting_keeps_nothing(lent_first: bool) -> None:
    async def run() -> None:
        budget, done = ByteBudget(100, patience=60), asyncio.Event()
        first = asyncio.create_task(hold(budget, 100, done))
        await settle()
        leaving = asyncio.create_task(hold(budget, 100, done))
        staying = asyncio.create_task(hold(budget, 50, done))
        await settle()
        if lent_first:
            done.set()
            await first
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        done.set()
        await asyncio.gather(first, staying)
        assert budget.lent == 0

    asyncio.run(run())


def test_an_answer_for_which_there_is_no_memory_is_a_problem_with_a_pause(finished: Path) -> None:
    shard = finished / "mn.zarr" / "logits/c/0/1/0"
    file = OpenFile(os.open(shard, os.O_RDONLY), where="shard")

    async def ask() -> httpx.Response:
        budget = ByteBudget(1, patience=0.01)
        answer = FileAnswer(file, range(9), budget=budget, status=HTTPStatus.OK, headers={})
        async with budget.taking(1):
            transport = httpx.ASGITransport(answer)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.get("/")

    found = asyncio.run(ask())
    assert (found.status_code, found.json()["kind"]) == (503, ErrorKind.OVERLOADED)
    assert int(found.headers["retry-after"]) > 0


def test_a_disk_that_fails_in_the_middle_ends_the_answer_and_makes_nothing_up(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(PIECE_BYTES + 5))
    file = OpenFile(os.open(path, os.O_RDONLY), where="file")
    whole, sent = range(PIECE_BYTES + 5), []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if len(sent) == 2:
            os.truncate(path, 10)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    budget = ByteBudget(10**9, patience=1)
    answer = FileAnswer(file, whole, budget=budget, status=HTTPStatus.OK, headers={})
    with pytest.raises(StorageError, match="cut off while it was sent"):
        asyncio.run(answer({"type": "http"}, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert budget.lent == 0
