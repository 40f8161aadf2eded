"""Readers of records: each keeps what it has decoded in memory, so there are only a few."""

import copy
import threading

from kdrec.api.recording import ServedRecording
from kdrec.store import RecordingReader

_MOST_READERS = 4


class RecordReaders:
    """A reader for each of the recordings whose records were asked for last."""

    def __init__(self) -> None:
        self._readers: dict[ServedRecording, RecordingReader] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._readers)

    def reader(self, recording: ServedRecording) -> RecordingReader:
        """The reader of a recording; that of the recording asked for longest ago is dropped."""
        with self._lock:
            # A copy knows header and seal as the recording does, and begins with nothing decoded.
            reader = self._readers.pop(recording, None) or copy.copy(recording.reader)
            self._readers[recording] = reader
            for oldest in list(self._readers)[:-_MOST_READERS]:
                del self._readers[oldest]
            return reader
