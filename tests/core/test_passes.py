"""How often data were seen is counted in samples, not in epochs."""

import pytest

from manyviews.core.passes import passes, round_passes
from manyviews.data.order import Order


def test_an_epoch_of_whole_batches_alone_is_less_than_a_pass():
    order = Order(count=803, batch=256, accumulate=1, seed=0, world=1)
    assert passes(order.steps_per_epoch, batch=order.batch, samples=order.count) == 768 / 803
    assert passes(47, batch=256, samples=803) == pytest.approx(14.98, abs=0.01)
    assert passes(5, batch=8, samples=0) == 0.0


def test_passes_are_rounded_as_people_read_them():
    assert [round_passes(x) for x in (0.96, 9.94, 15.4, 1234.5)] == ["1.0", "9.9", "15", "1,234"]
