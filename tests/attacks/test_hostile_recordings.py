"""A recording made to harm who opens it: an error of ours, at once, in little memory.

Each attack is signed: ledger and seal agree with it. See docs/attacks.md.
"""

import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from kdrec.client import fetch, open_recording
from kdrec.errors import IntegrityError, InvalidInputError, KdrecError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import HEADER_KEY, ROOT_KEY, LedgerEntry, LocalStorage, RecordingReader
from kdrec.testing import make_plan, make_recording
from tests.attacks.forgery import rewrite, rewrite_json, sign
from tests.programs import kdrec

SHARD, FIRST = "logits/c/0/1/0", "logits/c/0/0/0"
LITTLE = 64 * 2**20


@contextmanager
def little_memory() -> Iterator[None]:
    """Nothing may allocate much, for numpy and Python tell tracemalloc of what they take."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


def use(path: Path) -> None:
    """All that a student does with a recording."""
    recording = open_recording(path)
    recording.progress()
    for view in range(3):
        recording.read(view, [0, 19])
    recording.check(recording.samples())


def assert_refused(path: Path, words: str | None = None) -> None:
    with little_memory(), pytest.raises(KdrecError, match=words):
        use(path)


def test_forging_alone_is_not_what_is_refused(forged: Path) -> None:
    sign(forged)
    use(forged)


def set_in(*path: str, value: object) -> Callable[[Any], None]:
    """Set an entry of a nested document."""

    def change(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


PLAN = ("attributes", "kdrec", "plan")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ((*PLAN, "views"), 10**15),
        pytest.param((*PLAN, "views"), 10**300, id="views-10^300"),
        ((*PLAN, "data", "num_samples"), 10**12),
        ((*PLAN, "data", "num_samples"), 10**9),
        ((*PLAN, "data", "num_points"), 10**12),
        ((*PLAN, "group"), 10**15),
        ((*PLAN, "block_samples"), 4 * 10**15),
        (("attributes", "kdrec", "classes", "num_teacher"), 10**12),
        (("attributes", "kdrec", "num_proof"), 10**12),
        ((*PLAN, "views"), -1),
        ((*PLAN, "views"), True),
        ((*PLAN, "views"), "3; import os"),
        ((*PLAN, "class_map"), [10**6]),
    ],
)
def test_huge_or_senseless_numbers_in_the_manifest_are_refused(
    forged: Path, where: tuple[str, ...], value: object
) -> None:
    rewrite_json(forged, ROOT_KEY, set_in(*where, value=value))
    assert_refused(forged)


@pytest.mark.parametrize("array", ["logits", "params", "samples/points", "samples/digest"])
@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("shape",), [10**9, 10**9, 12]),
        (("shape",), [3, 20]),
        (("shape",), []),
        (("chunk_grid", "configuration", "chunk_shape"), [2**20, 2**20, 12]),
        (("chunk_grid", "configuration", "chunk_shape"), [0, 0, 0]),
        (("chunk_grid", "configuration", "chunk_shape"), [-1, 4, 4]),
        (("data_type",), "object"),
        (("data_type",), {"name": "numpy.datetime64", "configuration": {}}),
        (("codecs",), [{"name": "numcodecs.pickle", "configuration": {}}]),
        (("codecs",), [{"name": "gzip", "configuration": {"level": 5}}]),
        (("codecs",), []),
        (("zarr_format",), 2),
        (("node_type",), "group"),
    ],
)
def test_metadata_that_are_not_those_of_the_manifest_are_refused(
    forged: Path, array: str, where: tuple[str, ...], value: object
) -> None:
    rewrite_json(forged, f"{array}/zarr.json", set_in(*where, value=value))
    assert_refused(forged)


def test_huge_chunks_inside_a_shard_are_refused(forged: Path) -> None:
    def grow(document: Any) -> None:
        document["chunk_grid"]["configuration"]["chunk_shape"] = [2**12, 2**20, 12]
        document["codecs"][0]["configuration"]["chunk_shape"] = [2**12, 2**20, 12]

    rewrite_json(forged, "logits/zarr.json", grow)
    assert_refused(forged, "a chunk would take .* bytes, allowed are")


@pytest.mark.parametrize(
    ("array", "configuration"),
    [
        ("logits", {"step": 10**400}),
        ("logits", {"step": 0.125, "spread": False}),
        ("params", {"columns": [[0, float("inf"), 0]]}),
        ("params", {"columns": [[10**30, 10**30 + 1, 0]]}),
    ],
    ids=["huge step", "no spread", "no end", "huge numbers"],
)
def test_codecs_of_senseless_numbers_are_refused(
    tmp_path: Path, array: str, configuration: dict[str, Any]
) -> None:
    samples = make_shapes(20, num_points=32)
    plan = make_plan(samples, augment="reflect_x=0.5", encoding="compact")
    make_recording(tmp_path / "r.zarr", samples, plan=plan)

    def configure(document: Any) -> None:
        document["codecs"][0]["configuration"]["codecs"][0]["configuration"] = configuration

    rewrite_json(tmp_path / "r.zarr", f"{array}/zarr.json", configure)
    assert_refused(tmp_path / "r.zarr", "is damaged")


@pytest.mark.parametrize("key", [ROOT_KEY, "logits/zarr.json", HEADER_KEY, "seal.json"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(forged: Path, key: str, opening: bytes) -> None:
    deep = opening * 200_000
    if key == HEADER_KEY or key == "seal.json":
        (forged / key).write_bytes(b'{"body":' + deep)
    else:
        rewrite(forged, key, lambda _: deep)
    assert_refused(forged)


def test_deep_nesting_that_is_complete_is_refused(forged: Path) -> None:
    deep = b'{"attributes": {"kdrec": ' + b"[" * 900 + b"]" * 900 + b"}}"
    rewrite(forged, ROOT_KEY, lambda _: deep)
    assert_refused(forged)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "logits/../../outside", "a\\b", "", "a//b", "a\0b", "."]
)
def test_a_key_that_leads_out_of_the_folder_is_refused(
    forged: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "outside").write_bytes(b"not yours")
    entry = LedgerEntry.from_bytes((forged / HEADER_KEY).read_bytes(), where="", remedy="")
    digest = next(iter(entry.files.values()))
    files = entry.files | {name: digest, f"samples/points/{name}": digest}
    (forged / HEADER_KEY).write_bytes(entry.model_copy(update={"files": files}).to_bytes())
    (forged / "seal.json").unlink()
    with pytest.raises(IntegrityError, match="no key of a recording"):
        LocalStorage(forged).read(name)
    with pytest.raises(KdrecError):
        open_recording(forged).samples()


def packed_blosc(size: int) -> bytes:
    """A blosc chunk of a few bytes that says it unpacks to so many."""
    return struct.pack("<BBBBIII", 2, 1, 0x01, 4, size, size, 32) + bytes(16)


def packed_zstd(size: int) -> bytes:
    """The same in zstd: one block of repeated zeros after another."""
    block = (3 | (2**17 - 1) << 3).to_bytes(3, "little") + b"\0"  # RLE, the last one
    return b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + size.to_bytes(8, "little") + block


def as_shard(chunk: bytes, count: int) -> bytes:
    """A shard whose chunks are all these same bytes, one after another, with good checksums."""
    import google_crc32c

    def checked(data: bytes) -> bytes:
        return data + int(google_crc32c.value(data)).to_bytes(4, "little")

    body = checked(chunk)
    index = b"".join(struct.pack("<QQ", n * len(body), len(body)) for n in range(count))
    return body * count + checked(index)


def number_of_chunks(path: Path) -> int:
    shard = json.loads((path / "logits/zarr.json").read_bytes())
    outer = shard["chunk_grid"]["configuration"]["chunk_shape"]
    inner = shard["codecs"][0]["configuration"]["chunk_shape"]
    return int(np.prod(np.array(outer) // np.array(inner)))


def test_a_blosc_bomb_is_refused_before_it_unpacks(forged: Path) -> None:
    bomb = as_shard(packed_blosc(2**31 - 32), number_of_chunks(forged))
    assert len(bomb) < 10_000
    rewrite(forged, SHARD, lambda _: bomb)
    assert_refused(forged, rf"{SHARD}: a chunk would unpack to 2147483616 bytes, allowed are")


def use_zstd(document: Any) -> None:
    inner = document["codecs"][0]["configuration"]["codecs"]
    inner[1] = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}


@pytest.mark.parametrize("size", [2**33, 2**50, 2**63])
def test_a_zstd_bomb_is_refused_before_it_unpacks(forged: Path, size: int) -> None:
    rewrite_json(forged, "logits/zarr.json", use_zstd)
    bomb = as_shard(packed_zstd(size), number_of_chunks(forged))
    rewrite(forged, FIRST, lambda _: bomb)
    assert_refused(forged, f"would unpack to {size} bytes")


def test_a_zstd_bomb_that_hides_its_size_is_refused(forged: Path) -> None:
    rewrite_json(forged, "logits/zarr.json", use_zstd)
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x58]) + packed_zstd(1)[-4:]
    rewrite(forged, FIRST, lambda _: as_shard(frame, number_of_chunks(forged)))
    assert_refused(forged, "would unpack to")


@pytest.mark.parametrize(
    ("offset", "size"),
    [(2**40, 100), (0, 2**40), (2**63, 2**63), (2**64 - 2, 10), (10, 2**64 - 2), (0, 10**6)],
)
def test_an_index_that_points_outside_of_its_shard_is_refused(
    forged: Path, offset: int, size: int
) -> None:
    count = number_of_chunks(forged)

    def redirect(data: bytes) -> bytes:
        import google_crc32c

        end = len(data) - 4
        start = end - 16 * count
        index = struct.pack("<QQ", offset, size) + data[start + 16 : end]
        return data[:start] + index + int(google_crc32c.value(index)).to_bytes(4, "little")

    rewrite(forged, SHARD, redirect)
    assert_refused(forged, rf"{SHARD}: its index points outside of the file")


def test_a_shard_shorter_than_its_index_is_refused(forged: Path) -> None:
    rewrite(forged, SHARD, lambda data: data[-10:])
    assert_refused(forged, "shorter than its index")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("array", ["params", "logits"])
def test_values_that_are_no_numbers_are_refused(forged: Path, array: str, value: float) -> None:
    stored = zarr.open_group(LocalStore(forged), mode="r+")[array]
    assert isinstance(stored, zarr.Array)
    stored[1, 13, 0] = value
    sign(forged)
    with pytest.raises(IntegrityError, match="holds NaN"):
        open_recording(forged).read(1, [13])
    assert np.isfinite(open_recording(forged).read(1, [0])[1]).all()


@pytest.mark.parametrize("array", ["proof/view", "proof/sample"])
@pytest.mark.parametrize("number", [-1, 10**9])
def test_proof_of_records_that_there_are_not_is_refused(
    forged: Path, array: str, number: int
) -> None:
    stored = zarr.open_group(LocalStore(forged), mode="r+")[array]
    assert isinstance(stored, zarr.Array)
    stored[0] = number
    sign(forged)
    assert_refused(forged, "records that the plan does not have")


def test_names_that_are_no_text_are_refused(forged: Path) -> None:
    stored = zarr.open_group(LocalStore(forged), mode="r+")["samples/name"]
    assert isinstance(stored, zarr.Array)
    stored[...] = 0xFF
    sign(forged)
    assert_refused(forged, "samples/name is no text")


@pytest.mark.parametrize("key", [SHARD, "samples/points/c/0/0/0", "zarr.json"])
def test_a_link_out_of_the_folder_is_not_followed(forged: Path, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secret"
    shutil.move(forged / key, secret)  # even if it holds what the ledger says
    (forged / key).symlink_to(secret)
    with pytest.raises(IntegrityError, match=f"{key} leads out of .* by a link"):
        use(forged)


def test_a_folder_that_is_a_link_out_is_neither_read_nor_written(
    forged: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(forged / "logits", elsewhere)
    (forged / "logits").symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    storage = LocalStorage(forged)
    for attempt in (
        lambda: storage.write("logits/c/9/9/0", b"written outside"),
        lambda: storage.delete(SHARD),
        lambda: storage.read(SHARD),
        lambda: storage.size(SHARD),
    ):
        with pytest.raises(IntegrityError, match="by a link"):
            attempt()
    assert sorted(elsewhere.rglob("*")) == before


def test_a_recording_may_itself_be_a_link(forged: Path, tmp_path: Path) -> None:
    (tmp_path / "alias.zarr").symlink_to(forged)
    use(tmp_path / "alias.zarr")


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_kept(
    forged: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (forged / SHARD).unlink()
    (forged / SHARD).symlink_to(tmp_path / "precious")
    LocalStorage(forged).write(SHARD, b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert LocalStorage(forged).read(SHARD) == b"new"


def test_a_pipe_in_the_place_of_a_file_does_not_stop_the_reader(forged: Path) -> None:
    (forged / SHARD).unlink()
    os.mkfifo(forged / SHARD)
    with pytest.raises(StorageError, match="is no file"):
        use(forged)


def test_names_do_not_steer_the_terminal(forged: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[red]name[/]"
    rewrite_json(forged, ROOT_KEY, set_in(*PLAN, "teacher", "name", value=evil))
    shown = kdrec("inspect", forged)
    assert shown.code == 0, shown.err
    assert "\x1b" not in shown.out
    assert "\\x1b]0;owned\\x07\\x1b[2J[red]name[/]" in shown.out


def test_a_forged_block_that_the_seal_does_not_know_is_refused(forged: Path) -> None:
    key = "ledger/g00000-p00001.json"
    entry = LedgerEntry.from_bytes((forged / key).read_bytes(), where="", remedy="")
    (forged / key).write_bytes(entry.model_copy(update={"correct": None, "block": "x"}).to_bytes())
    with pytest.raises(IntegrityError):
        use(forged)


def test_a_recording_of_another_format_says_what_it_needs(forged: Path) -> None:
    rewrite_json(forged, ROOT_KEY, set_in("attributes", "kdrec", "format_version", value=99))
    with pytest.raises(InvalidInputError, match="format version 99"):
        use(forged)


def test_fetching_does_not_write_through_a_link(genuine: Path, tmp_path: Path) -> None:
    """Not even into a folder that an archive has prepared."""
    from tests.promises.test_one_reader import serving

    copy, outside = tmp_path / "copy.zarr", tmp_path / "outside"
    copy.mkdir()
    outside.mkdir()
    (copy / "logits").symlink_to(outside)
    with serving(genuine.parent) as url, pytest.raises(IntegrityError, match="by a link"):
        list(fetch(f"{url}/r", copy))
    assert list(outside.iterdir()) == []


def test_verification_finds_each_attack_too(forged: Path) -> None:
    rewrite(forged, SHARD, lambda _: as_shard(packed_blosc(2**31 - 32), number_of_chunks(forged)))
    found = kdrec("verify", forged, "--bytes")
    assert found.code == 4
    assert "a chunk would unpack to" in found.err


def test_a_reader_of_a_forged_grid_lists_it_in_no_time(forged: Path) -> None:
    rewrite_json(forged, ROOT_KEY, set_in(*PLAN, "views", value=2**24))
    reader = RecordingReader(LocalStorage(forged), where="r.zarr")
    assert len(reader.committed()) == 4
