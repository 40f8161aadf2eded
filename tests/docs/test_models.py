"""docs/models.md is true."""

import re
from pathlib import Path

import pytest

from kdrec.models import build_model, count_parameters, list_models
from kdrec.models.dilation import NEIGHBOUR_CHOICES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "models.md").read_text()


@pytest.mark.parametrize("name", [info.name for info in list_models()])
def test_every_network_is_listed_with_its_parameters(name: str) -> None:
    found = re.findall(rf"^\| .*`{name}`.*\| [^|]*\d,\d{{3}}[^|]* \|$", PAGE, re.MULTILINE)
    (row,) = found
    assert f"{count_parameters(build_model(name, num_classes=40)):,}" in row


def test_every_choice_of_neighbours_is_named() -> None:
    assert all(f"`{choice}`" in PAGE for choice in NEIGHBOUR_CHOICES)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", PAGE))
def test_links_lead_somewhere(link: str) -> None:
    assert (DOCS / link).exists()


def test_every_module_named_is_there() -> None:
    folder = DOCS.parent / "kdrec" / "models"
    assert all((folder / name).exists() for name in re.findall(r"`(\w+\.py)`", PAGE))
