"""Fault wrappers and small recordings, for kdrec's tests and yours."""

from kdrec.testing.faults import FaultyStorage, ProcessKilled, flip_bit, truncate
from kdrec.testing.recordings import make_logits, make_plan, make_recording

__all__ = [
    "FaultyStorage",
    "ProcessKilled",
    "flip_bit",
    "make_logits",
    "make_plan",
    "make_recording",
    "truncate",
]
