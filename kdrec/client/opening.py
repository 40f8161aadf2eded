"""Opening and fetching: a path or an address to a recording."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from kdrec.client.addresses import is_address, reach
from kdrec.client.cache import CacheRules, ShardCache
from kdrec.client.following import GrowthWatch, watch_of
from kdrec.client.offline import OfflineTransport, RememberedAddress
from kdrec.client.recording import Recording
from kdrec.client.remote import RecordingSummary, RemoteStorage
from kdrec.client.transport import Transport, is_away
from kdrec.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidInputError,
    ServiceError,
    StorageError,
)
from kdrec.store import (
    DEFAULT_MEMORY,
    OWN_NAMES,
    Block,
    LocalStorage,
    RecordingReader,
    check_apart,
    is_temporary,
)

CACHE_VARIABLE = "KDREC_CACHE"


def open_recording(
    uri: str | Path,
    *,
    cache: str | Path | None = None,
    cache_limit: int | None = None,
    token: str | None = None,
    wait: float = 0.0,
    on_wait: Callable[[str], None] | None = None,
) -> Recording:
    """Open a recording on disk, behind `kdrec serve`, on a static host or in an object store.

    Args:
        uri: Folder; `http(s)://HOST/v1/recordings/NAME`, or the address of a recording's files on
            any host; `s3://BUCKET/NAME.zarr`, and gs:// or az:// alike.
        cache: Folder for what is fetched; by default KDREC_CACHE, else the user's cache folder.
            Keyed by identity, so that two recordings never mix; shared by all processes of a
            machine, of which one fetches a file and the others wait for it. A finished recording
            that was opened before opens without its server, as far as it was fetched.
        cache_limit: Bytes that this recording may take there; what was used longest ago goes first.
            Decoded view groups take no more memory than that either; one for which memory is too
            small (2 GiB) is in a temporary file there, which counts.
        token: Bearer token; by default KDREC_TOKEN.
        wait: Seconds for which reading waits for a view that is not recorded yet.
        on_wait: Called once before each such wait with a line for the user.

    Returns:
        The recording, after a check of its metadata; records are read when asked for.

    Raises:
        NotFoundError: None is there.
        IntegrityError: Its metadata are damaged.
        StorageError: It cannot be reached.
        InvalidInputError: The limit is too small for what must be kept at once.
    """
    text = str(uri)
    if not is_address(text):
        path = Path(text).expanduser()
        return Recording(LocalStorage(path), where=text, wait=wait, on_wait=on_wait)
    root = _cache_folder(cache)
    remembered = RememberedAddress(root, text)
    try:
        transport, summary = reach(text, token=token)
    except (StorageError, ServiceError) as error:
        known = remembered.summary() if is_away(error) else None
        if known is None:
            raise
        folder, summary = LocalStorage(root / _cache_key(known)), known
        transport = OfflineTransport(remembered, folder, str(error))
    storage = _open_cache(root, transport, summary, limit=cache_limit)
    recording = Recording(
        storage,
        where=text,
        remote=True,
        watch=watch_of(transport),
        wait=wait,
        on_wait=on_wait,
        memory=DEFAULT_MEMORY if cache_limit is None else min(cache_limit, DEFAULT_MEMORY),
        scratch=storage.scratch(),
    )
    _check_sealed(recording.identity, summary, text)
    remembered.remember(summary, storage)
    return recording


def _check_sealed(identity: str | None, summary: RecordingSummary, where: str) -> None:
    """A finished recording has a seal; without one nothing shows that it is what it is called."""
    if identity != summary.identity and summary.identity is not None:
        raise IntegrityError(
            f"{where} is called finished, with identity {summary.identity[:12]}.., but its seal is "
            "missing; run `kdrec verify --bytes` on the server's copy"
        )


def _cache_folder(cache: str | Path | None) -> Path:
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("kdrec"))


def _cache_key(summary: RecordingSummary) -> str:
    """One folder an identity; while there is none yet, one a header."""
    return summary.identity or _running_key(summary)


def _open_cache(
    root: Path, transport: Transport, summary: RecordingSummary, *, limit: int | None
) -> RemoteStorage:
    name = _cache_key(summary)
    _adopt(root, summary)
    storage = RemoteStorage(
        transport,
        LocalStorage(root / name),
        header=summary.header,
        identity=summary.identity,
        rules=_rules(root, name, limit),
    )
    with suppress(StorageError):  # a cache that can only be read is a cache all the same
        storage.remove_unfinished()
    return storage


def _running_key(summary: RecordingSummary) -> str:
    return f"running-{summary.header}"


def _adopt(root: Path, summary: RecordingSummary) -> None:
    """Go on with what was fetched of a recording that was not finished then.

    A process that still reads from there fetches again what it needs. What is not of the finished
    recording is not believed: its entries must be those that the seal lists.
    """
    running, target = root / _running_key(summary), root / _cache_key(summary)
    if summary.identity is None or target.exists() or not running.is_dir():
        return
    held = ShardCache(LocalStorage(running), _rules(root, running.name))
    with suppress(StorageError, OSError), held.contents_stay():  # another process was first
        running.rename(target)


def _rules(root: Path, name: str, limit: int | None = None) -> CacheRules:
    return CacheRules(limit=limit, locks=root / ".locks" / name, durable=False)


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
        url: As for `open_recording`.
        folder: The copy: complete or partial, it opens like any recording.
        views: Whole view groups that hold these; all by default.
        token: Bearer token; by default KDREC_TOKEN.
        follow: Go on while it is recorded, until it is sealed or these views are complete.

    Yields:
        Progress after every file; while following, of the files that are known so far.

    Raises:
        ConflictError: The folder holds another recording.
        AlreadyExistsError: The folder holds something else.
        InvalidInputError: It lies within a recording.
    """
    _check_target(folder)
    transport, summary = reach(url, token=token)
    copy = LocalStorage(folder)
    copy.remove_unfinished()
    storage = RemoteStorage(transport, copy, header=summary.header, identity=summary.identity)
    reader = RecordingReader(storage, where=url)
    _check_sealed(reader.identity, summary, url)
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
    check_apart(folder)
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
