"""A student behind a line on which everything goes wrong now and then learns the very same."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from kdrec.client import open_recording
from kdrec.student import LAST_NAME, TrainSettings, read_checkpoint, train
from kdrec.testing import make_plan, make_recording
from tests.programs import service
from tests.proxy import Exchange, between
from tests.student.recordings import make_samples

REFUSED = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REFUSALS = (429, 500, 502, 503, 504)


class Chaos:
    """Delays, cuts, corrupts and refuses at random; two answers in a row about a thing at most.

    Only stored files are corrupted: they have digests. What the service says of itself has none,
    beyond those of the line.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._in_a_row: Counter[bytes] = Counter()
        self.done: Counter[str] = Counter()

    def __call__(self, exchange: Exchange) -> bytes:
        asked = exchange.request.split(b"\r\n", 1)[0]
        stored = b"/zarr/" in asked
        kinds = ["delay", "cut", "refuse", *(["corrupt"] if stored else [])]
        unlucky = self._in_a_row[asked] < 2 and self._random.random() < 0.4
        kind = self._random.choice(kinds) if unlucky else "pass"
        self._in_a_row[asked] = self._in_a_row[asked] + 1 if unlucky else 0
        self.done[kind] += 1
        return self._change(kind, exchange.answer)

    def _change(self, kind: str, answer: bytes) -> bytes:
        if kind == "delay":
            time.sleep(0.02 * self._random.random())
        if kind == "cut":
            return answer[: self._random.randrange(len(answer))]
        if kind == "refuse":
            return REFUSED % self._random.choice(REFUSALS)
        if kind == "corrupt":
            body = answer.index(b"\r\n\r\n") + 4
            place = self._random.randrange(body, len(answer))
            return answer[:place] + bytes([answer[place] ^ 0x10]) + answer[place + 1 :]
        return answer


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_weights_are_those_of_an_undisturbed_training_bit_for_bit(
    tmp_path: Path, num_workers: int
) -> None:
    samples = make_samples()
    plan = make_plan(samples, views=5, group=2, block_samples=12)
    make_recording(tmp_path / "served" / "r.zarr", samples, plan=plan, num_classes=5)
    settings = TrainSettings(epochs=6, batch_size=8, threads=1, device="cpu",
                             num_workers=num_workers)  # fmt: skip
    train(open_recording(tmp_path / "served" / "r.zarr"), settings, tmp_path / "calm")
    chaos = Chaos(seed=num_workers)
    with service(tmp_path / "served") as url, between(f"{url}/r", chaos) as address:
        disturbed = open_recording(address, cache=tmp_path / "cache")
        train(disturbed, settings, tmp_path / "disturbed")
    calm, found = (read_checkpoint(tmp_path / run / LAST_NAME) for run in ("calm", "disturbed"))
    assert calm.tensors.keys() == found.tensors.keys()
    assert all(torch.equal(calm.tensors[name], found.tensors[name]) for name in calm.tensors)
    assert {"delay", "cut", "refuse", "corrupt"} <= chaos.done.keys(), chaos.done
