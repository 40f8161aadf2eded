"""docs/training-loops.md is true: every block of it is executed.

Lightning and accelerate are the real packages. The teachers' repositories are stand-ins with the
conventions of theirs: what they are given and what they answer.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from kdrec.client import open_recording
from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording
from tests.programs import kdrec, python, service

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "training-loops.md").read_text()
BLOCKS = re.findall(r"<!-- (\w+): ([\w.]+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)

MINE = """
from torch import nn

class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(3, 16), nn.Linear(16, 12)

    def forward(self, points):
        return self.head(self.lift(points).relu().amax(dim=1))

make_student = Student
"""

# What each network insists on; all the rest of it is the same.
NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, num_classes=8):
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def pooled(self, points_BN3):
        return self.layer(points_BN3).amax(dim=1)
"""
STAND_INS = {
    "openpoints/models/__init__.py": '''
from network import Network
class Cls(Network):
    def forward(self, data):
        assert sorted(data) == ["pos", "x"] and data["pos"].shape[-1] == 3
        assert data["x"].shape[1] == 3 and data["x"].shape[2] == data["pos"].shape[1]
        return self.pooled(data["pos"])
def build_model_from_cfg(cfg):
    return Cls(cfg["num_classes"])
''',
    "openpoints/utils/__init__.py": '''
class EasyConfig(dict):
    def load(self, path, *, recursive):
        self["model"] = {"num_classes": int(open(path).read().split()[-1])}
    def __getattr__(self, name):
        return self[name]
''',
    "pointnext-s.yaml": "num_classes: 8\n",
    "pointcept/models/__init__.py": '''
import torch
from network import Network
class Classifier(Network):
    def forward(self, data):
        assert data["coord"].ndim == data["feat"].ndim == 2
        assert data["offset"][-1] == len(data["coord"]) == len(data["feat"])
        ends = data["offset"].tolist()
        clouds = [data["feat"][a:b] for a, b in zip([0, *ends], ends)]
        return {"cls_logits": self.pooled(torch.stack(clouds))}
def build_model(settings):
    return Classifier(settings["num_classes"])
''',
    "pointcept/utils/config.py": '''
from types import SimpleNamespace
class Config:
    @staticmethod
    def fromfile(path):
        found = {}
        exec(open(path).read(), found)
        return SimpleNamespace(model=found["model"])
''',
    "cls.py": 'model = {"num_classes": 8}\n',
    "models/pointmlp.py": '''
from network import Network
class PointMLP(Network):
    def forward(self, x):
        assert x.shape[1] == 3
        return self.pooled(x.transpose(1, 2))
def pointMLP(num_classes=40, **kwargs):
    return PointMLP(num_classes)
''',
    "model.py": '''
from network import Network
class DGCNN(Network):
    def __init__(self, args, output_channels=40):
        super().__init__(output_channels)
        assert (args.k, args.emb_dims, args.dropout) == (20, 1024, 0.5)
    def forward(self, x):
        assert x.shape[1] == 3
        return self.pooled(x.transpose(1, 2))
''',
}  # fmt: skip


def blocks(kind: str) -> dict[str, str]:
    return {name: body for found, name, body in BLOCKS if found == kind}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loops")
    samples = make_shapes(120, seed=0, num_points=16)
    plan = make_plan(samples, views=8, group=4, block_samples=60)
    make_recording(folder / "copy.zarr", samples, plan=plan, num_classes=12)
    (folder / "mine.py").write_text(MINE)
    return folder


GO_ON = """
assert views.epoch == 2
from lightning.pytorch.callbacks import ModelCheckpoint


class Watched(Distilled):
    def training_step(self, batch, number):
        seen.append((self.current_epoch, views.view, batch.index.tolist()))
        return super().training_step(batch, number)


def fit(checkpoint=None, *callbacks):
    seen.clear()
    trainer = lightning.Trainer(max_epochs=2, logger=False, callbacks=list(callbacks))
    trainer.fit(Watched(), ckpt_path=checkpoint, weights_only=False)
    return list(seen)


seen = []
whole = fit(None, ModelCheckpoint(dirpath=".", every_n_train_steps=3, save_top_k=-1))
assert len(whole) == 8 and fit("epoch=0-step=3.ckpt") == whole[3:]
"""

# What must be true at the end of a block, besides that it runs.
AFTERWARDS = {
    "plain": "assert loader.state_dict()['epoch'] == 2 and loader.state_dict()['position'] == 120",
    "sampler": "assert views.view == 2 and len(batch.index) == 12",
    "lightning": GO_ON,
    "accelerate": "assert __import__('os').path.exists('state')",
    "views": "assert batch.index.tolist() == [3, 5, 3, 5]",
}


@pytest.mark.parametrize("name", AFTERWARDS)
def test_a_training_loop_runs(folder: Path, name: str) -> None:
    if name in ("lightning", "accelerate"):
        pytest.importorskip(name, reason=f"{name} comes with the extra dev")
    done = python(f"{blocks('loop')[name]}\n{AFTERWARDS[name]}", cwd=folder)
    assert done.code == 0, done.err


def test_every_block_of_the_page_is_executed_here() -> None:
    assert set(blocks("loop")) == set(AFTERWARDS)
    assert PAGE.count("```") == 2 * len(BLOCKS)
    assert {kind for kind, _, _ in BLOCKS} == {"loop", "teacher", "command", "commands"}
    assert {*blocks("teacher"), "models"} == set(blocks("command"))


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins, the teachers of the page, clouds and weights."""
    folder = tmp_path_factory.mktemp("repositories")
    files = {"network.py": NETWORK, **STAND_INS, **blocks("teacher")}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    samples = make_shapes(16, seed=0, num_points=32)
    assert samples.labels_S is not None
    np.savez(folder / "clouds.npz", xyz=samples.points_SND, label=samples.labels_S % 8)
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 8)
    weights = {"layer.weight": layer.weight.detach(), "layer.bias": layer.bias.detach()}
    torch.save(weights, folder / "teacher.pth")
    return folder


@pytest.mark.parametrize("name", blocks("command"))
def test_a_teacher_of_another_repository_records_what_it_says(
    repositories: Path, name: str
) -> None:
    (line,) = blocks("command")[name].strip().splitlines()
    words = shlex.split(line)
    assert words[0] == "kdrec"
    done = kdrec(*words[1:], cwd=repositories)
    assert done.code == 0, done.err
    recording = open_recording(repositories / words[2])
    weights = torch.load(repositories / "teacher.pth", weights_only=True)
    parameters, logits_BC = recording.read(0)
    seen_BN3 = recording.replay(recording.samples().points_SND, parameters)
    layer_BNC = seen_BN3 @ weights["layer.weight"].numpy().T + weights["layer.bias"].numpy()
    np.testing.assert_allclose(logits_BC, layer_BNC.max(axis=1), atol=0.2)


def test_a_shared_recording_is_verified_fetched_in_part_and_trained_from(folder: Path) -> None:
    lines = blocks("commands")["sharing"].strip().splitlines()
    with service(folder) as url:
        answers = [
            kdrec(*shlex.split(line.replace("http://127.0.0.1:8080/v1/recordings", url))[1:],
                  cwd=folder)
            for line in lines
        ]  # fmt: skip
    assert [answer.code for answer in answers] == [0] * 4, [answer.err for answer in answers]
    identity = open_recording(folder / "copy.zarr").identity
    assert json.loads(answers[1].out)["identity"] == identity
    assert open_recording(folder / "mine.zarr").progress() == (2, 4)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE))
def test_links_lead_somewhere(link: str) -> None:
    assert (DOCS / link).exists()
