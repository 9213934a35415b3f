"""Playback against the formula: which view is which."""

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian

from manyviews.core import Clock
from manyviews.methods.pretext.playback import Playback, PlaybackConfig
from tiny import given

CLOCK = Clock(0, 10)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("hidden", [0, 5])
def test_the_loss_and_its_gradient_are_the_formula(classes, hidden):
    torch.manual_seed(0)
    method = Playback(given(Raw(3)), PlaybackConfig(classes=classes, hidden=hidden)).double()
    views = [gaussian(seed, 6, 3) for seed in range(classes)]
    # A batch norm in the head sees all views at once, sample by sample.
    logits = method.head(torch.stack(views, dim=1).flatten(0, 1)).unflatten(0, (6, classes))
    terms = [
        logits[b, v].logsumexp(dim=0) - logits[b, v, v] for b in range(6) for v in range(classes)
    ]
    assert_same(method(batch_of(*views), CLOCK).total, torch.stack(terms).mean(), views)


def test_views_that_are_alike_cannot_be_told_apart():
    method, x = Playback(given(Raw(3)), PlaybackConfig(classes=4)).double(), gaussian(0, 6, 3)
    assert method(batch_of(x, x, x, x), CLOCK).total.item() >= torch.tensor(4.0).log() - 1e-9


def test_it_wants_a_view_for_each_class():
    method = Playback(given(Raw(3)), PlaybackConfig(classes=7))
    assert method.needs == method.most == {"global": 7}
