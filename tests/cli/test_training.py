"""`kdrec train` and `kdrec evaluate` as programs: files, kills, several teachers and processes."""

import csv
import re
import subprocess
from pathlib import Path

import pytest
import torch

from kdrec.cli.options import parse_size
from kdrec.errors import InvalidInputError
from kdrec.samples import make_shapes
from kdrec.student import TrainSettings, read_checkpoint
from kdrec.testing import make_plan, make_recording
from tests.programs import KDREC, environment, kdrec, service, torchrun

TEST = ("--test", "shapes", "--test-arg", "count=24", "--test-arg", "num_points=32",
        "--test-arg", "seed=1")  # fmt: skip
QUICK = ("--epochs", "2", "--batch-size", "8", "--threads", "1", "--device", "cpu")

STUDENT = '''
import os, signal
import torch
from torch import nn

class Student(nn.Module):
    """No batch statistics and no dropout: any split of a batch has the same gradient."""

    def __init__(self, num_classes, num_channels):
        super().__init__()
        self.lift, self.head = nn.Linear(num_channels, 32), nn.Linear(32, num_classes)
        self.calls = 0

    def forward(self, points):
        self.calls += self.training
        if self.calls == int(os.environ.get("DIE_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.head(torch.relu(self.lift(points)).mean(dim=1))
'''


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    make_recording(tmp_path / "r.zarr")
    return tmp_path / "r.zarr"


@pytest.fixture
def student(tmp_path: Path) -> str:
    (tmp_path / "my_students.py").write_text(STUDENT)
    return f"{tmp_path / 'my_students.py'}:Student"


