"""Promise 5: `kill -9` at any moment, then the same command: the bytes of an undisturbed run."""

import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdrec.client import open_recording
from kdrec.errors import IncompleteError, KdrecError, NotFoundError
from tests.programs import begin, contents, kdrec, options, start

KILLS = 20


def command(teachers: Path, pause: float) -> Sequence[str]:
    return options(
        {
            "teacher": f"{teachers}:PointsLast",
            "teacher-arg": f"pause={pause}",
            "data": "shapes",
            "data-arg": ["count=40", "num_points=32"],
            "views": 6,
            "group": 2,
            "batch-size": 4,
            "block-samples": 8,
            "augment": "scale=0.9:1.1,rotate_y=15",
            "threads": 1,
        }
    )


class Onlooker(threading.Thread):
    """Reads all the time; whatever it gets must be what the finished recording holds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.stop = threading.Event()
        self.seen: list[tuple[int, int, np.ndarray]] = []
        self.wrong: list[BaseException] = []

    def run(self) -> None:
        chance = random.Random(0)
        while not self.stop.is_set():
            view, sample = chance.randrange(6), chance.randrange(40)
            try:
                self.seen.append((view, sample, open_recording(self._path).read(view, [sample])[1]))
            except (IncompleteError, NotFoundError):
                time.sleep(0.01)
            except KdrecError as error:
                self.wrong.append(error)


def test_killed_at_random_moments_the_recording_ends_in_the_same_bytes(
    tmp_path: Path, teachers: Path
) -> None:
    arguments = command(teachers, pause=0.02)
    whole, killed = tmp_path / "whole.zarr", tmp_path / "killed.zarr"
    assert kdrec("--version").code == 0  # the first command waits until everything is imported
    started = time.monotonic()
    assert kdrec("record", whole, *arguments).code == 0
    seconds = time.monotonic() - started
    onlooker = Onlooker(killed)
    onlooker.start()
    chance = random.Random(1)
    interrupted = 0
    try:
        for _ in range(KILLS):
            process = begin("record", killed, *arguments)
            time.sleep(chance.uniform(0.0, 1.0) * seconds)
            process.kill()
            process.join()
            interrupted += process.exitcode == -signal.SIGKILL
            if (killed / "seal.json").exists():
                break
        finished = kdrec("record", killed, *arguments)
    finally:
        onlooker.stop.set()
        onlooker.join()
    assert finished.code == 0, finished.err
    assert interrupted > 0
    assert contents(killed) == contents(whole)
    assert onlooker.wrong == []
    final = open_recording(whole)
    for view, sample, logits in onlooker.seen:
        np.testing.assert_array_equal(logits, final.read(view, [sample])[1])


def test_interrupted_by_ctrl_c_what_is_committed_stays(tmp_path: Path, teachers: Path) -> None:
    path = tmp_path / "r.zarr"
    process = start("record", path, *command(teachers, pause=0.04))
    while not list(path.glob("ledger/g*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 1
    process.communicate()
    recording = open_recording(path)
    committed, total = recording.progress()
    assert 0 < committed < total
    assert np.isfinite(recording.read(0, [0])[1]).all()
    assert kdrec("verify", path, "--bytes").code == 3
    assert kdrec("record", path, *command(teachers, pause=0.04)).code == 0
    assert kdrec("verify", path, "--bytes").code == 0
