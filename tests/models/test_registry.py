"""The registry of networks."""

import pytest
from torch import nn

from kdrec import models
from kdrec.errors import InvalidInputError
from kdrec.models import build_model, count_parameters, find_model, list_models, register_model


def test_the_public_names_are_sorted_and_exist() -> None:
    assert models.__all__ == sorted(models.__all__)
    assert all(hasattr(models, name) for name in models.__all__)


def test_models_are_listed_by_name_with_a_description() -> None:
    names = [info.name for info in list_models()]
    assert names == sorted(names)
    assert {"pointnet", "pointnet-s"} <= set(names)
    assert all(info.description for info in list_models())


@pytest.mark.parametrize("name", [info.name for info in list_models()])
def test_the_head_of_every_model_has_one_row_a_class(name: str) -> None:
    state = build_model(name, num_classes=7).state_dict()
    assert len(state[find_model(name).head]) == 7


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"no model 'pointnot'; there are: dgcnn, "):
        build_model("pointnot", num_classes=10)


def test_an_unknown_argument_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"'depth'; it takes: num_classes, num_channels,"):
        build_model("pointnet", num_classes=10, depth=3)


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"num_classes=10, .*dropout='low': '<='"):
        build_model("pointnet", num_classes=10, dropout="low")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(InvalidInputError, match="'pointnet' is registered already"):
        register_model("pointnet", description="another", head="weight")(nn.Identity)


def test_buffers_are_not_counted_as_parameters() -> None:
    assert count_parameters(nn.BatchNorm1d(5)) == 10
