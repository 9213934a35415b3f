"""Multisensory features against a transcription of its network and loss in plain functions."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from raw import assert_same, gaussian

from manyviews.core import Batch, Clock, Encoder, Features, Given
from manyviews.methods.audiovisual.multisensory import Multisensory, MultisensoryConfig
from manyviews.parts.early_fusion import EarlyFusion
from manyviews.parts.mismatch import shared_seconds

B, CLOCK = 4, Clock(0, 1)
CLIP, SOUND = 2.0, 2.5
GRIDS = {"video": (3, 2, 2), "audio": (5, 2)}


class Map(Encoder):
    """Its places [B, N, D] are fed to it."""

    def __init__(self, dim, grid, seconds):
        super().__init__()
        self.dim, self.grid = dim, grid
        self.input = SimpleNamespace(seconds=seconds, shape=(torch.Size(grid).numel(), dim))
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        return Features(x.mean(dim=1), x)


def make(**settings):
    torch.manual_seed(0)
    encoders = {
        "video": Map(5, GRIDS["video"], CLIP),
        "audio": Map(3, GRIDS["audio"], SOUND),
    }
    config = MultisensoryConfig(**{"width": 4, "depth": 2} | settings)
    method = Multisensory(Given(encoders), config).double()
    with torch.no_grad():
        for k, p in enumerate(method.fusion.parameters()):
            p.add_(0.2 * gaussian(50 + k, *p.shape))
    return method


def some_batch(offset=(2.5, -3.0, 1.5, 0.2)):
    views = {"video": gaussian(0, B, 1, 12, 5), "audio": gaussian(1, B, 1, 10, 3)}
    views["apart"] = gaussian(2, B, 1, 10, 3)
    cue = torch.tensor(offset, dtype=torch.float64)[:, None]
    return Batch(views, torch.arange(B), {"apart.offset": cue})


def normed(x, layer):
    mean = x.mean(dim=(0, 2, 3, 4), keepdim=True)
    variance = x.var(dim=(0, 2, 3, 4), keepdim=True, unbiased=False)
    scale, shift = (p.view(1, -1, 1, 1, 1) for p in (layer.weight, layer.bias))
    return (x - mean) / (variance + layer.eps).sqrt() * scale + shift


def pointwise(x, layer):
    return torch.einsum("bcthw,oc->bothw", x, layer.weight[:, :, 0, 0, 0])


def answers(fusion, clips, sounds):
    """[B] logits; sounds linearly interpolated from five times to the middles of three."""
    t, h, w = GRIDS["video"]
    heard = sounds.view(-1, 5, 2, 3).mean(dim=2)  # over bands
    at = [(k + 0.5) * 5 / 3 - 0.5 for k in range(3)]
    rows = []
    for x in at:
        low = int(x)
        rows.append(heard[:, low] * (low + 1 - x) + heard[:, min(low + 1, 4)] * (x - low))
    laid = torch.stack(rows, dim=2)[..., None, None].expand(-1, -1, -1, h, w)
    x = torch.cat([clips.transpose(1, 2).view(-1, 5, t, h, w), laid], dim=1)
    first, norm, _, last = fusion.merge
    merged = pointwise(normed(pointwise(x, first), norm).clamp(min=0), last)
    x = normed(merged + pointwise(x, fusion.short), fusion.merged).clamp(min=0)
    for block in fusion.blocks:
        first, norm, _, last = block.body
        y = normed(F.conv3d(x, first.weight, padding=1), norm).clamp(min=0)
        x = normed(x + F.conv3d(y, last.weight, padding=1), block.norm).clamp(min=0)
    return x.mean(dim=(2, 3, 4)) @ fusion.answer.weight[0] + fusion.answer.bias


def test_the_loss_and_its_gradient_are_the_formula():
    method, batch = make(overlap=0.5), some_batch()
    clips = batch.views["video"][:, 0].repeat(2, 1, 1)
    sounds = torch.cat([batch.views["audio"][:, 0], batch.views["apart"][:, 0]])
    logits = answers(method.fusion, clips, sounds)
    wanted = 0.0
    for i in (0, 1, 2):  # the last is shifted by too little
        wanted = wanted - logits[i].sigmoid().log() - (1 - logits[B + i].sigmoid()).log()
    step = method(batch, CLOCK)
    used = [*batch.views.values(), *(p for p in method.fusion.parameters())]
    assert_same(step.total, wanted / (2 * B), used, rtol=1e-7, atol=1e-9)
    for name, view in (("video", "video"), ("audio", "audio")):
        mean = batch.views[view].mean(dim=2)
        torch.testing.assert_close(step.embedding[name], mean.detach())


@pytest.mark.parametrize(
    ("offset", "wanted"),
    [(0.0, 2.0), (0.5, 1.5), (2.0, 0.0), (3.0, -1.0), (-0.5, 2.0), (-1.0, 1.5), (-2.5, 0.0)],
)
def test_seconds_that_a_sound_shares_with_its_clip(offset, wanted):
    found = shared_seconds(torch.tensor([offset]), clip=CLIP, sound=SOUND)
    assert found.item() == pytest.approx(wanted)


@pytest.mark.parametrize(("overlap", "counted"), [(0.1, 2), (0.3, 3), (0.95, 4)])
def test_only_what_is_shifted_far_enough_is_asked_about(overlap, counted):
    method, batch = make(overlap=overlap), some_batch()
    shift = batch.views["apart"]
    method(batch, CLOCK).losses["shifted"].backward()
    # batch norm carries gradients to all; what is not asked about gets no more than that
    method.eval()
    shift.grad = None
    method(batch, CLOCK).losses["shifted"].backward()
    assert int(shift.grad.flatten(1).any(dim=1).sum()) == counted


def test_where_time_has_one_place_or_as_many_as_the_sound_nothing_is_interpolated():
    torch.manual_seed(0)
    flat = EarlyFusion((5, 3), ((2, 2), (4, 2)), width=4, depth=1)
    assert flat(torch.randn(2, 4, 5), torch.randn(2, 8, 3)).shape == (2,)
    fusion = EarlyFusion((1, 1), ((4, 1, 1), (4, 2)), width=4, depth=1).eval()
    clip, sound = torch.randn(1, 4, 1), torch.randn(1, 8, 1)
    swapped = sound.view(1, 4, 2, 1).flip(2).reshape(1, 8, 1)  # bands, whose mean is the same
    torch.testing.assert_close(fusion(clip, sound), fusion(clip, swapped))


def test_it_learns_what_only_both_together_tell():
    """A clip's course is its sound's; shifted it has the same values, in another order."""
    torch.manual_seed(0)
    encoders = {"video": Map(2, (6, 1, 1), 1.0), "audio": Map(2, (6, 1), 1.0)}
    method = Multisensory(Given(encoders), MultisensoryConfig(width=16, depth=1))
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        x = torch.randn(32, 1, 6, 2)
        views = {"video": x, "audio": x.clone(), "apart": x.roll(3, dims=2)}
        far = torch.full((32, 1), 5.0)
        step = method(Batch(views, torch.arange(32), {"apart.offset": far}), CLOCK)
        step.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(step.total.item())
    assert losses[0] > 0.5
    assert sum(losses[-10:]) / 10 < 0.2
