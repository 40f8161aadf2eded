"""ONNX files as teachers: the same logits as the network they come from."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from kdrec.client import open_recording
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.models import build_model, export_onnx, pointmlp, pointnet_s
from kdrec.recorder import TeacherOptions, load_teacher
from kdrec.recorder.onnx_network import onnx_digest
from tests.models.networks import clouds, settled
from tests.programs import kdrec


def _write(
    path: Path, *, batch: int | str = "batch", inputs: int = 1, kind: int = TensorProto.FLOAT
) -> Path:
    """A tiny file by hand: logits are the sums over the points of a cloud; and the points."""
    shape = [batch, 2, 3]
    points = [helper.make_tensor_value_info(f"points{i}", kind, shape)
              for i in range(inputs)]  # fmt: skip
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceSum", ["points0", "axes"], ["logits"], keepdims=0),
        helper.make_node("Identity", [f"points{inputs - 1}"], ["seen"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", kind, [batch, 3]),
        helper.make_tensor_value_info("seen", kind, shape),
    ]
    graph = helper.make_graph(nodes, "sums", points, outputs, [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


POINTS = torch.arange(24.0).reshape(4, 2, 3)
NUM_POINTS = 1024  # sums over a whole cloud round otherwise than those over a small one

# A stage more of PointViG, or of PointMLP, costs ten seconds of export and says nothing new.
SMALL: dict[str, dict[str, Any]] = {
    "pointvig-s": {"widths": (16, 24), "num_blocks": (1, 1), "head_widths": (64, 32)}
}


@pytest.mark.parametrize("name", ["dgcnn", "pointmlp-elite", "pointnet2-ssg", "pointvig-s"])
def test_every_kind_of_network_exports_and_is_the_same_teacher(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointmlp, "_EXPANSIONS", (2, 2))
    monkeypatch.setattr(pointmlp, "_NUM_BLOCKS", (1, 2))
    torch.manual_seed(0)
    network = build_model(name, num_classes=7, **SMALL.get(name, {}))
    network = settled(network, clouds(4, NUM_POINTS))
    with torch.no_grad():
        for parameter in list(network.parameters())[-2:]:  # logits of the usual size
            parameter.mul_(20)
    assert export_onnx(network, tmp_path / "teacher.onnx", num_points=NUM_POINTS) < 1e-4
    teacher = load_teacher(TeacherOptions(factory=str(tmp_path / "teacher.onnx")))
    for count in (1, 6):
        points_BND = clouds(count, NUM_POINTS, seed=count)
        with torch.no_grad():
            expected_BC = network(points_BND)
        torch.testing.assert_close(teacher.logits(points_BND), expected_BC, rtol=0, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["teacher.onnx"]


def test_an_exported_network_records_as_the_network_does(tmp_path: Path, shared_data: Path) -> None:
    weights = shared_data / "teachers" / "pointnet_modelnet40.npz"
    exported = kdrec(
        "export", "pointnet", "pointnet.onnx", "--weights", weights, "--num-points", "128",
        cwd=tmp_path,
    )  # fmt: skip
    assert exported.code == 0, exported.err
    assert "those of the network within" in exported.out
    plan = (
        "--data", shared_data / "clouds" / "modelnet10_test908_1024.npz", "--split", "split=1",
        "--num-points", "128", "--views", "2", "--augment", "scale=0.9:1.1,normalize",
        "--class-map", "modelnet40_index", "--threads", "1", "--without-samples",
        "--encoding", "exact",
    )  # fmt: skip
    by_file = kdrec("record", "a.zarr", "--teacher", "pointnet.onnx", *plan, cwd=tmp_path)
    by_name = kdrec(
        "record", "b.zarr", "--teacher", "pointnet", "--weights", weights, *plan, cwd=tmp_path
    )
    assert by_file.code == 0, by_file.err
    assert by_name.code == 0, by_name.err
    (_, ours), (_, theirs) = (
        open_recording(tmp_path / name).read(1) for name in ("a.zarr", "b.zarr")
    )
    assert np.abs(ours - theirs).max() < 1e-4
    said = open_recording(tmp_path / "a.zarr").manifest.plan.teacher
    assert said.name == "onnx"
    assert said.tensors == hashlib.sha256((tmp_path / "pointnet.onnx").read_bytes()).hexdigest()
    again = kdrec("record", "a.zarr", "--teacher", "pointnet.onnx", *plan, cwd=tmp_path)
    assert again.code == 0, again.err


def test_of_several_outputs_one_is_named(tmp_path: Path) -> None:
    file = str(_write(tmp_path / "sums.onnx"))
    teacher = load_teacher(TeacherOptions(factory=file, output="logits"))
    assert teacher.logits(POINTS).equal(POINTS.sum(dim=1))
    with pytest.raises(InvalidInputError, match=r"--output: logits \(shape .*seen \(shape"):
        load_teacher(TeacherOptions(factory=file)).logits(POINTS)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_file_of_another_precision_gets_points_of_its_own(tmp_path: Path, kind: int) -> None:
    file = str(_write(tmp_path / "sums.onnx", kind=kind))
    logits = load_teacher(TeacherOptions(factory=file, output="logits")).logits(POINTS)
    assert logits.dtype == torch.float32
    assert logits.equal(POINTS.sum(dim=1))


def test_a_file_for_points_of_one_shape_says_which(tmp_path: Path) -> None:
    file = str(_write(tmp_path / "sums.onnx", batch=2))
    teacher = load_teacher(TeacherOptions(factory=file, output="logits"))
    assert teacher.logits(POINTS[:2]).equal(POINTS[:2].sum(dim=1))
    with pytest.raises(
        InvalidInputError, match=r"^sums.onnx takes points of shape \(2, 2, 3\), got"
    ):
        teacher.logits(POINTS)
    file = str(_write(tmp_path / "any.onnx"))
    teacher = load_teacher(TeacherOptions(factory=file, output="logits"))
    with pytest.raises(
        InvalidInputError, match=r"\(any, 2, 3\), got \(4, 3, 2\); .*-points or --in"
    ):
        teacher.logits(POINTS.transpose(1, 2).contiguous())


def test_the_session_has_as_many_threads_as_torch(tmp_path: Path) -> None:
    teacher = load_teacher(
        TeacherOptions(factory=str(_write(tmp_path / "sums.onnx")), output="logits")
    )
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            assert teacher.logits(POINTS).equal(POINTS.sum(dim=1))
            session = teacher.module._session
            assert session.get_session_options().intra_op_num_threads == threads  # type: ignore[operator,union-attr]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": {"width": 3}}, "an ONNX file holds or names its weights and takes no arg"),
        ({"weights": Path("a.npz")}, "leave out --weights and --teacher-arg"),
        ({"precision": "bf16"}, "computes in its own precision, got precision 'bf16'"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_teacher(TeacherOptions(factory=str(_write(tmp_path / "a.onnx")), **options))  # type: ignore[arg-type]


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*a\.onnx"):
        load_teacher(TeacherOptions(factory=str(tmp_path / "a.onnx")))
    (tmp_path / "a.onnx").write_bytes(b"this is no protocol buffer")
    with pytest.raises(InvalidInputError, match="cannot be read as ONNX"):
        load_teacher(TeacherOptions(factory=str(tmp_path / "a.onnx")))
    with pytest.raises(InvalidInputError, match=r"has 2 inputs \(points0, points1\)"):
        load_teacher(TeacherOptions(factory=str(_write(tmp_path / "b.onnx", inputs=2))))
    with pytest.raises(InvalidInputError, match=r"takes tensor\(int64\); a teacher must take"):
        load_teacher(
            TeacherOptions(factory=str(_write(tmp_path / "b.onnx", kind=TensorProto.INT64)))
        )


def test_tensors_beside_the_file_are_part_of_its_digest(tmp_path: Path) -> None:
    tensor = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    model = onnx.load(_write(tmp_path / "a.onnx"))
    model.graph.initializer[0].CopyFrom(tensor)
    onnx.save_model(
        model, tmp_path / "b.onnx", save_as_external_data=True, location="b.data",
        size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    model.graph.initializer[0].raw_data = np.array([1], np.int64).tobytes()
    del model.graph.initializer[0].int64_data[:]
    onnx.save_model(
        model, tmp_path / "b.onnx", save_as_external_data=True, location="b.data",
        size_threshold=0,
    )  # fmt: skip
    before = onnx_digest(tmp_path / "b.onnx")
    (tmp_path / "b.data").write_bytes(np.array([0], np.int64).tobytes())
    assert onnx_digest(tmp_path / "b.onnx") != before
    (tmp_path / "b.data").unlink()
    with pytest.raises(NotFoundError, match=r"keeps tensors in b\.data, which is not beside it"):
        onnx_digest(tmp_path / "b.onnx")


def test_tensors_of_a_branch_are_part_of_the_digest_too(tmp_path: Path) -> None:
    tensor = TensorProto(name="a", data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="branch.data")
    branch = helper.make_graph([], "branch", [], [], [tensor])
    node = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    onnx.save(helper.make_model(helper.make_graph([node], "a", [], [])), tmp_path / "a.onnx")
    with pytest.raises(NotFoundError, match=r"keeps tensors in branch\.data"):
        onnx_digest(tmp_path / "a.onnx")


class _NotInOnnx(nn.Module):
    def forward(self, points_BND: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvalsh(points_BND.transpose(1, 2) @ points_BND)
        return values


class _Several(nn.Module):
    def forward(self, points_BND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return points_BND.sum(dim=1), points_BND


def test_what_cannot_be_exported_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"_NotInOnnx cannot be .* No ONNX function found"):
        export_onnx(_NotInOnnx(), tmp_path / "a.onnx", num_points=4)
    with pytest.raises(InvalidInputError, match=r"must have shape \(batch, points, 3\)"):
        export_onnx(pointnet_s(5), tmp_path / "a.onnx", num_channels=6)
    with pytest.raises(InvalidInputError, match=r"Linear fails on points of shape \(3, 4, 3\)"):
        export_onnx(nn.Linear(4, 5), tmp_path / "a.onnx", num_points=4)
    with pytest.raises(InvalidInputError, match=r"_Several returns a tuple; .* one tensor"):
        export_onnx(_Several(), tmp_path / "a.onnx", num_points=4)
    with pytest.raises(InvalidInputError, match="cannot run the ONNX file of Identity"):
        export_onnx(nn.Identity(), tmp_path / "a.onnx", num_points=4)
    with pytest.raises(InvalidInputError, match=r"must end in .onnx, got a\.pt"):
        export_onnx(_NotInOnnx(), tmp_path / "a.pt", num_points=4)
    assert list(tmp_path.iterdir()) == []
