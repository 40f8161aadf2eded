"""Little disk and memory, a recording of any size; and who gives too little is told how much."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import FilesTransport, Recording, RemoteStorage, open_recording
from kdrec.client.cache import CacheRules
from kdrec.client.scratch import Claim, claimed_bytes
from kdrec.errors import InvalidInputError
from kdrec.samples import make_shapes
from kdrec.store import LocalStorage, RecordingReader
from kdrec.testing import make_plan, make_recording
from tests.programs import python, service
from tests.promises.test_one_reader import everything

GROWTH = 8 * 2**20


def files_size(folder: Path) -> int:
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # what is fetched ahead makes room for itself
                found += (Path(place) / name).stat().st_size
    return found


STUDENT = """
import json, os, sys
from pathlib import Path
import psutil
import kdrec
from tests.client.test_limits import files_size

url, cache, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
recording = kdrec.open_recording(url, cache=cache, cache_limit=limit)
loader = kdrec.RecordedLoader(kdrec.RecordedViews(recording), 20)
folder, memory, beyond = cache / recording.identity, [], 0
for epoch in range(recording.num_views):
    loader.set_epoch(epoch)
    for batch in loader:
        assert batch.teacher_logits.isfinite().all()
    memory.append(psutil.Process().memory_info().rss)
    beyond = max(beyond, files_size(folder) - limit)
print(json.dumps({"memory": memory, "beyond": beyond}))
"""


def test_a_recording_a_hundred_times_the_limit_takes_no_more_memory_or_disk(
    tmp_path: Path,
) -> None:
    samples = make_shapes(40, seed=0, num_points=16)
    plan = make_plan(samples, views=130, group=1, block_samples=40)
    served = tmp_path / "served" / "large.zarr"
    make_recording(served, samples, plan=plan, num_classes=3000)
    total = files_size(served)
    assert total > 2 * GROWTH
    with service(served.parent) as url:
        arguments = [f"{url}/large", str(tmp_path / "cache"), str(total // 100)]
        done = python(STUDENT, *arguments)
    assert done.code == 0, done.err
    found = done.json
    assert found["beyond"] <= 0
    assert max(found["memory"]) < found["memory"][19] + GROWTH


def asked_for(url: str, cache: Path, limit: int) -> int | None:
    """The limit that an error says would do; None where there is none."""
    try:
        everything(open_recording(url, cache=cache, cache_limit=limit))
    except InvalidInputError as error:
        found = re.fullmatch(rf"cache_limit is {limit} bytes, .*; give at least (\d+)", str(error))
        return int(found[1]) if found else -1
    return None


def test_the_limit_that_an_error_asks_for_is_enough(url: str, path: Path, tmp_path: Path) -> None:
    limits = [5_000]
    while (asked := asked_for(url, tmp_path, limits[-1])) is not None:
        assert asked > limits[-1]
        limits.append(asked)
    assert 1 < len(limits) <= 3  # the samples and metadata, then besides them two blocks
    assert limits[-1] < files_size(path)
    found = everything(open_recording(url, cache=tmp_path, cache_limit=limits[-1]))
    assert found == everything(open_recording(path))


def remote(path: Path, cache: Path, *, limit: int, memory: int) -> Recording:
    header = RecordingReader(LocalStorage(path), where="r").header.digest
    storage = RemoteStorage(
        FilesTransport(LocalStorage(path), where="r"),
        LocalStorage(cache / "r"),
        header=header,
        rules=CacheRules(limit=limit, locks=cache / "locks"),
    )
    return Recording(storage, where="url", memory=memory, scratch=storage.scratch())


def test_decoded_groups_in_files_count_until_they_are_dropped(path: Path, tmp_path: Path) -> None:
    recording = remote(path, tmp_path, limit=10**6, memory=100)
    whole = open_recording(path)
    for view in (0, 4, 2, 1):
        np.testing.assert_array_equal(recording.read(view)[1], whole.read(view)[1])
    num_parameters = len(recording.manifest.parameters)
    in_bytes = 2 * 20 * 4  # views, samples, bytes of a number
    assert claimed_bytes(tmp_path / "locks") == in_bytes * (12 + num_parameters)
    assert list((tmp_path / "locks").glob("kdrec-*")) == []  # without a name nothing stays behind
    del recording
    assert claimed_bytes(tmp_path / "locks") == 0
    with pytest.raises(InvalidInputError, match=r"too small for .*; give at least \d+$"):
        remote(path, tmp_path / "other", limit=4_000, memory=100).read(0)


HOLD = """
import sys
from pathlib import Path
from kdrec.client.scratch import Claim
claim = Claim(Path(sys.argv[1]), 1000)
print("here", flush=True)
sys.stdin.read()
"""


def test_the_claim_of_a_killed_process_is_nobodys(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert claimed_bytes(tmp_path) == 1000
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert claimed_bytes(tmp_path) == 0
    assert list(tmp_path.glob("claim-*")) == []


def test_a_forked_child_gives_nothing_back(tmp_path: Path) -> None:
    claim = Claim(tmp_path, 500)
    child = os.fork()
    if child == 0:
        claim.give_back()
        os._exit(0)
    os.waitpid(child, 0)
    assert claimed_bytes(tmp_path) == 500
    claim.give_back()
    assert claimed_bytes(tmp_path) == 0
