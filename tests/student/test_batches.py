"""The order of an epoch."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdrec.student import ShuffledBatches


def batches(num_samples: int, batch_size: int, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    order = ShuffledBatches(num_samples, batch_size, seed=seed)
    order.set_epoch(epoch)
    found = [batch.tolist() for batch in order]
    assert len(order) == len(found)
    return found


@given(st.integers(1, 80), st.integers(1, 90), st.integers(0, 2**64 - 1))
def test_every_sample_comes_once_and_no_batch_of_several_is_left_with_one(
    num_samples: int, batch_size: int, seed: int
) -> None:
    found = batches(num_samples, batch_size, seed=seed)
    assert sorted(chain.from_iterable(found)) == list(range(num_samples))
    assert all(len(batch) <= batch_size + 1 for batch in found)
    assert all(len(batch) == batch_size for batch in found[:-1]) or len(found) == 1
    if batch_size > 1 and num_samples > 1:
        assert min(map(len, found)) > 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    before = torch.get_rng_state()
    assert batches(50, 8, epoch=3) == batches(50, 8, epoch=3)
    assert batches(50, 8, epoch=3) != batches(50, 8, epoch=4)
    assert batches(50, 8, seed=1) != batches(50, 8, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_an_epoch_is_the_one_it_always_was() -> None:
    # Else a training that was begun with an older version would go on in another order.
    assert batches(7, 3, seed=1, epoch=2) == [[3, 1, 5], [0, 6, 4, 2]]


@pytest.mark.parametrize(("num_samples", "sizes"), [(9, [4, 5]), (10, [4, 4, 2]), (8, [4, 4])])
def test_a_last_batch_of_one_joins_the_one_before(num_samples: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches(num_samples, 4)] == sizes
