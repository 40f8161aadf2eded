"""The error tree and its two edges."""

import re
from pathlib import Path

import pytest

from kdrec import errors
from kdrec.errors import OUTCOMES, ErrorKind, KdrecError

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, KdrecError) and value is not KdrecError
]


def test_every_kind_has_an_outcome_and_every_outcome_a_kind() -> None:
    assert set(OUTCOMES) == set(ErrorKind)


def test_statuses_are_errors_and_exit_codes_are_the_documented_ones() -> None:
    for kind, outcome in OUTCOMES.items():
        assert 400 <= outcome.http_status < 600, kind
        assert 1 <= outcome.exit_code <= 5, kind


@pytest.mark.parametrize("error_class", CLASSES)
def test_a_class_has_a_kind_of_its_own_and_takes_another(error_class: type[KdrecError]) -> None:
    assert error_class("x").kind == error_class.default_kind
    assert error_class("x", kind=ErrorKind.MISALIGNED).outcome == OUTCOMES[ErrorKind.MISALIGNED]
    assert str(error_class("what was wrong")) == "what was wrong"


def test_default_kinds_differ_so_that_a_kind_leads_back_to_its_class() -> None:
    kinds = [error_class.default_kind for error_class in CLASSES]
    assert len(set(kinds)) == len(kinds)


def test_kinds_are_never_renamed() -> None:
    assert [kind.value for kind in ErrorKind][:12] == [
        "invalid_input",
        "unsupported_format",
        "missing_dependency",
        "not_found",
        "already_exists",
        "conflict",
        "misaligned",
        "incomplete",
        "integrity",
        "storage",
        "service",
        "unsuitable_teacher",
    ]


def test_only_errors_of_the_tree_are_raised_on_purpose() -> None:
    folder = Path(errors.__file__).parent
    allowed = {c.__name__ for c in CLASSES} | {"AssertionError", "ValueError", "KeyError"}
    at_home = {"__init__.py": {"AttributeError"}, "byte_answers.py": {"HTTPException"}}
    at_home["record_streams.py"] = {"HTTPException"}
    at_home["whole_chunks.py"] = {"NotImplementedError"}  # Zarr asks for a size there is not
    for path in folder.rglob("*.py"):
        for name in re.findall(r"raise (\w+)\(", path.read_text()):
            if not name.startswith("_"):  # a function that makes one of them
                assert name in allowed | at_home.get(path.name, set()), f"{path}: {name}"
