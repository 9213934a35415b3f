"""Colorization by pointing against the formula, place by place."""

import pytest
import torch
from raw import assert_same, gaussian

from manyviews.core import Batch, Clock, Encoder, Features, UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.lab import to_lab
from manyviews.losses.classification import copied
from manyviews.methods.pretext.pointing import Pointing, PointingConfig
from manyviews.parts.palette import Palette
from tiny import given


class Seen(Encoder):
    """Tokens are the pixels that it is shown, each frame's row by row."""

    dim = 3

    def __init__(self, times):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))
        shown = {"side": 2, "mean": (0.4,), "std": (0.2,)}
        self.input = Frames(frames=times, **shown) if times else Pixels(**shown)
        self.grid = (times, 2, 2) if times else (2, 2)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        found = x.flatten(2).transpose(1, 2)
        return Features(found.mean(dim=1), found)


def fed(pixels):
    return (pixels - 0.4) / 0.2


def video(seed, samples=3, frames=4):
    """[B, F, 3, 2, 2] in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(samples, frames, 3, 2, 2, generator=g, dtype=torch.float64)


PALETTE = torch.tensor([[-30.0, -30.0], [40.0, 0.0], [0.0, 50.0]], dtype=torch.float64)


def make(times):
    torch.manual_seed(0)
    method = Pointing(given(Seen(times)), PointingConfig(colours=3, out=4, temperature=0.5))
    method.palette.colours.copy_(PALETTE)
    return method.double()


def wanted(method, pixels):
    """The formula, by loops."""
    lab = to_lab(pixels)
    linear, terms = method.head, []
    for frames in lab:
        places, colours = [], []
        for frame in frames:
            light = frame[0].flatten() / 100
            places.append([linear.weight @ fed(x.expand(3)) + linear.bias for x in light])
            ab = frame[1:].flatten(1).T
            colours.append([int((c - PALETTE).norm(dim=1).argmin()) for c in ab])
        for place, colour in zip(places[-1], colours[-1], strict=True):
            scores = [place @ other / 0.5 for frame in places[:-1] for other in frame]
            shares = torch.stack(scores).softmax(dim=0)
            seen = torch.tensor([c for frame in colours[:-1] for c in frame])
            terms.append(-(1e-6 + shares[seen == colour].sum()).log())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("times", [0, 4, 2])
def test_the_loss_and_its_gradient_are_the_formula_for_frames_of_one_clip_or_of_several(times):
    method, pixels = make(times), video(0)
    views = pixels
    if times:
        views = pixels.unflatten(1, (-1, times)).transpose(2, 3)
    step = method(Batch({"global": fed(views)}, torch.arange(3)), Clock(0, 1))
    inputs = [method.head.weight, method.head.bias]
    # The bias is of all scores of a place alike, but for its product with the target's.
    assert_same(step.total, wanted(method, pixels), inputs, rtol=1e-7, atol=1e-9)
    assert method.needs == {"global": 2 if times == 0 else 1}


def test_the_encoder_is_shown_no_colours():
    method, pixels = make(4), video(1)
    clip = pixels.transpose(1, 2)[:, None]
    grey = to_lab(pixels)
    grey[:, :, 1:] = 0
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    method(Batch({"global": fed(clip)}, torch.arange(3)), Clock(0, 1))
    [x] = seen
    assert torch.equal(x[:, 0], x[:, 1])
    assert torch.equal(x[:, 0], x[:, 2])
    torch.testing.assert_close(x[:, 0] * 0.2 + 0.4, grey[:, :, 0] / 100)


def test_a_colour_that_no_reference_has_costs_a_constant():
    scores = gaussian(0, 1, 2, 3)
    classes, target = torch.tensor([[0, 1, 1]]), torch.tensor([[1, 2]])
    loss = copied(scores, classes, target, least=1e-6)
    share = scores[0, 0].softmax(dim=0)[1:].sum()
    total = (-(share + 1e-6).log() - torch.tensor(1e-6).double().log()) / 2
    assert_same(loss, total, [scores])
    assert not torch.autograd.grad(copied(scores, classes, target, least=1e-6), scores)[0][
        0, 1
    ].any()


def test_the_palette_is_the_centres_of_clusters_and_names_the_nearest():
    torch.manual_seed(0)
    centres = torch.tensor([[-50.0, 0.0], [0.0, 60.0], [70.0, -40.0]])
    rows = (centres[:, None] + torch.randn(3, 200, 2)).flatten(0, 1)
    rows = torch.cat([rows, torch.full((5, 2), torch.nan)])
    for seed in range(20):  # from three rows of which two may be of one cluster
        torch.manual_seed(seed)
        palette = Palette(3)
        palette.find(rows)
        order = palette(centres)
        if len(set(order.tolist())) == 3:
            break
    assert palette.found
    torch.testing.assert_close(palette.colours[order], centres, rtol=0, atol=0.3)
    assert torch.equal(palette(rows[:600]).view(3, 200), order[:, None].expand(3, 200))
    with pytest.raises(UsageError, match=r"7 colours .* among 2\. Lower --method\.colours"):
        Palette(7).find(torch.zeros(2, 2))


def test_the_palette_is_found_before_the_first_epoch_and_kept():
    method, calls = make(4), []

    def embed_all(f, *, share=False):
        calls.append(f({"video": fed(video(len(calls)).transpose(1, 2)).float()}))
        return calls[-1]

    method = method.float()
    method.before_epoch(Clock(0, 1), embed_all)
    found = method.palette.colours.clone()
    method.before_epoch(Clock(1, 2), embed_all)
    assert len(calls) == 1
    assert not torch.equal(found, PALETTE.float())
    assert torch.equal(method.palette.colours, found)
    ab = to_lab(video(0)[:, :, :, 0, 0][..., None, None])[:, 0, 1:, 0, 0]
    torch.testing.assert_close(calls[0].view(3, 16, 2)[:, 0], ab.float(), rtol=1e-4, atol=1e-3)


def test_an_encoder_without_colours_is_refused():
    class Deaf(Seen):
        def __init__(self):
            super().__init__(0)
            self.input = LogMel()

    with pytest.raises(
        UsageError, match=r"red, green and blue, and the encoder is fed no channels"
    ):
        Pointing(given(Deaf()), PointingConfig())
