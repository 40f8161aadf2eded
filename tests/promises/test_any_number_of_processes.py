"""Promise 5, for many processes: killed, restarted with another number, the bytes of one alone."""

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import fleet
from tests.programs import contents, kdrec, options, torchrun

# 4 by default, for the time it takes; 20 and more by KDREC_TEST_KILLS=20.
ROUNDS = int(os.environ.get("KDREC_TEST_KILLS", "4"))


def command(teachers: Path, *, pause: float = 0.0, threads: int | None = 1) -> Sequence[str]:
    limited = {} if threads is None else {"threads": threads}
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
        }
        | limited
    )


@pytest.fixture
def whole(tmp_path: Path, teachers: Path) -> dict[str, bytes]:
    """The files of a recording made by one process that nobody disturbed."""
    path = tmp_path / "whole.zarr"
    process = fleet.start(
        ["record", path, *command(teachers, pause=0.02)], output=tmp_path / "whole.out"
    )
    assert fleet.finish(process) == 0, (tmp_path / "whole.out").read_text()
    return contents(path)


def shares(count: int, *, launched: bool) -> list[tuple[list[str], dict[str, str]]]:
    """Arguments and environment of each process: as torchrun says it, or as a job array."""
    if launched:
        return [([], {"RANK": f"{k}", "WORLD_SIZE": f"{count}"}) for k in range(count)]
    return [(["--part", f"{k + 1}/{count}"], {}) for k in range(count)]


def test_killed_and_restarted_with_another_number_it_ends_in_the_same_bytes(
    tmp_path: Path, teachers: Path, whole: dict[str, bytes]
) -> None:
    arguments = command(teachers, pause=0.02)
    chance = random.Random(4)
    folders, interrupted = [tmp_path / "r0.zarr"], 0
    for number in range(10 * ROUNDS):
        path = folders[-1]
        count = chance.choice([1, 2, 3])
        processes = [
            fleet.start(["record", path, *arguments, *more], output=tmp_path / "out", env=env)
            for more, env in shares(count, launched=number % 2 == 0)
        ]
        time.sleep(chance.uniform(0.3, 3.0))
        spared = chance.randrange(count) if count > 1 and number % 3 == 0 else None
        killed = [fleet.kill(p) for k, p in enumerate(processes) if k != spared]
        interrupted += sum(killed)
        if spared is not None:  # what the dead had claimed is recorded by the one that is left
            assert fleet.finish(processes[spared]) == 0, (tmp_path / "out").read_text()
        if (path / "seal.json").exists():
            folders.append(tmp_path / f"r{len(folders)}.zarr")
        if interrupted >= ROUNDS:
            break
    assert interrupted >= ROUNDS
    last = [
        fleet.start(["record", folders[-1], *arguments, *more], output=tmp_path / "out", env=env)
        for more, env in shares(2, launched=False)
    ]
    assert [fleet.finish(process) for process in last] == [0, 0], (tmp_path / "out").read_text()
    for path in folders:
        assert contents(path) == whole, path
    assert not list(tmp_path.glob(".*.claims"))


def test_torchrun_makes_the_recording_of_one_process(tmp_path: Path, teachers: Path) -> None:
    """Without --threads: torchrun says OMP_NUM_THREADS=1, and kdrec takes all cores even so."""
    cores = len(os.sched_getaffinity(0))
    one = fleet.start(
        ["record", tmp_path / "one.zarr", *command(teachers, threads=cores)],
        output=tmp_path / "one.out",
    )
    done = torchrun("record", tmp_path / "r.zarr", *command(teachers, threads=None), "--json")
    assert done.code == 0, done.err
    assert fleet.finish(one) == 0, (tmp_path / "one.out").read_text()
    assert done.json["records"] == 240  # one process speaks for both
    assert contents(tmp_path / "r.zarr") == contents(tmp_path / "one.zarr")
    blocks = [
        entry["block"]
        for path in tmp_path.glob("r.*-of-2.log.jsonl")
        for entry in map(json.loads, path.read_text().splitlines())
        if entry["event"] == "block"
    ]
    assert len(blocks) == len(set(blocks)) == 15  # no block twice


def test_a_process_that_never_begins_is_waited_for_and_then_named(
    tmp_path: Path, teachers: Path
) -> None:
    from kdrec.store import recording_lock

    path = tmp_path / "r.zarr"
    with recording_lock(path, while_waiting=lambda: None):
        late = kdrec("record", path, *command(teachers), "--begin-timeout", "1")
    assert late.code == 3
    assert "s for the manifest and the proof records of" in late.err
    assert "another process has the lock and has not begun it" in late.err


def test_repair_is_refused_while_blocks_are_recorded(tmp_path: Path, teachers: Path) -> None:
    path = tmp_path / "r.zarr"
    slow = fleet.start(["record", path, *command(teachers, pause=0.3)], output=tmp_path / "out")
    while not list(path.glob("ledger/g*.json")):
        assert slow.is_alive()
        time.sleep(0.02)
    asked = kdrec("repair", path, "--from", path)
    fleet.kill(slow)
    assert asked.code == 5
    assert "another process" in asked.err


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_gives_its_blocks_back_and_leaves_nothing_half_done(
    tmp_path: Path, teachers: Path, whole: dict[str, bytes], sent: signal.Signals
) -> None:
    path, arguments = tmp_path / "r.zarr", command(teachers, pause=0.1)
    process = fleet.start(["record", path, *arguments], output=tmp_path / "out")
    while not list(path.glob("ledger/g*.json")):
        assert process.is_alive(), (tmp_path / "out").read_text()
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, sent)
    assert fleet.finish(process) == 1
    assert "what was committed stays, the same command continues" in (tmp_path / "out").read_text()
    assert not list(path.rglob("*.tmp"))
    assert not list((tmp_path / ".r.zarr.claims").iterdir())
    *_, last = (tmp_path / "r.log.jsonl").read_text().splitlines()
    assert json.loads(last)["event"] == "stop"
    again = fleet.start(["record", path, *arguments], output=tmp_path / "again")
    assert fleet.finish(again) == 0, (tmp_path / "again").read_text()
    shards = {key: data for key, data in contents(path).items() if key.startswith("logits/c/")}
    assert shards == {key: data for key, data in whole.items() if key.startswith("logits/c/")}


def test_memory_that_runs_out_is_said_with_the_command_that_continues(
    tmp_path: Path, teachers: Path
) -> None:
    teacher = tmp_path / "hungry.py"
    teacher.write_text(
        "import torch\n"
        "from my_teachers import PointsLast\n\n"
        "class Hungry(PointsLast):\n"
        "    calls = 0\n"
        "    def forward(self, points):\n"
        "        self.calls += 1\n"
        "        if self.calls > 60:\n"
        "            raise torch.OutOfMemoryError('injected')\n"
        "        return super().forward(points)\n"
    )
    arguments = [*command(teachers), "--teacher", f"{teacher}:Hungry"]
    stopped = kdrec("record", tmp_path / "r.zarr", *arguments)
    assert stopped.code == 1
    assert "has not the memory for a batch of 4" in stopped.err
    assert f"continue with `kdrec record {tmp_path / 'r.zarr'} --teacher" in stopped.err
