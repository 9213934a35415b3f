"""InfoMin's branch of shuffled tiles against numbers of the authors' trainer (data/README.md).

What fails if a bug is planted: tiles that are sorted or joined in another order, a head or an
encoder of their own, keys of the wrong view, the queue read after it was written, or weights of the
two losses exchanged, `test_three_steps_are_those_of_the_authors_trainer`; a gradient that reaches
keys, `test_tiles_ask_and_are_never_keys`.
"""

import pytest
import torch
from raw import gaussian, load
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Features
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from tiny import given

SAVED = load("infomin")
NAMES = {"encoder.": "online.encoder.", "head.": "online.head."}
NAMES |= {"head_jig.fc1.": "tile_head.", "head_jig.fc2.": "join."}


class Body(Encoder):
    """The encoder that the authors' trainer was run with."""

    dim, grid = 5, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh())

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        out = self.body(x)
        return Features(out, out[:, None])


def of(prefix):
    """The authors' tensors that begin with a prefix, under our names."""
    found = dict[str, torch.Tensor]()
    for key, value in SAVED.items():
        for theirs, ours in NAMES.items():
            if key.startswith(prefix + theirs):
                found[ours + key.removeprefix(prefix + theirs)] = value
    return found


def made(**more):
    config = {"temperature": 0.15, "queue": 15, "out": 4, "norm_groups": 0, "jigsaw": 0.3} | more
    return MoCo(given(Body()), MoCoConfig(momentum=Cosine(0.9, 0.9), **config)).double().train()


def batch_of(images, tiles):
    return Batch({"global": images, "tiles": tiles}, torch.arange(len(images)))


def test_three_steps_are_those_of_the_authors_trainer():
    method = made()
    method.load_state_dict(of("start."), strict=False)
    method.target.copy.load_state_dict(method.online.state_dict())
    method.queue.items.copy_(SAVED["queue_start"])
    parameters = [p for group in method.param_groups() for p in group.params]
    optimizer = torch.optim.SGD(parameters, lr=0.5, momentum=0.9, weight_decay=0.01)
    steps = zip(SAVED["images"], SAVED["tiles"], SAVED["losses"], strict=True)
    for s, (images, tiles, (image_loss, tiles_loss)) in enumerate(steps):
        step = method(batch_of(images, tiles), Clock(s, 3))
        losses = {name: loss.detach() for name, loss in step.losses.items()}
        wanted = {"info_nce": 0.7 * image_loss, "tiles": 0.3 * tiles_loss}
        torch.testing.assert_close(losses, wanted, rtol=1e-10, atol=0)
        optimizer.zero_grad()
        step.total.backward()
        if s == 0:
            gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
            torch.testing.assert_close(gradients, of("gradient."), rtol=1e-8, atol=1e-12)
        method.after_backward(step, Clock(s, 3))
        optimizer.step()
        method.after_step(Clock(s, 3))
    state = {k: v for k, v in method.state_dict().items() if not k.startswith(("target", "queue"))}
    torch.testing.assert_close(state, of("end."), rtol=1e-8, atol=1e-12)
    keys = {f"online.{k}": v for k, v in method.target.copy.named_parameters()}
    wanted = {k: v for k, v in of("key.").items() if k in keys}
    torch.testing.assert_close(dict(keys), wanted, rtol=1e-8, atol=1e-12)
    for mine, theirs in zip(
        *(q.split(5) for q in (method.queue.items, SAVED["queue_end"])), strict=True
    ):
        rows = [batch[batch[:, 0].argsort()] for batch in (mine, theirs)]  # theirs lie as shuffled
        torch.testing.assert_close(*rows, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
def test_tiles_ask_and_are_never_keys(symmetric):
    torch.manual_seed(0)
    method = made(symmetric=symmetric)
    images, tiles = gaussian(0, 6, 2, 3), gaussian(1, 6, 9, 3)
    step = method(batch_of(images, tiles), Clock(0, 10))
    keys, queue = step.fresh["keys"], method.queue.items.double()
    assert len(keys) == 1 + symmetric
    joined = method._joined(tiles)
    each = [info_nce(joined, key, queue, temperature=0.15) for key in keys]
    torch.testing.assert_close(step.losses["tiles"], 0.3 * torch.stack(each).sum())
    loss = step.losses["tiles"]
    of_images, of_tiles = torch.autograd.grad(loss, (images, tiles), allow_unused=True)
    assert of_tiles.any()
    assert of_images is None


def test_a_tile_that_moves_to_another_place_is_another_question():
    torch.manual_seed(0)
    method, tiles = made().eval(), gaussian(1, 6, 9, 3)
    assert not torch.allclose(method._joined(tiles), method._joined(tiles.roll(1, dims=1)))


def test_without_it_nothing_of_it_is_made_or_wanted():
    method = made(jigsaw=0.0)
    assert method.needs == {"global": 2}
    assert not hasattr(method, "tile_head")
    images = gaussian(0, 6, 2, 3)
    whole = method(batch_of(images, images[:, :0]), Clock(0, 10))
    assert list(whole.losses) == ["info_nce"]
