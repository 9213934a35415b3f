"""GDT against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
import torch.nn.functional as F
from raw import gaussian, hashed, load

from manyviews.core import Batch, Clock, Encoder, Features, Given
from manyviews.losses.versions import versioned_info_nce
from manyviews.methods.audiovisual.gdt import GDT, GDTConfig

SAVED = load("gdt")
HYPOTHESES = {
    1: ("none", "none"), 2: ("none", "distinct"), 3: ("none", "invariant"),
    4: ("distinct", "none"), 5: ("invariant", "none"), 6: ("distinct", "distinct"),
    7: ("distinct", "invariant"), 8: ("invariant", "distinct"), 9: ("invariant", "invariant"),
}  # fmt: skip
"""The authors' numbers -> shift and reversal."""
NAMES = {(0, False): "", (1, False): "2", (0, True): "R", (1, True): "2R"}


class Flat(Encoder):
    """All values of a view, one after the other."""

    grid = (1,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.seen = dim, []
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        self.seen.append(x)
        flat = x.flatten(1) * self.scale
        return Features(flat, flat[:, None])


def make(shift, reversal, **sizes):
    torch.manual_seed(0)
    given = Given({"video": Flat(12), "audio": Flat(6)}, 9)
    return GDT(given, GDTConfig(shift=shift, reversal=reversal, hidden=5, out=4, **sizes)).double()


def some_batch(count=2):
    views = {"video": gaussian(0, 3, count, 1, 4, 3), "audio": gaussian(1, 3, count, 1, 3, 2)}
    return Batch({k: v.detach() for k, v in views.items()}, torch.arange(3))


@pytest.mark.parametrize("hypothesis", HYPOTHESES)
def test_losses_and_gradients_are_those_of_the_authors_code(hypothesis):
    method = make(*HYPOTHESES[hypothesis])
    raw = {
        f"{m}{s}": hashed(f"{m}{s}", 5, 4).requires_grad_() for m in "va" for s in NAMES.values()
    }
    z = {
        modality: {at: F.normalize(raw[modality[0] + s], dim=1) for at, s in NAMES.items()}
        for modality in ("video", "audio")
    }
    loss = torch.stack([method._pair(z, *pair) for pair in method._pairs()]).mean()
    torch.testing.assert_close(loss.detach(), SAVED[f"{hypothesis}.loss"], rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(loss, list(raw.values()), allow_unused=True)
    found = {k: g for k, g in zip(raw, gradients, strict=True) if g is not None}
    expected = {k: SAVED[f"{hypothesis}.{k}"] for k in raw if f"{hypothesis}.{k}" in SAVED}
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("be", ["none", "distinct", "invariant"])
def test_the_loss_is_the_formula(be):
    query, own, other = (F.normalize(gaussian(s, 4, 3), dim=1) for s in range(3))
    found = versioned_info_nce(query, own, other, be=be, temperature=0.3)
    total = 0.0
    for i in range(4):
        keys = {("own", j): own[j] for j in range(4)} | {("other", j): other[j] for j in range(4)}
        positive = ("other" if be == "invariant" else "own", i)
        if be != "distinct":
            del keys["own" if be == "invariant" else "other", i]
        e = {name: (query[i] @ key / 0.3).exp() for name, key in keys.items()}
        total = total - (e[positive] / sum(e.values())).log()
    torch.testing.assert_close(found, total / 4)


def test_one_version_alone_is_found_among_the_others_of_the_batch():
    query, own = (F.normalize(gaussian(s, 4, 3), dim=1) for s in range(2))
    found = versioned_info_nce(query, own, None, be="none", temperature=0.3)
    expected = F.cross_entropy(query @ own.T / 0.3, torch.arange(4))
    torch.testing.assert_close(found, expected)


def test_both_modalities_run_backwards_and_each_clip_is_seen_both_ways():
    method, batch = make("distinct", "distinct"), some_batch()
    step = method(batch, Clock(0, 1))
    for name in ("video", "audio"):
        [x] = method.encoders[name].seen
        views = batch.views[name]
        wanted = [views[:, 0], views[:, 1], views[:, 0].flip(2), views[:, 1].flip(2)]
        assert torch.equal(x, torch.cat(wanted))
    assert {k: tuple(v.shape) for k, v in step.embedding.items()} == {
        "video": (3, 2, 12),
        "audio": (3, 2, 6),
    }
    torch.testing.assert_close(step.embedding["video"][:, 1], batch.views["video"][:, 1].flatten(1))


@pytest.mark.parametrize(("hypothesis", "versions"), [(1, 1), (2, 2), (4, 2), (9, 4)])
def test_no_more_is_encoded_than_is_compared(hypothesis, versions):
    method = make(*HYPOTHESES[hypothesis])
    clips = method.needs["video"]
    step = method(some_batch(clips), Clock(0, 1))
    step.total.backward()
    assert [len(x) for x in method.encoders["video"].seen] == [3 * versions]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())


def test_keys_get_no_gradient():
    method, batch = make("distinct", "none"), some_batch()
    z = {m: {(0, False): F.normalize(gaussian(s, 3, 4), dim=1)} for s, m in enumerate(batch.views)}
    query = z["video"][0, False]
    loss = method._pair(z, (0, False), (0, False), "none")
    (grad,) = torch.autograd.grad(loss, query, retain_graph=True)
    key = z["audio"][0, False].detach()
    alone = versioned_info_nce(query, key, None, be="none", temperature=0.07) / 2
    torch.testing.assert_close(grad, torch.autograd.grad(alone, query)[0])


def test_the_temperature_is_that_of_the_settings():
    method, (one, two) = make("distinct", "none", temperature=0.4), [(0, False), (1, False)]
    z = {
        m: {at: F.normalize(gaussian(s + k, 3, 4), dim=1) for k, at in enumerate((one, two))}
        for m, s in (("video", 0), ("audio", 2))
    }
    terms = [
        versioned_info_nce(z[q][own], z[k][own], z[k][other], be="distinct", temperature=0.4)
        for own, other in ((one, two), (two, one))
        for q, k in (("video", "audio"), ("audio", "video"))
    ]
    found = method._pair(z, one, two, "distinct")
    torch.testing.assert_close(found, torch.stack(terms).mean())
