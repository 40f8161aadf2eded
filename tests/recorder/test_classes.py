"""The class map and the class names of a command line."""

from pathlib import Path

import pytest

from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.recorder import read_class_map, read_class_names


def test_a_class_map_is_numbers_or_a_field_of_the_data_with_its_arguments() -> None:
    assert read_class_map(" 1, 2,8", "shapes") == (1, 2, 8)
    assert read_class_map("label", "shapes", {"count": 5}) == (0, 1, 2, 3, 4)
    with pytest.raises(InvalidInputError, match="'class_names' of shapes is no class map"):
        read_class_map("class_names", "shapes")
    with pytest.raises(NotFoundError, match="no field 'index'; it has class_names, label"):
        read_class_map("index", "shapes")


def test_class_names_are_lines_of_text(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("bath tub\n\n bed \n")
    assert read_class_names(path) == ("bath tub", "bed")
    path.write_bytes(b"\xff\xfe chair")
    with pytest.raises(InvalidInputError, match="no text in UTF-8"):
        read_class_names(path)
    with pytest.raises(NotFoundError, match="one class name a line"):
        read_class_names(tmp_path / "nothing.txt")
