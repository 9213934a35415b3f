"""Colorization against numbers of the authors' layers (data/README.md) and the paper's formulas.

What fails if a bug is planted: colours of other places than the token's, lightness that shows
colours, the distance not squared, fewer bins, grey images that count: here; weights that are not of
mean 1, or of the second bin: the authors' layers.
"""

import pytest
import torch
from raw import load
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Features, Given, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.lab import from_lab, to_lab
from manyviews.losses.classification import soft_classify
from manyviews.methods.pretext.colorization import Colorization, ColorizationConfig
from manyviews.parts.gamut import Rarity, colour_bins, rebalanced, soft_bins

SAVED = load("colorization")
CLOCK = Clock(0, 10)
FED = Pixels(side=8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


class Grid(Encoder):
    """A token for each of 2 x 2 squares; remembers what it saw."""

    input = FED
    dim = 3
    grid = (2, 2)

    def __init__(self, channels=3):
        super().__init__()
        self.input = Pixels(side=8, channels=channels, mean=FED.mean[:channels], std=(0.2,))
        self.input = FED if channels == 3 else self.input
        self.map = nn.Conv2d(channels, 3, 4, 4)
        self.seen = []

    def forward(self, x, **_):
        self.seen.append(x)
        tokens = self.map(x).flatten(2).transpose(1, 2)
        return Features(tokens.mean(dim=1), tokens)


def made(**settings):
    torch.manual_seed(0)
    config = ColorizationConfig(**{"places": 2, "hidden": 0, **settings})
    return Colorization(Given({"image": Grid()}, 9), config).double()


def pixels(seed=0, size=3):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(size, 3, 8, 8, generator=g, dtype=torch.float64)


def fed(images):
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (FED.mean, FED.std))
    return (images - mean) / std


def batch_of(images):
    return Batch({"global": fed(images)[:, None]}, torch.arange(len(images)))


def test_encoding_weights_and_gradient_are_those_of_the_authors_layers():
    ab = SAVED["ab"].movedim(1, -1)
    index, share = soft_bins(ab, SAVED["bins"], count=10, sigma=5.0)
    dense = torch.zeros(*ab.shape[:-1], 313).double().scatter_(-1, index, share)
    torch.testing.assert_close(dense, SAVED["encoded"].movedim(1, -1))
    factor = rebalanced(SAVED["prior"], uniform=0.5)
    torch.testing.assert_close(factor, SAVED["factor"])
    counted = (SAVED["ab"].abs() > 5).flatten(1).any(dim=1)
    assert torch.equal(counted, SAVED["mask"].flatten())
    weight = factor[index[..., 0]] * counted[:, None, None]
    torch.testing.assert_close(factor[index[..., 0]], SAVED["boost"][:, 0])
    logits = SAVED["logits"].requires_grad_()
    loss = soft_classify(logits.movedim(1, -1), index, share, factor=weight)
    # Their layers change the gradient and not the loss that is shown.
    expected = (SAVED["cross_entropy"] * weight).mean()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, SAVED["gradient"], rtol=1e-7, atol=1e-12)


def test_the_bins_are_the_authors_but_for_three_that_no_colour_is_near_to():
    bins, theirs = colour_bins(), SAVED["bins"]
    ours = {tuple(x) for x in bins.tolist()}
    both = ours & {tuple(x) for x in theirs.tolist()}
    assert (len(bins), len(both)) == (313, 310)
    g = torch.Generator().manual_seed(1)
    colours = to_lab(torch.rand(3, 4000, 1, generator=g)).flatten(1)[1:].T
    nearest = [
        x[soft_bins(colours, x, count=1, sigma=5.0)[0][:, 0]] for x in (bins, theirs.float())
    ]
    assert torch.equal(*nearest)
    assert (nearest[0] - colours).abs().max() <= 5 + 1e-3


