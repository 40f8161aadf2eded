"""A server made to harm its clients."""

import json
from pathlib import Path

import pytest

from kdrec.client import FilesTransport, RemoteStorage, fetch_summary
from kdrec.errors import IntegrityError, ServiceError
from kdrec.store import HEADER_KEY, LedgerEntry, LocalStorage, RecordingReader

DIGEST = "0" * 64


class SayingTransport:
    """Answers with the given words."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    def get(self, path: str) -> bytes:
        return self._answers[path]


@pytest.mark.parametrize("name", ["identity", "header"])
@pytest.mark.parametrize(
    "value", ["../../../home", "/etc", f"{DIGEST}\n", f"{DIGEST}/..", "A" * 64, "", DIGEST[:-1]]
)
def test_an_identity_that_is_no_digest_names_no_folder(name: str, value: str) -> None:
    summary = {"identity": DIGEST, "header": DIGEST} | {name: value}
    with pytest.raises(ServiceError, match="does not answer as a recording"):
        fetch_summary(SayingTransport({"": json.dumps(summary).encode()}))


@pytest.mark.parametrize("answer", [b"[" * 200_000, b'{"identity": null}', b"\xff", b"null", b""])
def test_a_summary_that_is_none_is_an_error(answer: bytes) -> None:
    with pytest.raises(ServiceError):
        fetch_summary(SayingTransport({"": answer}))


@pytest.mark.parametrize("key", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_key_from_a_server_writes_nothing_outside_of_the_copy(
    genuine: Path, tmp_path: Path, key: str
) -> None:
    entry = LedgerEntry.from_bytes((genuine / HEADER_KEY).read_bytes(), where="", remedy="")
    files = {key: next(iter(entry.files.values()))} | entry.files
    forged = entry.model_copy(update={"files": files})
    served = FilesTransport(LocalStorage(genuine), where="server")

    class Forging:
        def get(self, path: str) -> bytes:
            return forged.to_bytes() if path == f"zarr/{HEADER_KEY}" else served.get(path)

    copy = tmp_path / "deep" / "copy.zarr"
    storage = RemoteStorage(Forging(), LocalStorage(copy), header=forged.digest)
    with pytest.raises(IntegrityError, match="no key of a recording"):
        RecordingReader(storage, where="url")
    assert not (tmp_path / "deep" / "outside").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("answer", [b"[" * 200_000, b'{"blocks": 5}', b'{"blocks": null}'])
def test_a_ledger_that_is_none_is_an_error(genuine: Path, tmp_path: Path, answer: bytes) -> None:
    served = FilesTransport(LocalStorage(genuine), where="server")

    class Forging:
        def get(self, path: str) -> bytes:
            return answer if path == "ledger" else served.get(path)

    header = fetch_summary(served).header
    storage = RemoteStorage(Forging(), LocalStorage(tmp_path / "copy"), header=header)
    reader = RecordingReader(storage, where="url")
    with pytest.raises(ServiceError, match="list of blocks cannot be read"):
        reader.committed()
