"""Files that were found sound a moment ago and may be sent again without looking for them."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kdrec.api.places import PlacedFile, SentFile
from kdrec.api.waiting import SharedLooks

# For so long an answer may be one that a look at the disk would no longer give: that of a
# recording as it was before it was replaced, under the entity tag that it had then.
_SECONDS = 1.0
_MOST_FILES = 512


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file that its ledger lists, of the size that it says.

    Attributes:
        headers: Of every answer that sends it, the entity tag among them.
    """

    file: SentFile
    size: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DelegatedFile:
    """A file like that, sent by the web server in front, which opens it by its path.

    Attributes:
        headers: Of every answer that names it.
    """

    file: PlacedFile
    size: int
    headers: Mapping[str, str]


HotFile = SoundFile | DelegatedFile


class HotFiles:
    """Sound files by address, each for a second.

    Students ask for the same shards at the same time: for all but the first of them in a second
    nothing is looked up. Files that are sent from here stay open meanwhile, so that nothing waits
    for a disk. Those that another sends are looked at again: a disk of this machine at once, any
    other in a worker thread, one look for all who ask before it begins.

    Args:
        clock: Seconds that never run backwards.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files: dict[tuple[str, str], tuple[float, HotFile]] = {}
        self._lock = threading.Lock()
        self._sweep: asyncio.TimerHandle | None = None
        self._looks = SharedLooks[bool](0.0)

    def __len__(self) -> int:
        return len(self._files)

    def keep(self, name: str, key: str, found: HotFile) -> None:
        """Note what was found; from any thread."""
        with self._lock:
            if len(self._files) < _MOST_FILES:
                self._files[name, key] = self._clock() + _SECONDS, found

    def get(self, name: str, key: str) -> HotFile | None:
        """What was found at an address within the last second."""
        kept = self._files.get((name, key))
        return kept[1] if kept is not None and self._clock() < kept[0] else None

    async def is_sound(self, found: HotFile) -> bool:
        """Whether it may still be sent: what was opened stays what it was, a path may not."""
        if isinstance(found, SoundFile):
            return True
        if found.file.is_near:
            return found.file.is_there()
        return await self._looks.next(found.file, found.file.is_there)

    def sweep_later(self) -> None:
        """Close what is out of date, as soon as it is; in the event loop."""
        if self._files and self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        with self._lock:
            now = self._clock()
            self._files = {place: kept for place, kept in self._files.items() if now < kept[0]}
        self.sweep_later()