def test_the_loss_is_that_of_each_places_own_colour():
    method, images = made(neighbours=4), pixels()
    method.rarity.factor.copy_(torch.rand(313, generator=torch.Generator().manual_seed(3)))
    step = method(batch_of(images), CLOCK)
    grey = method.backbone.seen[-1]
    logits = method.head[0](method.backbone(grey).tokens)  # [B, 4, 4 * 313]
    ab, bins, total = to_lab(images)[:, 1:], colour_bins().double(), 0.0
    for b in range(3):
        for y in range(4):
            for x in range(4):
                colour = ab[b, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(dim=(1, 2))
                away = (bins - colour).norm(dim=1)
                near = away.argsort()[:4]
                share = (-(away[near] ** 2) / 50).exp()
                token, place = 2 * (y // 2) + x // 2, 2 * (y % 2) + x % 2
                log_p = logits[b, token].view(4, 313)[place].log_softmax(dim=0)
                lost = -(share / share.sum() * log_p[near]).sum()
                total = total + method.rarity.factor[near[0]] * lost / 48
    torch.testing.assert_close(step.total, total, rtol=1e-6, atol=1e-8)
    weight = method.head[0].weight
    (mine,), (theirs,) = (torch.autograd.grad(x, weight) for x in (step.total, total))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_the_encoder_is_shown_lightness_and_no_colour():
    method, images = made(), pixels()
    method(batch_of(images), CLOCK)
    shown = FED.restore(method.backbone.seen[-1])
    torch.testing.assert_close(shown[:, 0], shown[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(shown[:, 0], shown[:, 2], rtol=0, atol=1e-4)
    torch.testing.assert_close(to_lab(shown)[:, 0], to_lab(images)[:, 0], rtol=0, atol=1e-3)
    lab = to_lab(images)
    lab[:, 1:] *= 0.5  # other colours, as light
    method(batch_of(from_lab(lab).clamp(0, 1)), CLOCK)
    other = FED.restore(method.backbone.seen[-1])
    assert (other - shown).abs().max() < 0.2 < (lab[:, 1:] - to_lab(images)[:, 1:]).abs().max()


def test_images_without_colours_do_not_count():
    method, images = made(), pixels()
    images[1] = images[1].mean(dim=0)
    step = method(batch_of(images), CLOCK)
    alone = method(batch_of(images[[0, 2]]), CLOCK)
    torch.testing.assert_close(step.total, alone.total * 2 / 3)


def test_rarity_is_measured_once_over_the_images_that_can_be_read():
    method, images = made(), pixels(5, 9)

    def embed_all(f, *, share):
        assert share
        rows = f({"image": fed(images)})
        rows[4] = torch.nan
        return rows.float()

    method.before_epoch(CLOCK, embed_all)
    index, share = method._encode(method._places(to_lab(images)[:, 1:]))
    counted = torch.zeros(9, 313).double()
    for b in range(9):
        for k, s in zip(index[b].flatten().tolist(), share[b].flatten().tolist(), strict=True):
            counted[b, k] += s / 16
    expected = counted[[0, 1, 2, 3, 5, 6, 7, 8]].mean(dim=0)
    torch.testing.assert_close(method.rarity.prior, expected, rtol=1e-5, atol=1e-7)
    assert (method.rarity.prior * method.rarity.factor).sum().item() == pytest.approx(1)

    def never(*_, **__):
        raise AssertionError("rarity is known")

    method.before_epoch(Clock(5, 10, 1, 2), never)


def test_a_rarer_class_counts_more_and_none_counts_as_the_rarest():
    weight = rebalanced(torch.tensor([0.5, 0.3, 0.2, 0.0]), uniform=0.5)
    assert weight[0] < weight[1] < weight[2] == weight[3]
    assert torch.equal(rebalanced(torch.tensor([0.5, 0.5]), uniform=1.0), torch.ones(2))
    assert Rarity(4, uniform=0.5).factor.tolist() == [1.0] * 4


def test_an_encoder_of_grey_images_is_refused_in_one_line():
    with pytest.raises(
        UsageError, match=r"Colorization wants colour images.* is fed 1 channels\. "
    ):
        Colorization(Given({"image": Grid(1)}, 9), ColorizationConfig())
