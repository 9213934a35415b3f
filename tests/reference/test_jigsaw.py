"""Jigsaw against its formula and against orders that the authors' code chose (data/README.md)."""

import itertools

import numpy as np
import pytest
import torch
from raw import Raw, assert_same, gaussian, load
from torch import nn

from manyviews.core import Batch, Clock, Given
from manyviews.methods.pretext.jigsaw import Jigsaw, JigsawConfig, standardised
from manyviews.parts.puzzle import far_apart, rank_of

SAVED = load("jigsaw")


def make(encoder=None, **settings):
    torch.manual_seed(0)
    config = JigsawConfig(permutations=30, hidden=5, **settings)
    return Jigsaw(Given({"image": encoder or Raw(4)}), config).double()


def orders(*seeds):
    return torch.stack(
        [torch.randperm(9, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


@pytest.mark.parametrize("name", ["five", "nine"])
def test_the_orders_are_as_far_apart_as_those_of_the_authors_code(name):
    """Equal means tie in other ways by their floating-point sums, so means are compared."""
    theirs = SAVED[name].numpy()
    ours = far_apart(theirs.shape[1], len(theirs))
    assert len({tuple(order) for order in ours}) == len(ours)
    assert np.array_equal(ours[:2], theirs[:2])

    def gains(chosen):
        apart = (chosen[:, None] != chosen).mean(axis=2)
        return [apart[k, :k].mean() for k in range(1, len(chosen))]

    assert gains(ours) == pytest.approx(gains(theirs), abs=1e-12)


def test_each_order_is_the_farthest_from_those_before_it():
    every, ours = np.array(list(itertools.permutations(range(5)))), far_apart(5, 100)
    for k in range(1, 100):
        reach = (every[:, None] != ours[:k]).sum(axis=(1, 2))
        taken = (every[:, None] == ours[:k]).all(axis=2).any(axis=1)
        assert (ours[k][None] != ours[:k]).sum() == reach[~taken].max()


def test_a_rank_is_the_place_in_the_list_of_all_orders():
    every = torch.tensor(list(itertools.permutations(range(5))))
    assert torch.equal(rank_of(every), torch.arange(120))


def test_tiles_lie_in_the_order_of_their_class_whatever_order_they_came_in():
    method = make()
    drawn = orders(*range(50))
    cells = torch.arange(9.0).expand(50, 9)[..., None]
    shown = cells.gather(1, drawn[..., None])  # tile v shows cell drawn[v]
    batch = Batch({"tiles": shown}, torch.arange(50), {"tiles.order": drawn})
    lying, which = method.puzzle(batch)
    assert torch.equal(lying[..., 0].long(), torch.from_numpy(far_apart(9, 30))[which])
    assert len(set(which.tolist())) > 15


def test_the_loss_is_the_papers():
    method = make(standardise=False).eval()
    drawn, tiles = orders(1, 2, 3), gaussian(0, 3, 9, 4)
    step = method(Batch({"tiles": tiles}, torch.arange(3), {"tiles.order": drawn}), Clock(0, 1))
    linear, norm, _ = method.part_head
    [last] = method.head
    every = list(itertools.permutations(range(9)))
    total = 0.0
    for image, order in zip(tiles, drawn.tolist(), strict=True):
        label = every.index(tuple(order)) % 30
        joined = []
        for cell in far_apart(9, 30)[label]:
            tile = linear.weight @ image[order.index(cell)] + linear.bias
            joined.append((tile / (1 + norm.eps) ** 0.5).relu())
        scores = last.weight @ torch.cat(joined) + last.bias
        total = total - (scores[label] - scores.logsumexp(0)) / 3
    inputs = [tiles, linear.weight, last.weight]
    assert_same(step.total, total, inputs, rtol=1e-9, atol=1e-12)


def test_each_tile_is_standardised_by_its_own_numbers():
    tiles = gaussian(3, 2, 9, 3, 6, 6).detach() * 5 + 2
    tiles[0, 0] = 7.0
    ours = standardised(tiles)
    one = tiles[1, 4, 2]
    torch.testing.assert_close(ours[1, 4, 2], (one - one.mean()) / one.std())
    assert not ours[0, 0].any()


def test_brightness_and_contrast_of_a_tile_tell_nothing():
    class Pixels(Raw):
        def forward(self, x, **asked):
            return super().forward(x.flatten(1))

    method, drawn = make(Pixels(12)).eval(), orders(4, 5)
    tiles = gaussian(6, 2, 9, 3, 2, 2).detach()
    factor, shift = (gaussian(s, 2, 9, 3, 1, 1).detach() for s in (7, 8))
    losses = [
        method(Batch({"tiles": x}, torch.arange(2), {"tiles.order": drawn}), Clock(0, 1)).total
        for x in (tiles, tiles * factor.exp() + shift)
    ]
    torch.testing.assert_close(*losses)


def test_the_default_head_is_vissls():
    linear, norm, _ = Jigsaw(Given({"image": Raw(4)}), JigsawConfig(permutations=2)).part_head
    assert (linear.in_features, linear.out_features, norm.dim) == (4, 1000, 1000)
    assert isinstance(linear, nn.Linear)
