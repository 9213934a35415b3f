"""EAT against its equations, written with loops."""

import pytest
import torch
from raw import assert_same, gaussian

from manyviews.core import Batch, Clock, Encoder, Features, Given, UsageError
from manyviews.core.schedules import Ramp
from manyviews.methods.masked.eat import EAT, EATConfig, contextual
from manyviews.parts.masking import kept_blocks

ROWS, COLUMNS, DIM, B = 4, 6, 8, 2
PLACES = ROWS * COLUMNS


class Tokens(Encoder):
    """Rows of numbers times a matrix, once and twice; the class token is what shows, added up."""

    grid, patch, dim = (ROWS, COLUMNS), (1, 1), DIM

    def __init__(self, *, first=True):
        super().__init__()
        self.first = first
        self.map = torch.nn.Parameter(gaussian(9, DIM, DIM).detach() / 3)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        rows = x[:, 0]
        if keep is not None:
            rows = rows.gather(1, keep[..., None].expand(-1, -1, DIM))
        one = (rows @ self.map).tanh()
        two = (one @ self.map).tanh()
        made = (one, two)[-blocks:] if blocks else ()
        return Features(two.mean(dim=1), two, made, two.sum(dim=1) if self.first else None)


def make(encoder=None, **settings):
    torch.manual_seed(0)
    small = {"average": 2, "masks": 3, "side": 2, "layers": 2, "groups": 4}
    return EAT(Given({"audio": encoder or Tokens()}), EATConfig(**small | settings)).double()


def some_batch(views=2):
    return Batch({"global": gaussian(1, B, views, 1, PLACES, DIM)}, torch.tensor([3, 7]))


