import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pyarrow
import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.api.record_readers import RecordReaders
from kdrec.api.record_streams import ARROW, JSON, arrow_stream, choose_format, json_stream
from kdrec.api.records import BATCH_NUMBERS, RecordQuery
from kdrec.client import open_recording
from kdrec.errors import ErrorKind, IntegrityError
from kdrec.samples import make_shapes
from kdrec.store import LocalStorage, RecordingReader
from kdrec.testing import make_plan, make_recording

Ask = Callable[..., httpx.Response]
URL = "/v1/recordings/mn/records"


def table(answer: httpx.Response) -> pyarrow.Table:
    assert answer.headers["content-type"] == ARROW
    return pyarrow.ipc.open_stream(io.BytesIO(answer.content)).read_all()


@pytest.mark.parametrize(
    ("query", "samples"),
    [
        ("view=3", range(10)),
        ("view=3&start=4", range(4, 10)),
        ("view=0&start=2&stop=5", range(2, 5)),
        ("view=1&samples=7,0,7", [7, 0, 7]),
    ],
)
def test_records_are_those_a_reader_gives_in_both_formats(
    finished: Path, ask: Ask, query: str, samples: list[int]
) -> None:
    view = int(query[5])
    parameters, logits = open_recording(finished / "mn.zarr").read(view, list(samples))
    found = table(ask(finished, f"{URL}?{query}", headers={"Accept": ARROW}))
    assert found.column_names == ["sample", *parameters.names, "logits"]
    assert found["sample"].to_pylist() == list(samples)
    np.testing.assert_array_equal(np.array(found["logits"].to_pylist(), np.float32), logits)
    answer = ask(finished, f"{URL}?{query}", headers={"Accept": "application/json"}).json()
    assert answer["view"] == view
    assert answer["records"] == found.to_pylist()
    for column, name in enumerate(parameters.names):
        values = np.array([record[name] for record in answer["records"]], np.float32)
        np.testing.assert_array_equal(values, parameters.values_BP[:, column])


def test_columns_are_chosen_by_name(finished: Path, ask: Ask) -> None:
    query = f"{URL}?view=0&stop=2&names=logits,scale"
    (record, _) = ask(finished, query.replace(",scale", ",sample")).json()["records"]
    assert list(record) == ["logits", "sample"]
    found = table(ask(finished, query.replace(",scale", ""), headers={"Accept": ARROW}))
    assert found.column_names == ["logits"]
    wrong = ask(finished, query)
    assert wrong.status_code == 422
    assert "names must be among sample, " in wrong.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "", "view=4", "view=-1", "view=x", "view=0&start=11", "view=0&stop=11",
        "view=0&start=5&stop=5", "view=0&start=-1", "view=0&samples=10", "view=0&samples=",
        "view=0&samples=1,",
        "view=0&samples=1&stop=3", "view=0&samples=-1", "view=0&samples=٣", "view=0&samples=1e1",
        "view=0&names=", "view=0&names=logits,logits", "view=0&samples=" + "1," * 1000 + "1",
        "view=99999999999999999999999",
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused(finished: Path, ask: Ask, query: str) -> None:
    answer = ask(finished, f"{URL}?{query}")
    assert (answer.status_code, answer.json()["kind"]) == (422, ErrorKind.INVALID_INPUT)


def test_what_is_not_recorded_or_damaged_is_an_error_and_no_number(root: Path, ask: Ask) -> None:
    (root / "mn.zarr" / "ledger" / "g00001-p00001.json").unlink()
    (root / "mn.zarr" / "logits" / "c" / "0" / "0" / "0").write_bytes(b"damaged")
    absent = ask(root, f"{URL}?view=2&start=4&stop=6")
    assert (absent.status_code, absent.json()["kind"]) == (404, ErrorKind.INCOMPLETE)
    damaged = ask(root, f"{URL}?view=0&stop=2")
    assert (damaged.status_code, damaged.json()["kind"]) == (500, ErrorKind.INTEGRITY)
    assert ask(root, f"{URL}?view=2&stop=4").status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON), ("*/*", JSON), (ARROW, ARROW), (f"{JSON}, {ARROW}", JSON),
        (f"{JSON};q=0.5, {ARROW}", ARROW), (f"*/*;q=0.1, {ARROW}", ARROW), ("application/*", JSON),
        (f"{JSON};q=0, */*", ARROW),
    ],
)  # fmt: skip
def test_accept_chooses_the_format(accept: str | None, kind: str) -> None:
    assert choose_format(accept) == kind


