"""The program as a whole: help, exit codes, configuration, machines as readers."""

import os
import subprocess
from pathlib import Path

import pytest

from kdrec.store import LocalStorage
from kdrec.testing import flip_bit, make_recording
from tests.programs import KDREC, environment, kdrec, service

COMMANDS = [
    "convert", "demo", "estimate", "evaluate", "export", "fetch", "inspect", "models", "record",
    "repair", "serve", "token", "train", "verify",
]  # fmt: skip


def test_help_lists_every_command_and_each_explains_itself() -> None:
    whole = kdrec("--help")
    assert whole.code == 0
    for command in COMMANDS:
        assert command in whole.out


@pytest.mark.parametrize("command", ["record", "train"])
def test_options_say_what_they_are(command: str) -> None:
    shown = kdrec(command, "--help").out
    assert "continues" in shown
    assert "--config" in shown


def test_version_and_wrong_commands() -> None:
    assert kdrec("--version").out.startswith("kdrec 0.")
    assert kdrec("recrod").code == 2


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    make_recording(tmp_path / "r.zarr")
    return tmp_path / "r.zarr"


def test_exit_codes_tell_what_happened(tmp_path: Path, recording: Path) -> None:
    assert kdrec("verify", recording, "--bytes").code == 0
    assert kdrec("verify", recording).code == 2
    assert kdrec("inspect", tmp_path / "nothing.zarr").code == 3
    assert kdrec("inspect", "ftp://host/x").code == 2
    flip_bit(recording / "logits/c/0/0/0", 1000)
    damaged = kdrec("verify", recording, "--bytes")
    assert damaged.code == 4
    assert "block g00000-p00000" in damaged.err
    trained = kdrec("train", recording, "--out", tmp_path / "out", "--epochs", "1")
    assert trained.code == 4
    assert "logits/c/0/0/0" in trained.err


def test_code_that_ends_the_program_does_not_end_it_well(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(
        "import sys, torch\n"
        "class Ends(torch.nn.Module):\n"
        "    def forward(self, points):\n"
        "        sys.exit(0)\n"
    )
    data = ("--data", "shapes", "--data-arg", "count=8", "--data-arg", "num_points=16")
    done = kdrec(
        "record",
        tmp_path / "r.zarr",
        "--teacher",
        f"{tmp_path}/ends.py:Ends",
        *data,
        "--views",
        "1",
    )
    assert done.code == 1
    assert "by sys.exit(0): let it raise an error" in done.err


def test_nothing_is_said_where_nobody_reads_on(recording: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*KDREC, "inspect", str(recording)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment())
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_traceback_comes_only_when_asked_for(tmp_path: Path) -> None:
    assert "Traceback" not in kdrec("inspect", tmp_path / "no").err
    assert "Traceback" in kdrec("--debug", "inspect", tmp_path / "no").err


def test_json_is_for_machines(recording: Path) -> None:
    found = kdrec("inspect", recording, "--json").json
    assert found["blocks"] == {"committed": 9, "total": 9}
    assert found["manifest"]["plan"]["views"] == 5
    report = kdrec("verify", recording, "--bytes", "--json").json
    assert (report["damaged"], report["absent"]) == ([], [])


def test_a_toml_file_stands_for_the_options(tmp_path: Path, recording: Path) -> None:
    config = tmp_path / "train.toml"
    config.write_text(f'out = "{tmp_path / "out"}"\nepochs = 1\nbatch-size = 10\nthreads = 1\n')
    done = kdrec("train", recording, "--config", config, "--batch-size", "5", "--json")
    assert done.code == 0, done.err
    assert done.json["settings"]["epochs"] == 1
    assert done.json["settings"]["batch_size"] == 5
    config.write_text("epoch = 1\n")
    wrong = kdrec("train", recording, "--config", config)
    assert wrong.code == 2
    assert "no option 'epoch'; allowed are: " in wrong.err
    config.write_text(f'out = "{tmp_path / "again"}"\nepochs = 1\nthreads = 1\njson = true\n')
    assert kdrec("train", recording, "--config", config).json["settings"]["epochs"] == 1
    config.write_text('config = "other.toml"\n')
    assert "no option 'config'" in kdrec("train", recording, "--config", config).err
    config.write_text("epochs = = 1\n")
    assert "is no TOML" in kdrec("train", recording, "--config", config).err


def test_a_part_is_fetched_and_completed(tmp_path: Path, recording: Path) -> None:
    copy = tmp_path / "copy.zarr"
    with service(tmp_path) as url:
        part = kdrec("fetch", f"{url}/r", copy, "--views", "0:2", "--json")
        assert part.json["blocks"] == {"here": 3, "total": 9}
        assert kdrec("verify", copy, "--bytes").code == 3
        unknown = kdrec("fetch", f"{url}/nothing", tmp_path / "n.zarr")
        assert unknown.code == 3
        assert "no recording nothing" in unknown.err
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "notes.txt").write_text("mine")
        assert kdrec("fetch", f"{url}/r", tmp_path / "full").code == 5
        whole = kdrec("fetch", f"{url}/r", copy)
        assert whole.code == 0, whole.err
    assert kdrec("verify", copy, "--bytes").code == 0
    keys = list(LocalStorage(recording).keys())
    assert keys == list(LocalStorage(copy).keys())


def test_a_server_that_is_not_there_is_named() -> None:
    done = kdrec("inspect", "http://127.0.0.1:9/v1/recordings/x")
    assert done.code == 1
    assert "cannot be reached" in done.err
