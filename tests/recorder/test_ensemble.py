"""Several teachers as one, and one teacher that looks several times."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdrec.augment import parse_augmentation
from kdrec.client import open_recording
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.models import build_model
from kdrec.recorder import (
    Teacher,
    TeacherOptions,
    TeacherPass,
    Votes,
    load_teacher,
    mean_logits,
)
from kdrec.samples import make_shapes
from tests.models.networks import clouds
from tests.programs import kdrec


def _weights(folder: Path, seed: int, *, classes: int = 5, **arguments: Any) -> str:
    torch.manual_seed(seed)
    name = f"weights{seed}.pt"
    torch.save(
        build_model("pointnet-s", num_classes=classes, **arguments).state_dict(), folder / name
    )
    return name


def _ensemble(folder: Path, text: str) -> TeacherOptions:
    (folder / "ensemble.toml").write_text(text)
    return TeacherOptions(factory=str(folder / "ensemble.toml"))


def _two(
    folder: Path, mean: str = "logits", *, classes: tuple[int, int] = (5, 5)
) -> TeacherOptions:
    members = [
        f'[[member]]\nteacher = "pointnet-s"\nweights = "{_weights(folder, seed, classes=count)}"\n'
        for seed, count in enumerate(classes)
    ]
    return _ensemble(folder, f'mean = "{mean}"\n' + "\n".join(members))


def _alone(folder: Path, seed: int, points_BND: Tensor) -> Tensor:
    options = TeacherOptions(factory="pointnet-s", weights=folder / f"weights{seed}.pt")
    return load_teacher(options).logits(points_BND)


def test_the_mean_of_logits_and_of_probabilities_are_what_they_say(tmp_path: Path) -> None:
    points_BND = clouds(4, 40)
    by_logits = load_teacher(_two(tmp_path)).logits(points_BND)
    by_probabilities = load_teacher(_two(tmp_path, "probabilities")).logits(points_BND)
    first, second = _alone(tmp_path, 0, points_BND), _alone(tmp_path, 1, points_BND)
    torch.testing.assert_close(by_logits, (first + second) / 2)
    probabilities = (first.softmax(dim=1) + second.softmax(dim=1)) / 2
    torch.testing.assert_close(by_probabilities.softmax(dim=1), probabilities)


def test_the_mean_of_probabilities_needs_no_epsilon() -> None:
    far = torch.tensor([[[0.0, -200.0]], [[0.0, -220.0]]])
    assert mean_logits(far, "probabilities").isfinite().all()
    assert float(mean_logits(far, "probabilities")[0, 1]) == pytest.approx(-200 - np.log(2))


def test_the_plan_says_ensemble_and_its_digest_depends_on_everything(tmp_path: Path) -> None:
    teacher = load_teacher(_two(tmp_path))
    assert teacher.name == "ensemble"
    assert teacher.described_arguments == {}
    text = (tmp_path / "ensemble.toml").read_text()
    halves = text.split("[[member]]")
    exchanged = "[[member]]".join([halves[0], halves[2] + "\n", halves[1]])
    digests = {teacher.digest}
    for changed in (text.replace('"logits"', '"probabilities"'), exchanged):
        digests.add(load_teacher(_ensemble(tmp_path, changed)).digest)
    torch.save(build_model("pointnet-s", num_classes=5).state_dict(), tmp_path / "weights0.pt")
    digests.add(load_teacher(_ensemble(tmp_path, text)).digest)
    assert len(digests) == 4


def test_the_digest_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    digests = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        digests.add(load_teacher(_two(tmp_path / name)).digest)
    assert len(digests) == 1


def test_members_have_their_own_layout_and_output(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "from torch import nn\n\n\nclass Odd(nn.Module):\n"
        "    def forward(self, points):\n        return {'a': points.sum(2), 'b': points}\n"
    )
    member = '[[member]]\nteacher = "odd.py:Odd"\ninput_layout = "B3N"\noutput = "a"\n'
    teacher = load_teacher(_ensemble(tmp_path, 'mean = "logits"\n' + member + member))
    points_BND = clouds(2, 20)
    torch.testing.assert_close(teacher.logits(points_BND), points_BND.sum(dim=1))


def test_members_whose_folders_hold_modules_of_one_name_are_refused(tmp_path: Path) -> None:
    for number, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ensemble_parts.py").write_text(f"NUMBER = {number}\n")
        (tmp_path / folder / "made.py").write_text(
            "from torch import nn\nimport ensemble_parts\n\n\nclass Made(nn.Module):\n    pass\n"
        )
    members = [f'[[member]]\nteacher = "{name}/made.py:Made"\n' for name in ("first", "second")]
    with pytest.raises(
        InvalidInputError, match=r"import 'ensemble_parts' from .*first, from where"
    ):
        load_teacher(_ensemble(tmp_path, 'mean = "logits"\n' + "".join(members)))


def test_a_module_that_a_member_does_not_import_may_have_any_name(tmp_path: Path) -> None:
    made = "from torch import nn\n\n\nclass Made(nn.Identity):\n    pass\n"
    for folder, imports in (("one", "import idle_parts\n"), ("two", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "idle_parts.py").write_text("")
        (tmp_path / folder / "idle.py").write_text(imports + made)
    members = [f'[[member]]\nteacher = "{name}/idle.py:Made"\n' for name in ("one", "two")]
    load_teacher(_ensemble(tmp_path, 'mean = "logits"\n' + "".join(members)))


def test_members_of_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"^the members of the ensemble have 5, 6 classes"):
        load_teacher(_two(tmp_path, classes=(5, 6))).logits(clouds(2, 20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('mean = "median"\n', "mean: input should be 'logits' or 'probabilities', got 'median'"),
        ('mean = "logits"\n[[member]]\nteacher = "pointnet"\n', "member: .*at least 2"),
        ('mean = "logits"\n[[member]]\nteacher = "a"\nwidth = 3\n', "member.0.width: extra inputs"),
        ("mean = logits", "is no TOML"),
        ('mean = "logits"\n' + 2 * '[[member]]\nteacher = "a.toml"\n', "a.toml is an ensemble"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_teacher(_ensemble(tmp_path, text))


def test_what_an_ensemble_says_in_its_file_is_no_option(tmp_path: Path) -> None:
    factory = _two(tmp_path).factory
    with pytest.raises(InvalidInputError, match="leave out --weights and --teacher-arg"):
        load_teacher(TeacherOptions(factory=factory, weights=tmp_path / "weights0.pt"))
    with pytest.raises(InvalidInputError, match="are said for each member"):
        load_teacher(TeacherOptions(factory=factory, input_layout="B3N"))
    with pytest.raises(NotFoundError, match="cannot be read"):
        load_teacher(TeacherOptions(factory=str(tmp_path / "absent.toml")))


def _voting(folder: Path, votes: Votes | None) -> Teacher:
    weights = folder / _weights(folder, 0)
    return load_teacher(TeacherOptions(factory="pointnet-s", weights=weights, votes=votes))


def _pass(teacher: Teacher, *, augment: str = "scale=0.9:1.1", batch_size: int = 4) -> TeacherPass:
    samples = make_shapes(11, seed=0, num_points=32)
    return TeacherPass(teacher, samples, parse_augmentation(augment), 7, batch_size)


def _records(teacher_pass: TeacherPass, samples: list[int], view: int = 3) -> Any:
    return teacher_pass.augmentation.draw(7, views=view, samples_B=np.array(samples))


def test_votes_are_the_mean_over_draws_on_top_of_the_view(tmp_path: Path) -> None:
    votes = Votes(3, parse_augmentation("scale=0.8:1.2"))
    voting = _pass(_voting(tmp_path, votes))
    records = _records(voting, [2, 9, 4])
    points_BND = torch.from_numpy(voting.samples.points_SND[[2, 9, 4]])
    view_BND = voting.augmentation.apply(points_BND, records)
    inputs = list(votes.inputs(view_BND, records, ("x", "y", "z")))
    assert len({tuple(each.flatten().tolist()) for each in inputs}) == 3
    each = torch.stack([_alone(tmp_path, 0, each_BND) for each_BND in inputs])
    np.testing.assert_allclose(voting.logits(records), each.mean(dim=0), rtol=1e-5, atol=1e-5)


def test_a_vote_is_the_same_in_whatever_batch_its_record_stands(tmp_path: Path) -> None:
    teacher = _voting(tmp_path, Votes(2, parse_augmentation("rotate_y=-15:15,subset=16")))
    whole = _pass(teacher, batch_size=11)
    small = _pass(teacher, batch_size=2)
    expected = whole.logits(_records(whole, list(range(11))))
    np.testing.assert_allclose(
        small.logits(_records(small, [8, 1, 5])), expected[[8, 1, 5]], atol=1e-5
    )


def test_votes_stand_in_the_plan_but_not_in_what_the_student_sees(tmp_path: Path) -> None:
    plain = _pass(_voting(tmp_path, None))
    voting = _pass(_voting(tmp_path, Votes(2, parse_augmentation("scale=0.8:1.2"))))
    records = _records(plain, [0, 1, 2])
    assert np.array_equal(plain.fingerprints(records), voting.fingerprints(records))
    assert voting.teacher.described_arguments == {
        "votes.count": 2, "votes.augment": "scale=0.8:1.2",
    }  # fmt: skip
    assert voting.teacher.digest == plain.teacher.digest


@pytest.mark.parametrize(
    ("count", "augment", "message"),
    [
        (0, "scale=0.9:1.1", "at least 1, got 0"),
        (4, "normalize", "4 votes under normalize, of which"),
    ],
)
def test_votes_that_are_none_are_refused(count: int, augment: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Votes(count, parse_augmentation(augment))


def test_an_ensemble_with_votes_records_and_continues(tmp_path: Path) -> None:
    num_classes = len(make_shapes(1, seed=0, num_points=8).class_names or ())
    _two(tmp_path, "probabilities", classes=(num_classes, num_classes))
    plan = (
        "record", "a.zarr", "--teacher", "ensemble.toml", "--data", "shapes", "--data-arg",
        "count=40", "--data-arg", "num_points=32", "--views", "2", "--augment", "scale=0.9:1.1",
        "--threads", "1",
    )  # fmt: skip
    done = kdrec(*plan, "--votes", "3", cwd=tmp_path)
    assert done.code == 0, done.err
    teacher = open_recording(tmp_path / "a.zarr").manifest.plan.teacher
    assert teacher.name == "ensemble"
    assert teacher.arguments == {"votes.count": 3, "votes.augment": "scale=0.9:1.1"}
    assert str(tmp_path) not in json.dumps(teacher.model_dump())
    other = kdrec(*plan, "--votes", "4", cwd=tmp_path)
    assert other.code == 5, other.err
    assert "teacher.arguments.votes.count: 3 recorded, 4 now" in other.err
    alone = kdrec(*plan, "--vote-augment", "scale=0.5:1", cwd=tmp_path)
    assert alone.code == 2
    assert "say how many by --votes K" in alone.err
