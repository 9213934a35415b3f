"""The order of samples is a pure function of seed and epoch."""

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.data.order import Order, permutation

FIRST = [0, 7, 8, 2, 5, 9, 4, 6, 3, 1]
SECOND = [6, 5, 0, 9, 2, 4, 7, 3, 8, 1]


@pytest.mark.parametrize("count", [0, 1, 2, 97, 5000])
def test_it_is_a_permutation(count: int) -> None:
    order = permutation(count, seed=3, epoch=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_it_never_changes() -> None:
    """Numbers from the first version: a resumed run must meet the same order for ever."""
    assert permutation(10, seed=0, epoch=0).tolist() == FIRST
    assert permutation(10, seed=-5, epoch=3).tolist() == SECOND


def test_seeds_and_epochs_give_different_orders() -> None:
    seen = {
        tuple(permutation(20, seed=seed, epoch=epoch)) for seed in range(30) for epoch in range(30)
    }
    assert len(seen) == 900


def test_places_are_uniform_and_neighbours_independent() -> None:
    orders = np.stack([permutation(16, seed=7, epoch=e) for e in range(4000)])
    for place in (0, 1, 15):
        counts = np.bincount(orders[:, place], minlength=16)
        assert ((counts - 250) ** 2 / 250).sum() < 38  # chi-square, 15 degrees, p = 0.001
    follow = ((orders[:, 1:] - orders[:, :-1]) == 1).mean()
    assert abs(follow - 1 / 16) < 0.01


def test_an_epoch_meets_no_sample_twice_and_the_next_continues() -> None:
    order = Order(count=23, batch=6, accumulate=1, seed=1)
    assert order.steps_per_epoch == 3
    for epoch in range(2):
        met = np.concatenate([order.indices(3 * epoch + s, 0) for s in range(3)])
        assert len(set(met.tolist())) == 18
        np.testing.assert_array_equal(met, permutation(23, seed=1, epoch=epoch)[:18])
        assert {order.epoch(3 * epoch + s) for s in range(3)} == {epoch}


@pytest.mark.parametrize("batch", [1, 256])
def test_one_image_is_said_to_be_too_few_whatever_the_batch(batch: int) -> None:
    with pytest.raises(UsageError, match=r"one sample, from which .*2 or more"):
        Order(count=1, batch=batch, accumulate=1, seed=0)


def test_ranks_and_micro_batches_are_slices_of_the_one_batch() -> None:
    whole = Order(count=50, batch=12, accumulate=1, seed=1)
    parts = [
        Order(count=50, batch=12, accumulate=3, seed=1, rank=r, world=2).indices(5, p)
        for r in range(2)
        for p in range(3)
    ]
    assert {len(part) for part in parts} == {2}
    np.testing.assert_array_equal(np.concatenate(parts), whole.indices(5, 0))


@pytest.mark.parametrize(
    ("count", "batch", "accumulate", "world", "message"),
    [
        (10, 16, 1, 1, "10 samples, fewer than one batch (--data.batch-size 16). Set "
                       "--data.batch-size 10 or less"),
        (10, 16, 2, 2, "Set --data.batch-size 8 or less"),
        (3, 4, 2, 2, "too few for 4 micro-batches"),
        (99, 10, 2, 2, "--data.batch-size 10 cannot be split over 2 ranks with 2 micro-batches"),
        (99, 10, 4, 1, "Use a multiple of 4, for instance 8"),
        (99, 0, 1, 1, "--data.batch-size 0"),
    ],
)  # fmt: skip
def test_batches_that_cannot_be_are_refused(
    count: int, batch: int, accumulate: int, world: int, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Order(count=count, batch=batch, accumulate=accumulate, seed=0, world=world)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
