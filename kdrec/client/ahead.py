"""Fetching in the background what will be read next."""

import os
import queue
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import KdrecError
from kdrec.store import Block, ReadableStorage, RecordingReader

_AT_ONCE = 4


class FetchAhead:
    """Reads shards into the cache in the order in which they will be wanted, several at once.

    An error is not kept: who reads the shard in earnest gets it. The threads are daemons, because a
    pool's would hold up the end of the program until all that was asked for is fetched; a file
    enters the cache whole or not at all.

    Args:
        storage: Fetches what it does not have.
        reader: Of the recording.
    """

    def __init__(self, storage: ReadableStorage, reader: RecordingReader) -> None:
        self._storage = storage
        self._reader = reader
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {"_storage": self._storage, "_reader": self._reader}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._started = False
        self._wanted: queue.Queue[Block] = queue.Queue()
        self._asked: set[str] = set()

    def views(self, views: Iterable[int], samples: npt.ArrayLike | None = None) -> None:
        """Begin to fetch the view groups of these views, the first first; returns at once.

        Args:
            views: Numbers.
            samples: Only the blocks that hold these; all by default.
        """
        if self._process != os.getpid():
            self._reset()  # threads do not survive a fork
        grid = self._reader.grid
        parts: Iterable[int] = range(grid.num_parts)
        if samples is not None:
            parts = np.unique(np.asarray(samples) // grid.block_samples).tolist()
        for group in dict.fromkeys(view // grid.group for view in views):
            for part in parts:
                block = grid.block(group, part)
                if block.name not in self._asked:
                    self._asked.add(block.name)
                    self._wanted.put(block)
        if not self._started:
            self._started = True
            for _ in range(_AT_ONCE):
                threading.Thread(target=self._work, name="kdrec-ahead", daemon=True).start()

    def wait(self) -> None:
        """Until all that was asked for was tried."""
        self._wanted.join()

    def _work(self) -> None:
        wanted = self._wanted
        while True:
            block = wanted.get()
            try:
                for key in self._reader.read_entry(block).files:
                    self._storage.read(key)
            except KdrecError:  # not recorded yet, or the network: who reads it hears of it
                pass
            except Exception:
                if threading.main_thread().is_alive():
                    raise
                return  # the program ends: what it tore down under us is nobody's error
            finally:
                self._asked.discard(block.name)
                wanted.task_done()
