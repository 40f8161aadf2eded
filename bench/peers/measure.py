"""Measures one way to keep records; reads a job from standard input, answers on standard output.

python -m bench.peers.measure < JOB.json
"""

import contextlib
import importlib
import io
import sys
import time
from pathlib import Path
from typing import Any

from bench.peers.job import Answer, Job
from bench.peers.records import Epochs, Records

WAYS = {
    "kdrec": "recorded:decoded_before",
    "kdrec, cold": "recorded:cold",
    "kdrec, one group kept": "recorded:one_group_kept",
    "kdrec, batches": "recorded_views:batches",
    "kdrec, samples": "recorded_views:samples",
    "in memory": "in_memory:opened",
    "memmap": "memmap:opened",
    "zarr": "zarr_default:opened",
    "mds": "mds:opened",
    "litdata": "lit:opened",
    "webdataset": "tar:opened",
}
"""Modules with `write(records, folder)`; in them, what opens a folder to read `Epochs`."""


def run(job: Job) -> Answer:
    """Do it."""
    module, opener = WAYS[job.way].split(":")
    way: Any = importlib.import_module(f"bench.peers.{module}")
    folder = Path(job.folder)
    if job.act == "write":
        way.write(Records.load(Path(job.source)), folder)
        return Answer()
    before = _memory("VmRSS")
    epochs: Epochs = getattr(way, opener)(folder, job.batch, job.act == "shuffled")
    runs = [_rates(epochs, number, job.seconds) for number in range(job.runs + 1)][1:]
    rates, busy = zip(*runs, strict=True)
    return Answer(rates, busy, _memory("VmHWM") - before)


def _rates(epochs: Epochs, run: int, seconds: float) -> tuple[float, float]:
    """Records a second, and a second of processor time; epochs until the seconds are over."""
    started, started_cpu, records = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds:
        for size in epochs(run):
            records += size
            if time.perf_counter() - started > seconds:
                break
    taken, busy = time.perf_counter() - started, time.process_time() - started_cpu
    return records / taken, records / busy


def _memory(which: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return 1024 * int(line.split()[1])
    return 0


def main() -> None:
    """Answer one job; whatever a way raises is its answer."""
    job = Job.from_json(sys.stdin.read())
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # libraries greet there
            answer = run(job)
    except Exception as error:  # noqa: BLE001  # a library of others: the table says why it failed
        lines = str(error).strip().splitlines() or [""]
        answer = Answer(error=f"{type(error).__name__}: {lines[-1]}")
    print(answer.to_json())


if __name__ == "__main__":
    main()
