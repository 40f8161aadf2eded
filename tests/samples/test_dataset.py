"""Samples from data sets of the user's own code."""

from pathlib import Path

import numpy as np
import pytest

from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.samples import load_field, load_samples
from tests.samples.clouds import random_points

PROGRAM = """
import numpy as np

def points(sample, count=10):
    return (np.arange(count * 3, dtype=np.float64).reshape(count, 3) + sample) / 64

class DataSet:
    def __init__(self, make, length=4, **attributes):
        self.make, self.length = make, length
        self.__dict__.update(attributes)
    def __len__(self):
        return self.length
    def __getitem__(self, index):
        return self.make(index)

def pairs(length=4):
    return DataSet(lambda i: (points(i), i % 2), length, classes=["ball", "cube"])

def dictionaries():
    return DataSet(lambda i: {"pos": points(i), "y": np.array([i % 2])})

def arrays():
    return DataSet(points)

def tensors():
    import torch
    return DataSet(lambda i: (torch.from_numpy(points(i)), torch.tensor(i % 2)))

def gradients():
    import torch
    return DataSet(lambda i: (torch.from_numpy(points(i)).requires_grad_(), 0))

def one_buffer():
    buffer = np.empty((10, 3))
    def fill(i):
        buffer[:] = points(i)
        return buffer, i % 2
    return DataSet(fill)

def random():
    calls = []
    def draw(i):
        calls.append(i)
        return points(i) + len(calls), 0
    return DataSet(draw)

def ragged():
    return DataSet(lambda i: (points(i, 10 + i // 2), 0))

def unlabelled():
    return DataSet(lambda i: (points(i), None if i == 2 else 1))

def two_labels():
    return DataSet(lambda i: (points(i), [1, 2]))

def integers():
    return DataSet(lambda i: (points(i).astype(int), 1))

def words():
    return DataSet(lambda i: {"image": 1})

def nothing():
    return DataSet(lambda i: ())

def empty():
    return DataSet(points, 0)

def iterator():
    return iter([])
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "own_data_sets.py"
    path.write_text(PROGRAM)
    return str(path)


@pytest.mark.parametrize("factory", ["pairs", "dictionaries", "tensors", "one_buffer"])
def test_points_and_labels_are_read(program: str, factory: str) -> None:
    samples = load_samples(f"{program}:{factory}")
    expected = [(np.arange(30).reshape(10, 3) + sample) / 64 for sample in range(4)]
    np.testing.assert_array_equal(samples.points_SND, np.array(expected, np.float32))
    assert samples.labels_S is not None
    assert samples.labels_S.tolist() == [0, 1, 0, 1]


def test_points_alone_are_enough(program: str) -> None:
    assert load_samples(f"{program}:arrays").labels_S is None


def test_classes_and_arguments_are_passed_on(program: str) -> None:
    source = f"{program}:pairs"
    samples = load_samples(source, arguments={"length": 6}, split="label=1", num_points=4)
    assert samples.class_names == ("ball", "cube")
    assert samples.points_SND.shape == (3, 4, 3)
    assert load_field(source, "label").tolist() == [0, 1, 0, 1]
    assert load_field(source, "class_names").tolist() == ["ball", "cube"]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("random", "another sample 0 each time"),
        ("ragged", r"sample 2 .*\(11, 3\), sample 0 has \(10, 3\)"),
        ("unlabelled", "sample 2 .*one number as its label, got None"),
        ("two_labels", "sample 0 .*one number as its label"),
        ("integers", "sample 0 .*floating-point"),
        ("words", "needs one of points, pos, xyz, it has image"),
        ("nothing", "is empty; return"),
        ("empty", "the data set of .* is empty"),
        ("iterator", "must return a data set"),
        ("gradients", "sample 0 .*no array .*without gradients"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_reason(
    program: str, factory: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_samples(f"{program}:{factory}")


def test_a_missing_module_or_factory_is_not_found(program: str) -> None:
    with pytest.raises(NotFoundError, match="no module"):
        load_samples("no_such_module_here:factory")
    with pytest.raises(NotFoundError, match="has no 'other'; it has"):
        load_samples(f"{program}:other")


@pytest.mark.parametrize("said", ["import nosuchpkg", "1 / 0", "import sys; sys.exit(0)"])
def test_code_that_fails_is_named(tmp_path: Path, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(said)
    with pytest.raises(InvalidInputError, match=r"importing .*mine\.py failed: \w+: "):
        load_samples(f"{file}:make")
    file.write_text(f"def make(count):\n    {said}")
    with pytest.raises(InvalidInputError, match=r"mine\.py:make with count=3 failed: \w+: "):
        load_samples(f"{file}:make", arguments={"count": 3})


def test_random_points_of_the_tests_are_not_random() -> None:
    np.testing.assert_array_equal(random_points(), random_points())
