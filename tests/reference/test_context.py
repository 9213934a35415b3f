"""Context prediction against its formula."""

import pytest
import torch
from raw import Raw, assert_same, gaussian
from torch import nn

from manyviews.core import Batch, Clock, Given
from manyviews.core.inputs import Pixels
from manyviews.methods.pretext.context import Context, ContextConfig, one_channel, projected
from manyviews.parts.puzzle import in_place


class Flat(Raw):
    """The pixels themselves."""

    input = Pixels(side=2, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5))

    def forward(self, x, **asked):
        return super().forward(x.flatten(1))


def make(**settings):
    torch.manual_seed(0)
    return Context(Given({"image": Flat(12)}), ContextConfig(hidden=5, **settings)).double().eval()


def batch_of(tiles, *seeds):
    drawn = [torch.randperm(9, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return Batch({"tiles": tiles}, torch.arange(len(tiles)), {"tiles.order": torch.stack(drawn)})


def test_the_loss_is_the_papers_over_all_eight_neighbours():
    """Figure 2: the neighbours are numbered row by row, the centre left out."""
    method, tiles = make(colour="keep"), gaussian(0, 2, 9, 3, 2, 2)
    batch = batch_of(tiles, 1, 2)
    step = method(batch, Clock(0, 1))
    first, norm, _, last = method.head
    total = 0.0
    for image, order in zip(tiles, batch.cues["tiles.order"].tolist(), strict=True):
        cell = {c: image[v].flatten() for v, c in enumerate(order)}
        for label, c in enumerate([0, 1, 2, 3, 5, 6, 7, 8]):
            x = first.weight @ torch.cat([cell[4], cell[c]]) + first.bias
            scores = last.weight @ (x / (1 + norm.eps) ** 0.5).relu() + last.bias
            total = total - (scores[label] - scores.logsumexp(0)) / 16
    assert_same(step.total, total, [tiles, first.weight, last.weight], rtol=1e-9, atol=1e-12)


def test_tiles_go_back_to_their_cells():
    batch = batch_of(torch.zeros(3, 9, 1), 1, 2, 3)
    order = batch.cues["tiles.order"]
    assert torch.equal(in_place(order, order), torch.arange(9).expand(3, 9))


def test_the_projection_is_the_papers_matrix():
    """Footnote 1 of section 3.1: B = I - a' a / (a a'), a = [-1, 2, -1]."""
    colours = gaussian(1, 4, 3, 2, 2)
    a = torch.tensor([[-1.0, 2.0, -1.0]], dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64) - a.T @ a / (a @ a.T)
    expected = torch.einsum("ij,bjhw->bihw", matrix, colours)
    torch.testing.assert_close(projected(colours), expected)


def test_green_against_magenta_tells_nothing_whatever_the_normalisation():
    method, tiles = make(), gaussian(2, 2, 9, 3, 2, 2).detach()
    a = torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.5], dtype=torch.float64).view(3, 1, 1)
    shifted = tiles + gaussian(3, 2, 9, 1, 2, 2).detach() * a / std  # in pixels, along a
    plain, moved, other = (
        method(batch_of(x, 1, 2), Clock(0, 1)).total for x in (tiles, shifted, tiles + a)
    )
    torch.testing.assert_close(plain, moved)
    assert not torch.isclose(plain, other)


def test_a_dropped_tile_has_one_channel_left_and_every_channel_is_kept():
    shown = gaussian(4, 2, 9, 3, 4, 4).detach()
    kept = one_channel(shown)
    left = (kept != 0).any(dim=(-2, -1))
    assert torch.equal(left.sum(dim=2), torch.ones(2, 9, dtype=torch.long))
    assert torch.equal(left.sum(dim=1), torch.full((2, 3), 3))
    assert torch.equal(kept[kept != 0], shown[kept != 0])


@pytest.mark.parametrize("colour", ["project", "drop"])
def test_images_without_colours_stay_as_they_are(colour):
    tiles = gaussian(5, 2, 9, 1, 2, 2).detach()
    losses = []
    for settings in ({"colour": colour}, {"colour": "keep"}):
        torch.manual_seed(0)
        method = Context(Given({"image": Flat(4)}), ContextConfig(hidden=5, **settings))
        losses.append(method.double().eval()(batch_of(tiles, 1, 2), Clock(0, 1)).total)
    assert losses[0] == losses[1]


def test_both_tiles_meet_in_the_head_alone():
    method = make()
    sizes = [(m.in_features, m.out_features) for m in method.head if isinstance(m, nn.Linear)]
    assert sizes == [(24, 5), (5, 8)]
