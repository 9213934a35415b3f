"""CPC v2: guesses against public code, the context and the patches against what they promise.

What fails if a bug is planted: a row above guessed in place of one below, candidates of one's own
image alone, or guesses without their scale, `test_public_code_gives_the_same_losses_and_gradients`;
a context that sees rows below, `test_a_context_sees_its_row_and_those_above`; patches in columns,
`test_patches_lie_row_by_row`.
"""

import numpy as np
import pytest
import torch
from raw import gaussian, load

from manyviews.core import Clock, UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.losses.infomax import predicted_place
from manyviews.methods.contrastive import cpc
from manyviews.methods.contrastive.cpc import CPC, CPCConfig
from manyviews.parts.context import RowContext
from manyviews.views.image.patches import Patches
from tiny import TinyConv, batch_for, given

PLAIN = {"flip": 0.0, "jitter": 0.0, "grey": 0.0}


def test_public_code_gives_the_same_losses_and_gradients(monkeypatch):
    data = load("cpc")
    guesses, places = data["guesses"].requires_grad_(), data["places"].requires_grad_()
    method = CPC(given(TinyConv()), CPCConfig(out=4))
    each = []

    def kept(*args):
        each.append(predicted_place(*args))
        return each[-1]

    monkeypatch.setattr(cpc, "predicted_place", kept)
    loss = method._guessed(guesses, places)
    torch.testing.assert_close(torch.stack(each).detach(), data["losses"])
    torch.testing.assert_close(loss.detach(), data["losses"].sum())
    found = torch.autograd.grad(loss, (places, guesses))
    for name, gradient in zip(("places", "guesses"), found, strict=True):
        torch.testing.assert_close(gradient, data[f"gradient_{name}"])


def test_a_context_sees_its_row_and_those_above():
    torch.manual_seed(0)
    context = RowContext(3, hidden=4, blocks=2).double()
    for block in context.blocks:
        for p in block.parameters():
            torch.nn.init.uniform_(p, 0.1, 0.5)  # no activation is cut off
    x = gaussian(0, 1, 7, 7, 3).detach().abs().requires_grad_()
    (seen,) = torch.autograd.grad(context(x)[0, 4, 3].sum(), x)
    rows, columns = seen[0].abs().sum(dim=-1).nonzero().T
    assert sorted(set(rows.tolist())) == [2, 3, 4]  # two blocks, a row up each
    assert sorted(set(columns.tolist())) == [1, 2, 3, 4, 5]


def test_a_block_is_the_papers():
    """One place, by hand: products with its row, the row above, and the neighbours of both."""
    torch.manual_seed(0)
    context = RowContext(2, hidden=3, blocks=1).double()
    into, _, across, _, down, _, out = context.blocks[0]
    x = gaussian(0, 1, 3, 3, 2).detach()
    h = (x[0] @ into.weight[:, :, 0, 0].T + into.bias).relu()
    row = [
        sum(across.weight[:, :, 0, c] @ h[y, c] for c in range(3)) + across.bias for y in range(2)
    ]
    both = sum(down.weight[:, :, y, 0] @ row[y] for y in range(2)) + down.bias
    expected = (x[0, 1, 1] + out.weight[:, :, 0, 0] @ both.relu() + out.bias).relu()
    torch.testing.assert_close(context(x)[0, 1, 1], expected)


def test_directions_are_the_same_task_on_a_turned_grid():
    """A grid turned by a half has from below what it had from above."""
    torch.manual_seed(0)
    method = CPC(given(TinyConv()), CPCConfig(directions=2, hidden=4, out=4)).eval()
    method.contexts[1].load_state_dict(method.contexts[0].state_dict())
    method.guess[1].load_state_dict(method.guess[0].state_dict())
    batch = batch_for(method)
    turned = type(batch)({"patches": batch.views["patches"].flip(1)}, batch.index)
    one, other = (method(x, Clock(0, 10)).total for x in (batch, turned))
    torch.testing.assert_close(one, other)


def test_patches_lie_row_by_row():
    patches = Patches(size=6, stride=3, scale=(1.0, 1.0), **PLAIN)
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    make = patches.maker("patches", Pixels(side=24), (), seed=0)
    out = np.zeros((49, 6, 6, 3), np.uint8)
    assert make([image], make.windows(0, 0, 0.0), 0, 0, out) == {}
    for v, patch in enumerate(out):
        top, left = 3 * (v // 7), 3 * (v % 7)
        assert np.array_equal(patch, image[top : top + 6, left : left + 6])


def test_each_patch_has_colours_of_its_own():
    make = Patches(size=8, stride=4).maker("patches", Pixels(side=32), (), seed=0)
    out = np.zeros((49, 8, 8, 3), np.uint8)
    grey = np.full((32, 32, 3), 100, dtype=np.uint8)
    make([grey], make.windows(0, 0, 0.0), 0, 0, out)
    assert len({patch[0, 0].tobytes() for patch in out}) > 10


def test_rows_that_the_grid_does_not_have_are_refused():
    with pytest.raises(UsageError, match=r"--rows is 4; wanted 3 or fewer, as the grid has 7"):
        settings.check(CPCConfig(skip=3, rows=4))