def test_other_formats_are_not_there(finished: Path, ask: Ask) -> None:
    answer = ask(finished, f"{URL}?view=0", headers={"Accept": "text/csv"})
    assert answer.status_code == 406
    assert ARROW in answer.json()["detail"]


@given(st.text(max_size=40))
def test_no_accept_header_does_anything_but_choose_or_refuse(text: str) -> None:
    with suppress(HTTPException):
        assert choose_format(text) in (JSON, ARROW)


def test_many_records_come_in_batches(tmp_path: Path) -> None:
    samples = make_shapes(205, num_points=4)
    plan = make_plan(
        samples, views=1, group=1, block_samples=152, augment="normalize", with_samples=False
    )
    num_classes = BATCH_NUMBERS // 100 - 1  # and the number of the sample: 100 records a batch
    make_recording(tmp_path / "r.zarr", samples, plan=plan, num_classes=num_classes)
    reader = RecordingReader(LocalStorage(tmp_path / "r.zarr"), where="r", memory=1)
    query = RecordQuery(0, range(len(samples)), ("sample", "logits"))
    sizes = [len(batch["sample"]) for batch in query.batches(reader)]
    assert sizes == [100, 100, 5]
    pieces = list(json_stream(query.batches(reader), view=0))
    assert len(pieces) == 4
    records = json.loads(b"".join(pieces))["records"]
    assert [record["sample"] for record in records] == list(range(len(samples)))


def test_only_the_recordings_that_were_asked_last_stay_decoded(root: Path) -> None:
    for number in range(6):
        shutil.copytree(root / "mn.zarr", root / f"r{number}.zarr")
    catalog, readers = Catalog(root), RecordReaders()
    expected = open_recording(root / "mn.zarr").read(3)[1]
    recordings = [catalog.find(RecordingAddress(f"r{number}")) for number in range(6)]
    used = [readers.reader(recording) for recording in recordings]
    for reader in used:
        np.testing.assert_array_equal(reader.read(3)[1], expected)
    assert len(readers) == 4
    assert [readers.reader(recording) for recording in recordings[2:]] == used[2:]
    assert readers.reader(recordings[0]) is not used[0]


def test_an_arrow_stream_that_breaks_off_has_no_end_mark() -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield {"sample": np.arange(3), "logits": np.zeros((3, 2), np.float32)}
        raise IntegrityError("the second block is damaged")

    with pytest.raises(IntegrityError):
        list(arrow_stream(broken(), metadata={"view": "0"}))
    stream = arrow_stream(broken(), metadata={"view": "0"})
    begun = next(stream)
    whole = b"".join(arrow_stream(iter([next(broken())]), metadata={"view": "0"}))
    assert whole.startswith(begun)
    assert whole[len(begun) :] == b"\xff\xff\xff\xff\0\0\0\0"
    assert pyarrow.ipc.open_stream(whole).read_all().schema.metadata == {b"view": b"0"}


def test_without_nanoarrow_only_arrow_is_refused(finished: Path) -> None:
    program = f"""
import sys
sys.modules["nanoarrow"] = None
from pathlib import Path
from starlette.testclient import TestClient
from kdrec.api import ServiceSettings, create_app
client = TestClient(create_app(ServiceSettings(root=Path({str(finished)!r}))))
print(client.get("{URL}?view=0", headers={{"Accept": "{ARROW}"}}).json()["kind"])
print(client.get("{URL}?view=0").status_code)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True
    )
    assert done.stdout.split() == ["missing_dependency", "200"], done.stderr
