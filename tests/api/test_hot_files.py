"""The short way: it gives what the long one gives, for a second, and keeps nothing open."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec.api import ServiceSettings, create_app
from kdrec.api.hot_files import DelegatedFile, HotFiles, SoundFile
from kdrec.api.open_file import OpenFile
from kdrec.api.places import PlacedFile
from kdrec.api.signature import Signature
from kdrec.api.state import ServiceState
from kdrec.errors import StorageError

SHARD = "logits/c/0/1/0"
FILE = f"/v1/recordings/mn/zarr/{SHARD}"


class Service:
    """One app, asked without a socket."""

    def __init__(self, root: Path, **told: object) -> None:
        self.app = create_app(ServiceSettings(root=root, **told))  # type: ignore[arg-type]

    @property
    def hot(self) -> HotFiles:
        state = self.app.state.service
        assert isinstance(state, ServiceState)
        return state.hot_files

    async def ask(self, path: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kdrec") as client:
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.get(path, headers=told)


def comparable(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    told = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    return answer.status_code, answer.content, told


_ranges = st.one_of(
    st.none(),
    st.sampled_from(["bytes=0-", "bytes=-5", "bytes=99999999-", "bytes=0-1,3-4", "x", "bytes=-0"]),
    st.tuples(st.integers(0, 800), st.integers(0, 800)).map(
        lambda ends: "bytes={}-{}".format(*ends)
    ),
)
_conditions = st.dictionaries(
    st.sampled_from(["If-Match", "If-None-Match", "If-Range"]),
    st.sampled_from(["*", '"x"', "TAG", "W/TAG", "Wed, 21 Oct 2015 07:28:00 GMT"]),
    max_size=2,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=_ranges, conditions=_conditions)
def test_the_short_way_gives_what_the_long_way_gives(
    finished: Path, header: str | None, conditions: dict[str, str]
) -> None:
    service = Service(finished)

    async def compare() -> None:
        tag = (await service.ask(FILE)).headers["etag"]
        told = {name: value.replace("TAG", tag) for name, value in conditions.items()}
        told |= {} if header is None else {"Range": header}
        assert service.hot.get("mn", SHARD) is not None
        short = await service.ask(FILE, **told)
        service.hot._files.clear()
        long = await service.ask(FILE, **told)
        assert comparable(short) == comparable(long)

    asyncio.run(compare())


def test_a_hot_file_is_given_without_the_disk_and_then_no_longer(root: Path) -> None:
    service = Service(root)
    now = [0.0]
    service.hot._clock = lambda: now[0]

    async def ask() -> None:
        first = await service.ask(FILE)
        (root / "mn.zarr" / SHARD).unlink()
        assert comparable(await service.ask(FILE)) == comparable(first)
        now[0] = 1.0
        assert (await service.ask(FILE)).status_code == 500

    asyncio.run(ask())


def test_what_was_opened_is_closed_again(root: Path) -> None:
    shard = os.path.realpath(root / "mn.zarr" / SHARD)
    service = Service(root)

    def opened() -> int:
        return sum(os.path.realpath(link) == shard for link in Path("/proc/self/fd").iterdir())

    async def ask() -> None:
        before = opened()
        await service.ask(FILE)
        assert opened() == 1
        while len(service.hot):
            await asyncio.sleep(0.05)
        gc.collect()
        assert opened() == before

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files")
    asyncio.run(ask())


def test_a_token_is_asked_for_on_the_short_way_too(root: Path, tmp_path: Path) -> None:
    from kdrec.api import TOKEN_BYTES, TokenEntry, TokenFile, make_token

    token, other = make_token(bytes(TOKEN_BYTES)), make_token(b"x" * TOKEN_BYTES)
    file = TokenFile(tmp_path / "tokens")
    file.add(TokenEntry.of(token, name="mine", patterns=["mn"]))
    file.add(TokenEntry.of(other, name="other", patterns=["other"]))
    service = Service(root, tokens=tmp_path / "tokens")

    async def ask() -> None:
        assert (await service.ask(FILE, Authorization=f"Bearer {token}")).status_code == 200
        assert len(service.hot) == 1
        assert (await service.ask(FILE)).status_code == 401
        assert (await service.ask(FILE, Authorization=f"Bearer {other}")).status_code == 403
        file.remove("mine")
        assert (await service.ask(FILE, Authorization=f"Bearer {token}")).status_code == 401

    asyncio.run(ask())


@pytest.mark.parametrize("is_near", [True, False])
def test_a_file_that_another_sends_is_looked_at_every_time(tmp_path: Path, is_near: bool) -> None:
    path = tmp_path / "0"
    path.write_bytes(b"shard")
    placed = PlacedFile(str(path), "0", Signature.of(path.lstat()), is_near=is_near)

    async def look() -> None:
        hot, found = HotFiles(), DelegatedFile(placed, 5, {})
        assert await hot.is_sound(found)
        path.unlink()
        assert not await hot.is_sound(found)

    asyncio.run(look())


def test_a_network_that_hangs_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(PlacedFile, "is_there", lambda placed: answers.wait(30))
    placed = PlacedFile("/away/0", "0", Signature((0, 0, 0), 5), is_near=False)

    async def look() -> None:
        looking = asyncio.create_task(HotFiles().is_sound(DelegatedFile(placed, 5, {})))
        await asyncio.sleep(0.05)
        assert not looking.done()
        answers.set()
        assert await looking

    asyncio.run(look())


def test_only_so_many_files_are_kept_open(root: Path) -> None:
    hot = HotFiles(clock=lambda: 0.0)
    found = SoundFile(OpenFile(os.open(root / "mn.zarr" / SHARD, os.O_RDONLY), where="x"), 1, {})
    for number in range(600):
        hot.keep("mn", str(number), found)
    assert len(hot) == 512


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(3 * 2**20 + 17))
    return path


@given(start=st.integers(0, 3 * 2**20), length=st.integers(0, 2**20))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
def test_memory_and_disk_give_the_same_bytes(big: Path, start: int, length: int) -> None:
    opened = OpenFile(os.open(big, os.O_RDONLY), where="big")
    part = range(start, min(start + length, big.stat().st_size))
    expected = big.read_bytes()[part.start : part.stop]
    assert asyncio.run(opened.read(part)) == opened.read_now(part) == expected


def test_a_disk_that_fails_is_an_error(tmp_path: Path) -> None:
    opened = OpenFile(os.open(tmp_path, os.O_RDONLY), where="a folder")
    with pytest.raises(StorageError, match="a folder cannot be read"):
        asyncio.run(opened.read(range(10)))


def test_an_answer_under_way_is_of_one_file_whatever_takes_its_place(
    root: Path, serve_folder: Callable[..., str]
) -> None:
    """Replaced by rename while it is sent: what was opened is sent to its end."""
    shard = root / "mn.zarr" / SHARD
    data = shard.read_bytes()
    with httpx.stream("GET", serve_folder(root) + FILE) as answer:
        (root / "new").write_bytes(b"n" * len(data))
        (root / "new").replace(shard)
        assert answer.read() == data
