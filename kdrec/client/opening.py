"""Opening and fetching: a path or an address to a recording."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from kdrec.client.following import GrowthWatch, watch_of
from kdrec.client.recording import Recording
from kdrec.client.remote import RecordingSummary, RemoteStorage, fetch_summary
from kdrec.client.transport import HttpTransport, Transport
from kdrec.errors import AlreadyExistsError, InvalidInputError
from kdrec.store import OWN_NAMES, Block, LocalStorage, RecordingReader, is_temporary

CACHE_VARIABLE = "KDREC_CACHE"


def open_recording(
    uri: str | Path,
    *,
    cache: str | Path | None = None,
    token: str | None = None,
    wait: float = 0.0,
) -> Recording:
    """Open a recording on disk or behind `kdrec serve`.

    Args:
        uri: Folder, or `http(s)://HOST/v1/recordings/NAME`.
        cache: Folder for what is fetched; by default KDREC_CACHE, else the user's cache folder.
            Keyed by identity, so that two recordings never mix.
        token: Bearer token; by default KDREC_TOKEN.
        wait: Seconds for which reading waits for a view that is not recorded yet.

    Returns:
        The recording, after a check of its metadata; records are read when asked for.

    Raises:
        NotFoundError: None is there.
        IntegrityError: Its metadata are damaged.
        StorageError: It cannot be reached.
    """
    text = str(uri)
    if not is_address(text):
        path = Path(text).expanduser()
        return Recording(LocalStorage(path), where=text, wait=wait)
    transport = HttpTransport(text, token=token)
    summary = fetch_summary(transport)
    folder = _cache_folder(cache) / _cache_key(summary)
    storage = RemoteStorage(transport, LocalStorage(folder), header=summary.header)
    return Recording(storage, where=text, watch=watch_of(transport), wait=wait)


def is_address(uri: str) -> bool:
    """Whether it is an address rather than a path.

    Raises:
        InvalidInputError: It is one of a kind that cannot be opened.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return False
    if scheme not in ("http", "https"):
        raise InvalidInputError(f"{uri}: addresses begin with http:// or https://, or give a path")
    return True


def _cache_folder(cache: str | Path | None) -> Path:
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("kdrec"))


def _cache_key(summary: RecordingSummary) -> str:
    """One folder an identity; while there is none yet, one a header."""
    return summary.identity or f"running-{summary.header}"


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is.

    Attributes:
        done: Files here.
        total: Files wanted.
        num_bytes: Size of those here.
    """

    done: int
    total: int
    num_bytes: int


def fetch(
    url: str,
    folder: Path,
    *,
    views: range | None = None,
    token: str | None = None,
    follow: bool = False,
) -> Iterator[FetchProgress]:
    """Copy a recording, or some of its views, to a folder; what is there already stays.

    Args:
        url: `http(s)://HOST/v1/recordings/NAME`.
        folder: The copy: complete or partial, it opens like any recording.
        views: Whole view groups that hold these; all by default.
        token: Bearer token; by default KDREC_TOKEN.
        follow: Go on while it is recorded, until it is sealed or these views are complete.

    Yields:
        Progress after every file; while following, of the files that are known so far.

    Raises:
        ConflictError: The folder holds another recording.
        AlreadyExistsError: The folder holds something else.
    """
    _check_target(folder)
    transport: Transport = HttpTransport(url, token=token)
    summary = fetch_summary(transport)
    copy = LocalStorage(folder)
    copy.remove_unfinished()
    storage = RemoteStorage(transport, copy, header=summary.header)
    reader = RecordingReader(storage, where=url)
    wanted = _wanted(reader, views)
    watch = watch_of(transport) if follow else None
    num_bytes, done = 0, 0
    keys = sorted(reader.header.files)
    for blocks in _appearing(reader, wanted, watch):
        for block in blocks:
            keys += sorted(reader.entry(block).files)
        while done < len(keys):
            num_bytes += len(storage.read(keys[done]))
            done += 1
            yield FetchProgress(done=done, total=len(keys), num_bytes=num_bytes)


def _appearing(
    reader: RecordingReader, wanted: list[Block], watch: GrowthWatch | None
) -> Iterator[list[Block]]:
    """The wanted blocks that are there; then, if there is a watch, those that come, as they do."""
    missing = wanted
    while True:
        reader.refresh()  # before the blocks: what is sealed gets no more of them
        committed = set(reader.committed())
        yield [block for block in missing if block in committed]
        missing = [block for block in missing if block not in committed]
        everything = not missing and len(wanted) < len(reader.grid)
        if watch is None or everything or reader.identity is not None:
            return
        watch.wait()


def _check_target(folder: Path) -> None:
    if folder.is_file():
        raise AlreadyExistsError(f"{folder} is a file; give the name of a folder")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = {name for name in names - OWN_NAMES if not is_temporary(name)}
    if foreign:
        raise AlreadyExistsError(
            f"{folder} exists and holds {min(foreign)!r}, which is no part of a recording; "
            "give another name"
        )


def _wanted(reader: RecordingReader, views: range | None) -> list[Block]:
    if views is not None and not 0 <= views.start < views.stop <= reader.grid.views:
        raise InvalidInputError(
            f"views must lie within 0:{reader.grid.views}, got {views.start}:{views.stop}"
        )
    if views is None:
        return list(reader.grid)
    return [b for b in reader.grid if b.views.start < views.stop and views.start < b.views.stop]
