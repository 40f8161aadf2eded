"""Threads of the CPU: they change the last bits of a teacher's logits, so a plan names them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


def default_threads(environment: Mapping[str, str]) -> int:
    """How many threads a new recording takes where nobody says it: what torch would take.

    torchrun tells each of its processes to take one, which would make the recording of three
    processes another than that of one: then as many as there are cores for this process.

    Args:
        environment: Of the process.
    """
    by_torchrun = "TORCHELASTIC_RUN_ID" in environment and environment.get("OMP_NUM_THREADS") == "1"
    return len(os.sched_getaffinity(0)) if by_torchrun else torch.get_num_threads()


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with this many threads within the block; with as many as before, for None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
