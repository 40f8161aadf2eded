"""Farthest-point sampling and neighbour search, against their definitions."""

import pytest
import torch
from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.models import farthest_points, nearest
from kdrec.models.neighbours import gather_points
from kdrec.samples.points import select_points
from tests.models.networks import clouds


def _by_definition(xyz_N3: Tensor, count: int) -> list[int]:
    centroid = xyz_N3.mean(dim=0)
    chosen = [int((xyz_N3 - centroid).square().sum(dim=1).argmax())]
    while len(chosen) < count:
        distances = torch.stack([(xyz_N3 - xyz_N3[c]).square().sum(dim=1) for c in chosen])
        chosen.append(int(distances.amin(dim=0).argmax()))
    return chosen


def test_each_point_is_the_farthest_from_those_before() -> None:
    xyz_BN3 = clouds(3, 50)
    chosen_BM = farthest_points(xyz_BN3, 20)
    assert chosen_BM.tolist() == [_by_definition(xyz_N3, 20) for xyz_N3 in xyz_BN3]


def test_the_choice_is_that_of_the_data_sets_but_for_the_first_point() -> None:
    xyz_BN3 = clouds(1, 60)
    first = int(farthest_points(xyz_BN3, 1))
    order = torch.cat([torch.tensor([first]), torch.arange(60)[torch.arange(60) != first]])
    ours_M3 = xyz_BN3[0, farthest_points(xyz_BN3, 25)[0]]
    theirs_SM3 = select_points(xyz_BN3[:, order].numpy(), 25, "farthest")
    assert torch.equal(ours_M3, torch.from_numpy(theirs_SM3[0]))


def test_the_first_part_of_a_choice_is_the_choice_of_fewer_points_of_all_and_of_the_chosen() -> (
    None
):
    xyz_BN3 = clouds(3, 80)
    chosen_BM = farthest_points(xyz_BN3, 40)
    assert torch.equal(farthest_points(xyz_BN3, 20), chosen_BM[:, :20])
    again_BM = [_by_definition_from(x_M3, 20) for x_M3 in gather_points(xyz_BN3, chosen_BM)]
    assert again_BM == [list(range(20))] * 3


def _by_definition_from(xyz_N3: Tensor, count: int) -> list[int]:
    chosen = [0]
    while len(chosen) < count:
        distances = torch.stack([(xyz_N3 - xyz_N3[c]).square().sum(dim=1) for c in chosen])
        chosen.append(int(distances.amin(dim=0).argmax()))
    return chosen


def test_no_point_is_chosen_twice_where_all_are_equal() -> None:
    assert sorted(farthest_points(torch.ones(1, 7, 3), 7)[0].tolist()) == list(range(7))


def test_the_same_points_are_chosen_in_whatever_order_they_stand() -> None:
    xyz_BN3 = clouds(2, 40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled_BN3 = xyz_BN3[:, order]
    assert torch.equal(
        gather_points(xyz_BN3, farthest_points(xyz_BN3, 10)),
        gather_points(shuffled_BN3, farthest_points(shuffled_BN3, 10)),
    )


@pytest.mark.parametrize("count", [0, 6])
def test_more_points_than_there_are_cannot_be_sampled(count: int) -> None:
    with pytest.raises(InvalidInputError, match=f"from 1 to 5, the points of a cloud; got {count}"):
        farthest_points(torch.zeros(1, 5, 3), count)


def test_of_points_that_are_equally_far_the_first_come_first() -> None:
    grid_N3 = torch.cartesian_prod(*[torch.arange(6.0)] * 3)
    xyz_BN3 = torch.stack([grid_N3, torch.zeros_like(grid_N3)])  # copies of a point, too
    squared_BNN = (xyz_BN3.unsqueeze(2) - xyz_BN3.unsqueeze(1)).square().sum(dim=-1)
    expected_BNN = squared_BNN.sort(dim=-1, stable=True).indices
    for count in (1, 5, 20, 216):
        assert nearest(xyz_BN3, xyz_BN3, count).index_BMK.equal(expected_BNN[..., :count])


@pytest.mark.parametrize("num_points", [1, 3, 70, 1200])
def test_neighbours_are_the_nearest_in_order(num_points: int) -> None:
    xyz_BN3 = clouds(3, num_points)
    found = nearest(xyz_BN3[:, :5], xyz_BN3, 9)
    exact_BMN = torch.cdist(xyz_BN3[:, :5].double(), xyz_BN3.double()).square()
    expected_BMK = exact_BMN.sort(dim=-1).indices[..., :9]
    assert torch.equal(found.index_BMK, expected_BMK)
    torch.testing.assert_close(found.squared_BMK.double(), exact_BMN.gather(-1, expected_BMK))


def test_clouds_that_do_not_fit_a_pass_have_the_same_neighbours() -> None:
    xyz_BN3 = clouds(3, 1100)  # more distances than are computed at once
    together = nearest(xyz_BN3, xyz_BN3, 5).index_BMK
    parts = [nearest(xyz_BN3[:, start : start + 100], xyz_BN3, 5) for start in range(0, 1100, 100)]
    assert torch.equal(together, torch.cat([part.index_BMK for part in parts], dim=1))


def test_equal_points_are_at_no_distance_far_from_the_origin() -> None:
    xyz_BN3 = torch.full((1, 30, 3), 1234.567)
    assert nearest(xyz_BN3, xyz_BN3, 8).squared_BMK.eq(0).all()


def test_autocast_does_not_change_the_neighbours() -> None:
    xyz_BN3 = clouds(2, 200) + 10
    plain = nearest(xyz_BN3, xyz_BN3, 6), farthest_points(xyz_BN3, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = nearest(xyz_BN3, xyz_BN3, 6), farthest_points(xyz_BN3, 50)
    assert torch.equal(plain[0].index_BMK, cast[0].index_BMK)
    assert torch.equal(plain[1], cast[1])


def test_features_are_gathered_cloud_by_cloud() -> None:
    features_BNF = torch.arange(24.0).reshape(2, 4, 3)
    index_BMK = torch.tensor([[[0, 3]], [[1, 1]]])
    expected = torch.stack([features_BNF[0, [0, 3]], features_BNF[1, [1, 1]]]).unsqueeze(1)
    assert torch.equal(gather_points(features_BNF, index_BMK), expected)
