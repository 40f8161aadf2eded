"""Recordings as an attacker would make them: everything in them agrees, digests and seal too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdrec.store import HEADER_KEY, SEAL_KEY, FileDigest, LedgerEntry, LocalStorage, Seal


def rewrite(folder: Path, key: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file, then make ledger and seal agree with it."""
    (folder / key).write_bytes(change((folder / key).read_bytes()))
    sign(folder)


def rewrite_json(folder: Path, key: str, change: Callable[[Any], None]) -> None:
    """Change a JSON file in place of its contents, and make all agree."""

    def edited(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    rewrite(folder, key, edited)


def sign(folder: Path) -> None:
    """Make header, ledger and seal state what is there now."""
    storage = LocalStorage(folder)
    header = _restated(storage, HEADER_KEY, {})
    for key in list(storage.keys("ledger/")):
        if key != HEADER_KEY:
            _restated(storage, key, {"recording": header.digest})
    (folder / SEAL_KEY).unlink(missing_ok=True)
    files = {key: FileDigest.of(storage.read(key)) for key in storage.keys("")}
    storage.write(SEAL_KEY, Seal(files=files).to_bytes())


def _restated(storage: LocalStorage, key: str, update: dict[str, str]) -> LedgerEntry:
    entry = LedgerEntry.from_bytes(storage.read(key), where=key, remedy="")
    files = {name: FileDigest.of(storage.read(name)) for name in entry.files}
    entry = entry.model_copy(update={"files": files, **update})
    storage.write(key, entry.to_bytes())
    return entry