def normed(x):
    """Rows [n, D], each less its mean over its deviation."""
    return (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def decoded(decoder, rows, keep):
    """[N, D], by sums over neighbours."""
    grid = torch.zeros(ROWS, COLUMNS, DIM, dtype=torch.float64)
    for at, row in zip(keep.tolist(), rows, strict=True):
        grid = grid.index_put((torch.tensor(at // COLUMNS), torch.tensor(at % COLUMNS)), row)
    for layer in decoder.layers:
        out = []
        for r in range(ROWS):
            for c in range(COLUMNS):
                total = layer.bias
                for i in range(3):
                    for j in range(3):
                        y, x = r + i - 1, c + j - 1
                        if 0 <= y < ROWS and 0 <= x < COLUMNS:
                            near = grid[y, x].view(4, 2)  # groups of two channels
                            weight = layer.weight[:, :, i, j].view(4, 2, 2)
                            total = total + torch.einsum("gi,goi->go", near, weight).flatten()
                out.append(total)
        grid = grid + torch.nn.functional.gelu(normed(torch.stack(out))).view_as(grid)
    return grid.flatten(0, 1) @ decoder.out.weight.T + decoder.out.bias


def test_losses_and_gradients_are_those_of_the_equations():
    method, batch, clock = make(utterance=0.5), some_batch(), Clock(4, 10)
    frame, utterance, count = 0.0, 0.0, 0
    keeps = method._keep(batch.index, 2, clock).view(B, 2, 3, -1)
    for b in range(B):
        for v in range(2):
            rows = batch.views["global"][b, v, 0]
            slow = method.target.copy.map
            one = (rows @ slow).tanh()
            two = (one @ slow).tanh()
            mean = sum(normed(x.T).T for x in (one, two)) / 2
            target = normed(mean).detach()
            for keep in keeps[b, v]:
                hidden = [k for k in range(PLACES) if k not in keep.tolist()]
                seen = ((rows[keep] @ method.online.map).tanh() @ method.online.map).tanh()
                made = decoded(method.decoder, seen, keep)
                frame = frame + ((made - target)[hidden] ** 2).sum() / DIM**0.5 / len(hidden)
                utterance = utterance + ((seen.sum(0) - target.mean(0)) ** 2).sum() / DIM**0.5
                count += 1
    inputs = [method.decoder.out.weight, method.online.map]
    found = method(batch, clock).losses
    assert_same(found["frame"], frame / count, inputs, rtol=1e-8, atol=1e-10)
    total, found = 0.5 * utterance / count, method(batch, clock).losses
    assert_same(found["utterance"], total, [method.online.map], rtol=1e-8, atol=1e-10)


def test_the_authors_sum_is_a_mean_that_weighs_as_much_as_it_has_rows():
    """cwx-worst-one/EAT models/EAT_pretraining.py, d2v_loss and forward; fairseq's criterion.

    Errors are added up over everything, those of class tokens times the number of hidden tokens,
    and what comes out is divided by that number.
    """
    rows, hidden = B * 2 * 3, PLACES - int(PLACES * 0.2)
    method, batch, clock = make(utterance=float(rows)), some_batch(), Clock(4, 10)
    keep = method._keep(batch.index, 2, clock)
    images = batch.views["global"].flatten(0, 1)
    target = contextual(method.target(images, blocks=2).hidden).repeat_interleave(3, dim=0)
    seen = method.online(images.repeat_interleave(3, dim=0), keep=keep)
    made = method.decoder(seen.tokens, keep)
    masked = torch.ones(rows, PLACES, dtype=torch.bool).scatter(1, keep, value=False)
    assert masked.sum() == rows * hidden
    errors = [(made - target)[masked] ** 2, (seen.class_token - target.mean(dim=1)) ** 2]
    frame, cls = (error.sum() / DIM**0.5 for error in errors)
    total = (frame + cls * masked.sum()) / masked.sum()
    assert method(batch, clock).total.item() == pytest.approx(total.item(), rel=1e-9)


def test_each_mask_of_a_view_is_another_and_the_same_in_any_batch():
    method, batch = make(), some_batch()
    keep = method._keep(batch.index, 2, Clock(4, 10))
    assert len(keep) == B * 2 * 3
    assert len({tuple(row.tolist()) for row in keep}) > 6  # of a few squares some come twice
    assert torch.equal(method._keep(batch.index[1:], 2, Clock(4, 10)), keep[6:])
    assert not torch.equal(method._keep(batch.index, 2, Clock(5, 10)), keep)


def test_squares_show_and_as_many_patches_in_all():
    grid, side = (16, 8), 5
    drawn = {"grid": grid, "share": 0.2, "extra": 0.07, "side": side, "step": 0}
    keep = kept_blocks(torch.arange(400), **drawn)
    assert keep.shape == (400, int(128 * 0.2))
    assert (keep.diff(dim=1) > 0).all()  # each once
    shown = torch.zeros(400, 128, dtype=torch.bool).scatter(1, keep, value=True).view(400, *grid)
    beside = (shown[:, 1:] & shown[:, :-1]).sum() / shown[:, 1:].sum()
    assert beside > 0.5  # of single patches a fifth would be
    one = kept_blocks(torch.arange(400), **drawn | {"share": 25 / 128, "extra": 0.0})
    whole = torch.zeros(400, 128, dtype=torch.bool).scatter(1, one, value=True).view(400, *grid)
    inner = whole.unfold(1, side, 1).unfold(2, side, 1).flatten(3).all(dim=3).flatten(1)
    assert (inner.sum(dim=1) == 1).float().mean() > 0.3  # one square, where it fits
    mean = shown.float().mean(dim=0)
    assert mean.min() > 0.05
    assert mean.max() < 0.45


def test_an_encoder_without_a_class_token_is_refused():
    with pytest.raises(UsageError, match="has none"):
        make(Tokens(first=False))(some_batch(), Clock(0, 1))


def test_the_teacher_follows_and_sees_the_whole():
    method = make(momentum=Ramp(0.9, 0.9))
    before = method.target.copy.map.clone()
    with torch.no_grad():
        method.online.map.add_(1.0)
    method.after_step(Clock(1, 10))
    torch.testing.assert_close(method.target.copy.map, before + 0.1)
    batch = some_batch()
    loss = method(batch, Clock(0, 1)).losses["frame"]
    changed = batch.views["global"].detach().clone()
    keep = method._keep(batch.index, 2, Clock(0, 1)).view(B, 2, 3, -1)
    out = (set(range(PLACES)) - set(keep[0, 0].flatten().tolist())).pop()
    changed[0, 0, 0, out] += 1.0  # hidden from the student in every mask
    assert method(Batch({"global": changed}, batch.index), Clock(0, 1)).losses["frame"] != loss
