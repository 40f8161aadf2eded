"""Teachers: where they come from, how they are called, what of their output is taken."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError
from kdrec.models import build_model
from kdrec.recorder.teacher import Teacher, TeacherOptions, load_teacher, pick_output

FACTORIES = '''
import torch
from torch import nn


class Sums(nn.Module):
    """Two logits of a cloud: sums over its points, last, of x and y."""

    class_names = ("first", "second")

    def __init__(self, form="tensor", factor=1.0, config=""):
        super().__init__()
        self.form = form
        self.factor = nn.Parameter(torch.tensor(factor))
        self.dropout = nn.Dropout(0.5)

    def forward(self, points):
        if points.shape[-1] != 3:
            raise ValueError(f"wanted 3 coordinates last, got {points.shape[-1]}")
        logits = self.dropout(points.sum(1)[:, :2] * self.factor)
        forms = {
            "tensor": logits, "tuple": (logits, points),
            "dict": {"features": points, "out": logits},
            "classes": logits.argmax(1), "int": logits.long(), "per point": points,
            "transposed": logits.t(),
        }
        return forms[self.form]


class ChannelsFirst(Sums):
    def forward(self, points):
        assert points.is_contiguous()
        return super().forward(points.transpose(1, 2))


class BackToTraining(Sums):
    def forward(self, points):
        self.dropout.train()
        return super().forward(points)


def number():
    return 3
'''


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Teacher]:
    """A teacher of the file above."""
    file = tmp_path / "teachers_of_a_test.py"
    file.write_text(FACTORIES)

    def make(
        name: str = "Sums", *, arguments: dict[str, Any] | None = None, **options: Any
    ) -> Teacher:
        return load_teacher(
            TeacherOptions(factory=f"{file}:{name}", arguments=arguments or {}, **options)
        )

    return make


POINTS = torch.tensor([[[1.0, 2, 3], [4, 5, 6]], [[0, 1, 0], [0, 1, 0]]])
LOGITS = torch.tensor([[5.0, 7], [0, 2]])


def test_a_file_gives_a_frozen_teacher_in_evaluation(load: Callable[..., Teacher]) -> None:
    teacher = load(arguments={"factor": 2.0})
    assert teacher.logits(POINTS).equal(2 * LOGITS)
    assert not any(part.training for part in teacher.module.modules())
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert teacher.class_names == ("first", "second")


def test_logits_may_stand_in_a_loss_with_a_gradient(load: Callable[..., Teacher]) -> None:
    student_BC = torch.ones(2, 2, requires_grad=True)
    loss = (student_BC * load().logits(POINTS)).sum()
    (gradient_BC,) = torch.autograd.grad(loss, student_BC)
    assert gradient_BC.equal(LOGITS)


def test_a_teacher_of_channels_first_gets_them_first(load: Callable[..., Teacher]) -> None:
    assert load("ChannelsFirst", input_layout="B3N").logits(POINTS).equal(LOGITS)


def test_a_teacher_that_fails_on_the_layout_says_how_to_change_it(
    load: Callable[..., Teacher],
) -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"Sums fails on an input of shape \(2, 3, 2\) \(input layout B3N\): ValueError: "
        r"wanted 3 coordinates last, got 2; .*--input-layout",
    ):
        load(input_layout="B3N").logits(POINTS)


@pytest.mark.parametrize(("form", "output"), [("tuple", "0"), ("dict", "out")])
def test_the_entry_that_is_named_is_taken(
    load: Callable[..., Teacher], form: str, output: str
) -> None:
    assert load(arguments={"form": form}, output=output).logits(POINTS).equal(LOGITS)


@pytest.mark.parametrize(
    ("form", "entries"),
    [
        ("tuple", r"tuple; .*--output: 0 \(shape \(2, 2\)\), 1 \(shape \(2, 2, 3\)\)"),
        ("dict", r"dict; .*--output: features \(shape \(2, 2, 3\)\), out \(shape \(2, 2\)\)"),
    ],
)
def test_of_several_outputs_one_must_be_named(
    load: Callable[..., Teacher], form: str, entries: str
) -> None:
    with pytest.raises(InvalidInputError, match=entries) as caught:
        load(arguments={"form": form}).logits(POINTS)
    assert caught.value.kind is ErrorKind.UNSUITABLE_TEACHER


@pytest.mark.parametrize(("form", "output"), [("tuple", "2"), ("dict", "0"), ("tuple", "-1")])
def test_an_entry_that_is_not_there_is_refused(
    load: Callable[..., Teacher], form: str, output: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"entry '{output}' of .* does not exist; choose"):
        load(arguments={"form": form}, output=output).logits(POINTS)


def test_an_entry_of_a_single_tensor_is_refused(load: Callable[..., Teacher]) -> None:
    with pytest.raises(InvalidInputError, match=r"returns one tensor .* leave out --output"):
        load(output="0").logits(POINTS)


class _Named(NamedTuple):
    logits: Tensor
    loss: float


def test_an_entry_of_a_named_tuple_has_two_names() -> None:
    returned = _Named(LOGITS, 0.5)
    assert pick_output(returned, "logits") is LOGITS
    assert pick_output(returned, "0") is LOGITS
    with pytest.raises(InvalidInputError, match="'loss' of the teacher's _Named is not a tensor"):
        pick_output(returned, "loss")


@pytest.mark.parametrize("returned", [None, "logits", (), 3.0])
def test_what_holds_no_tensor_is_refused(returned: object) -> None:
    with pytest.raises(InvalidInputError, match=f"returns a {type(returned).__name__}; "):
        pick_output(returned, None)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("classes", r"returns shape \(3,\) for 3 samples; .* \(3, classes\)"),
        ("per point", r"returns shape \(3, 2, 3\) for 3 samples"),
        ("transposed", r"returns shape \(2, 3\) for 3 samples"),
        ("int", "returns int64; it must return logits, not predicted classes"),
    ],
)
def test_what_are_no_logits_is_refused(
    load: Callable[..., Teacher], form: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load(arguments={"form": form}).logits(torch.ones(3, 2, 3))


def test_a_part_in_training_mode_is_refused(load: Callable[..., Teacher]) -> None:
    teacher = load("BackToTraining")
    teacher.logits(POINTS)
    with pytest.raises(InvalidInputError, match=r"1 parts .* in training mode \(dropout\)"):
        teacher.logits(POINTS)


def test_a_factory_of_something_else_is_refused(load: Callable[..., Teacher]) -> None:
    with pytest.raises(InvalidInputError, match=r"number gives a int; .* torch\.nn\.Module"):
        load("number")


def test_a_missing_factory_is_not_found(load: Callable[..., Teacher]) -> None:
    with pytest.raises(NotFoundError, match="has no 'Absent'"):
        load("Absent")


def test_neither_the_name_nor_the_arguments_hold_a_path(
    load: Callable[..., Teacher], tmp_path: Path
) -> None:
    config = tmp_path / "teacher.yaml"
    config.write_text("width: 3")
    teacher = load(arguments={"config": str(config), "form": "tensor", "factor": 0.5})
    assert teacher.name == "Sums"
    assert teacher.described_arguments == {
        "config": f"sha256:{hashlib.sha256(b'width: 3').hexdigest()}",
        "form": "tensor",
        "factor": 0.5,
    }
    folder = load(arguments={"config": str(tmp_path)})
    assert folder.described_arguments == {"config": f"folder:{tmp_path.name}"}


def test_a_plain_word_is_no_path_whatever_files_there_are(
    load: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensor").touch()
    monkeypatch.chdir(tmp_path)
    assert load(arguments={"form": "tensor"}).described_arguments == {"form": "tensor"}


def test_a_long_text_is_no_path(load: Callable[..., Teacher]) -> None:
    text = "0.5," * 2000
    assert load(arguments={"config": text}).described_arguments == {"config": text}


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "meta", "gpu"])
def test_an_unknown_device_is_refused(load: Callable[..., Teacher], device: str) -> None:
    with pytest.raises(InvalidInputError, match=f"must be cpu, cuda or cuda:N, got '{device}'"):
        load(device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(load: Callable[..., Teacher]) -> None:
    with pytest.raises(InvalidInputError, match=r"'cuda:1' needs a CUDA GPU .*--device cpu"):
        load(device="cuda:1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_teacher_runs_on_the_gpu(load: Callable[..., Teacher]) -> None:
    logits = load(device="cuda").logits(POINTS)
    assert logits.device.type == "cuda"
    assert logits.cpu().equal(LOGITS)


@pytest.mark.parametrize("option", ["input_layout", "precision"])
def test_an_unknown_option_is_refused_with_those_there_are(
    load: Callable[..., Teacher], option: str
) -> None:
    with pytest.raises(InvalidInputError, match=r"(BN3 or B3N|float32, tf32, .*), got 'NB3'"):
        load(**{option: "NB3"})


def test_low_precision_gives_float32_logits_nearby(tmp_path: Path) -> None:
    options = _registered(tmp_path, num_classes=7)
    points_BND = torch.randn(4, 64, 3, generator=torch.Generator().manual_seed(0))
    exact = load_teacher(options).logits(points_BND)
    low = load_teacher(
        TeacherOptions(factory="pointnet-s", weights=options.weights, precision="bf16")
    ).logits(points_BND)
    assert low.dtype == torch.float32
    assert not low.equal(exact)
    torch.testing.assert_close(low, exact, atol=0.05, rtol=0.05)


def _registered(folder: Path, *, num_classes: int, wrapper: str | None = None) -> TeacherOptions:
    torch.manual_seed(0)
    state = build_model("pointnet-s", num_classes=num_classes).state_dict()
    torch.save({wrapper: state} if wrapper else state, folder / "weights.pt")
    return TeacherOptions(factory="pointnet-s", weights=folder / "weights.pt")


def test_a_registered_model_takes_its_classes_from_the_weights(tmp_path: Path) -> None:
    teacher = load_teacher(_registered(tmp_path, num_classes=7))
    assert teacher.logits(torch.ones(2, 16, 3)).shape == (2, 7)
    assert teacher.name == "pointnet-s"
    assert teacher.class_names is None


def test_a_registered_model_without_weights_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'pointnet' has no weights .*--weights"):
        load_teacher(TeacherOptions(factory="pointnet"))


def test_weights_without_the_last_layer_are_another_networks(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "a.pt")
    options = TeacherOptions(factory="pointnet", weights=tmp_path / "a.pt")
    with pytest.raises(InvalidInputError, match=r"no 'linear3.weight' .*, but weight ...: they"):
        load_teacher(options)


@pytest.mark.parametrize(
    "given", [{"arguments": {"num_classes": 9}}, {"num_classes": 9}], ids=["argument", "option"]
)
def test_another_number_of_classes_than_the_weights_is_refused(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    weights = _registered(tmp_path, num_classes=7).weights
    with pytest.raises(
        InvalidInputError, match=r"linear3.weight is \(7, 64\) in the file and \(9,"
    ):
        load_teacher(TeacherOptions(factory="pointnet-s", weights=weights, **given))


def test_the_same_tensors_have_the_same_digest_wherever_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    plain = load_teacher(_registered(tmp_path, num_classes=7))
    options = _registered(tmp_path / "other", num_classes=7, wrapper="ema")
    assert options.weights is not None
    wrapped = load_teacher(
        TeacherOptions(factory="pointnet-s", weights=options.weights, weights_key="ema")
    )
    assert plain.digest == wrapped.digest


@pytest.mark.parametrize("ending", ["npz", "t7"])
def test_a_real_teacher_gives_the_logits_that_are_known(shared_data: Path, ending: str) -> None:
    weights = shared_data / "teachers" / f"pointnet_modelnet40.{ending}"
    teacher = load_teacher(TeacherOptions(factory="pointnet", weights=weights))
    known_SC = np.load(shared_data / "logits" / "pointnet_clean.npy")
    logits_BC = teacher.logits(torch.from_numpy(_real_points(shared_data)[:32])).numpy()
    assert np.abs(logits_BC - known_SC[:32]).max() < 0.03


def _real_points(shared_data: Path) -> npt.NDArray[np.float32]:
    with np.load(shared_data / "clouds" / "modelnet10_test908_1024.npz") as archive:
        points_SN3 = archive["xyz"].astype(np.float64)
    points_SN3 -= points_SN3.mean(axis=1, keepdims=True)
    radius_S = np.linalg.norm(points_SN3, axis=2).max(axis=1)
    return np.asarray(points_SN3 / radius_S[:, None, None], dtype=np.float32)