def assert_same_files(one: Path, other: Path) -> None:
    for name in ("best.safetensors", "last.safetensors"):
        ours, theirs = (read_checkpoint(run / name).tensors for run in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_every_setting_is_an_option_under_its_heading() -> None:
    shown = kdrec("train", "--help").out
    for name in TrainSettings.model_fields:
        option = {"student_arguments": "student_arg", "shares": "share"}.get(name, name)
        assert f"--{option.replace('_', '-')}" in shown
    for panel in ("Student", "Optimisation", "Loss", "Teachers", "Student's points", "Run"):
        assert f"─ {panel} ─" in shown


def test_a_file_and_the_command_line_say_the_same(tmp_path: Path, recording: Path) -> None:
    config = tmp_path / "train.toml"
    config.write_text(
        'loss = "dkd"\nreverse-weight = 0.5\nself-weight = -0.1\nself-source = "average"\n'
        "ema-decay = 0.9\nclip-norm = 1.0\nlabel-smoothing = 0.1\nstandardize = true\n"
        "student-arg = {dropout = 0.2}\nshare = [1.0]\njitter = 0.01\nepochs = 2\n"
    )
    by_file = kdrec(
        "train", recording, "--out", tmp_path / "a", "--config", config, *QUICK, "--json"
    )
    by_options = kdrec(
        "train", recording, "--out", tmp_path / "b", *QUICK, "--loss", "dkd", "--reverse-weight",
        "0.5", "--self-weight", "-0.1", "--self-source", "average", "--ema-decay", "0.9",
        "--clip-norm", "1", "--label-smoothing", "0.1", "--standardize", "--student-arg",
        "dropout=0.2", "--share", "1", "--jitter", "0.01", "--json",
    )  # fmt: skip
    assert (by_file.code, by_options.code) == (0, 0), by_file.err + by_options.err
    assert by_file.json["settings"] == by_options.json["settings"]
    assert_same_files(tmp_path / "a", tmp_path / "b")
    with (tmp_path / "a" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(float(row["reverse_loss"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--self-weight=-5",), "self_weight -5 .* no lower bound but self_cap"),
        (("--share", "1", "--share", "2"), "2 shares do not go with 1 teachers"),
    ],
)
def test_what_cannot_be_is_one_line_and_wrong_use(
    tmp_path: Path, recording: Path, options: tuple[str, ...], message: str
) -> None:
    done = kdrec("train", recording, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert re.search(message, done.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "losses",
    [
        ("--self-weight=-0.2", "--learn-temperature", "--ema-decay", "0.9"),
        ("--self-weight=-0.2", "--self-source", "average", "--loss", "dkd", "--num-workers", "1"),
        ("--self-weight=-0.2", "--self-source", "head", "--self-layer", "head"),
    ],
)
def test_killed_at_any_step_the_weights_are_those_of_an_undisturbed_run(
    tmp_path: Path, recording: Path, student: str, losses: tuple[str, ...]
) -> None:
    common: tuple[str | Path, ...] = ("train", recording, "--student", student, *QUICK)
    command = (*common, "--epochs", "4", *losses)
    whole = kdrec(*command, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    for step in (5, 2):  # 20 clouds in batches of 8: three steps an epoch
        killed = kdrec(*command, "--out", tmp_path / "parts", env={"DIE_AT": str(step)})
        assert killed.code == -9
    assert len(read_checkpoint(tmp_path / "parts" / "last.safetensors").info.epochs) == 1
    assert kdrec(*command, "--out", tmp_path / "parts").code == 0
    assert_same_files(tmp_path / "whole", tmp_path / "parts")


def test_two_processes_train_the_student_of_one(
    tmp_path: Path, recording: Path, student: str
) -> None:
    command = ("train", recording, "--student", student, *QUICK, *TEST, "--epochs", "3",
               "--self-weight=-0.2", "--clip-norm", "1", "--optimizer", "sgd")  # fmt: skip
    alone = kdrec(*command, "--out", tmp_path / "one", "--json")
    assert alone.code == 0, alone.err
    both = torchrun(*command, "--out", tmp_path / "two", "--json")
    assert both.code == 0, both.err
    assert both.json["final"]["test_accuracy"] == alone.json["final"]["test_accuracy"]
    ours, theirs = (
        read_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("one", "two")
    )
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-4, atol=1e-5, msg=key)
    for mine, other in zip(alone.json["epochs"], both.json["epochs"], strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_several_teachers_are_mixed(tmp_path: Path, recording: Path) -> None:
    samples = make_shapes(20, seed=0, num_points=32)
    make_recording(tmp_path / "s.zarr", samples, plan=make_plan(samples, encoding="half"))
    done = kdrec(
        "train", recording, "--also", tmp_path / "s.zarr", "--share", "2", "--share", "1",
        "--out", tmp_path / "out", *QUICK, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["recording"]["identity"].count("+") == 1


def test_a_trained_student_is_evaluated_and_drawn(
    tmp_path: Path, recording: Path, student: str
) -> None:
    out = tmp_path / "out"
    trained = kdrec(
        "train", recording, "--student", student, "--out", out, *QUICK, *TEST, "--pictures",
        "--json",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert {"curves.png", "confusion.png"} <= {path.name for path in out.iterdir()}
    data = ("--data", "shapes", "--data-arg", "count=24", "--data-arg", "num_points=32",
            "--data-arg", "seed=1")  # fmt: skip
    refused = kdrec("evaluate", out, *data)
    assert refused.code == 2
    assert "whose code would run" in refused.err
    plain = kdrec("evaluate", out, *data, "--student", student, "--json")
    assert plain.code == 0, plain.err
    assert plain.json["accuracy"] == trained.json["best"]["test_accuracy"]
    assert plain.json["recording"]["identity"] == trained.json["recording"]["identity"]
    voted = kdrec(
        "evaluate", out, *data, "--student", student, "--votes", "3", "--confusion",
        tmp_path / "c.png",
    )  # fmt: skip
    assert voted.code == 0, voted.err
    assert "% of 24" in voted.out
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    unknown = kdrec("evaluate", out, *data, "--student", student, "--augment", "twist", "--votes=1")
    assert unknown.code == 2
    assert "twist" in unknown.err


def test_a_student_trains_on_what_is_there_while_the_rest_is_recorded(
    tmp_path: Path, recording: Path
) -> None:
    growing = tmp_path / "served" / "growing.zarr"
    make_recording(growing, blocks=3)  # the first of three groups of two views
    settings = (*QUICK, "--epochs", "5", "--wait", "120", "--cache", tmp_path / "cache",
                "--cache-limit", "1MiB")  # fmt: skip
    with service(growing.parent) as url:
        student = subprocess.Popen(
            [*KDREC, "train", f"{url}/growing", "--out", tmp_path / "live", *map(str, settings)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert student.stderr is not None
        while "waiting for view" not in (line := student.stderr.readline()):
            assert line, "it did not wait"
        assert "waiting for view 2" in line
        assert "3 of 9 blocks are recorded; for 120 seconds at most" in line
        make_recording(growing)
        student.communicate(timeout=240)
    assert student.returncode == 0
    whole = kdrec("train", recording, "--out", tmp_path / "whole", *map(str, settings))
    assert whole.code == 0, whole.err
    ours, theirs = (read_checkpoint(tmp_path / run / "last.safetensors").tensors
                    for run in ("live", "whole"))  # fmt: skip
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_who_waits_too_long_for_a_view_is_told_which_block_is_missing(tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr", blocks=3)
    done = kdrec("train", tmp_path / "r.zarr", "--out", tmp_path / "out", *QUICK, "--epochs", "3",
                 "--wait", "0.1")  # fmt: skip
    assert done.code == 3
    assert "g00001-p00000" in done.err
    assert "is not recorded yet (3 of 9 blocks are)" in done.err
    some = kdrec("train", tmp_path / "r.zarr", "--out", tmp_path / "some", *QUICK, "--epochs", "3",
                 "--views", "0:2", "--view-order", "random")  # fmt: skip
    assert some.code == 0, some.err


@pytest.mark.parametrize("size", ["much", "0", "-1GB", "nan", "5 XB", "1e9999", "9" * 400 + "TB"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(InvalidInputError, match="such as 20GB"):
        parse_size(size)


@pytest.mark.parametrize(
    ("text", "num_bytes"), [("7", 7), ("1.5kB", 1500), ("2 GiB", 2**31), ("20GB", 2 * 10**10)]
)
def test_a_size_may_have_a_unit(text: str, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes
    assert parse_size(None) is None
