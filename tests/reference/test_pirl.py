"""PIRL against its formula and against numbers of the authors' code (data/README.md)."""

import math

import pytest
import torch
from raw import Raw, assert_alike, assert_same, gaussian, hashed, load, summary, weigh
from torch import nn

from manyviews import encoders
from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import TimmConfig
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import nce, own_info_nce
from manyviews.methods.contrastive.pirl import PIRL, PIRLConfig
from manyviews.training.optim import build
from manyviews.training.settings import Optim

SAVED = load("pirl")
RESNET = load("pirl_resnet50")
EPSILON = torch.finfo(torch.float32).eps  # vissl adds it to both denominators, we do not
NAMES = {"tile.clf": "part_head", "join.clf.0": "join", "image.clf": "head"}


def of(kind, prefix):
    """The authors' tensors that begin with a prefix, under our names."""
    begin = f"{kind}.{prefix}."
    found = {k.removeprefix(begin): v for k, v in SAVED.items() if k.startswith(begin)}
    for theirs, ours in NAMES.items():
        found = {k.replace(theirs, ours, 1): v for k, v in found.items()}
    return found


def by_probabilities(query, own, noise, z, *, temperature, samples, epsilon=0.0):
    """NCE by probabilities, sample by sample: h = P / (P + K/N), P = exp(s/T) / Z."""
    total = 0.0
    for q, m, negatives in zip(query, own, noise, strict=True):
        prior = len(negatives) / samples
        p = (q @ m / temperature).exp() / z
        total = total - (p / (p + prior + epsilon)).log()
        for n in negatives:
            p = (q @ n / temperature).exp() / z
            total = total - (prior / (p + prior + epsilon)).log()
    return total / len(query)


def toy(kind):
    """The network of the saved run, its negatives those that the authors' class drew."""
    bank = SAVED[f"{kind}.bank_start"]
    config = PIRLConfig(
        loss=kind,
        temperature=float(SAVED[f"{kind}.temperature"]),
        negatives=SAVED[f"{kind}.drawn_0"].shape[-1] - 1,
        hidden=6 if kind == "info_nce" else 0,
        out=bank.shape[1],
    )
    method = PIRL(Given({"image": Raw(5)}, len(bank)), config).double()
    method.load_state_dict(of(kind, "start"), strict=False)
    method.bank.items.copy_(bank)
    return method


def batch_of(images, tiles, index=None):
    index = torch.arange(len(images)) if index is None else index
    return Batch({"global": images[:, None], "tiles": tiles}, index)


@pytest.mark.parametrize("kind", ["nce", "info_nce"])
def test_three_steps_are_those_of_the_authors_classes(kind, monkeypatch):
    method = toy(kind)
    # Our noise has no epsilon in it: of a prior of K/N = 6/11 it is 2e-7.
    close = {"rtol": 5e-6, "atol": 1e-7} if kind == "nce" else {"rtol": 1e-10, "atol": 1e-13}
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.5)
    for s in range(3):
        drawn = SAVED[f"{kind}.drawn_{s}"]
        monkeypatch.setattr(
            method.bank, "negatives", lambda index, *, branch, d=drawn, **_: d[branch, :, 1:]
        )
        views = SAVED[f"{kind}.images"][s], SAVED[f"{kind}.tiles"][s]
        clock = Clock(s, 3)
        step = method(batch_of(*views, SAVED[f"{kind}.index"][s]), clock)
        torch.testing.assert_close(step.total.detach(), SAVED[f"{kind}.loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        torch.testing.assert_close(gradients, of(kind, f"gradient_{s}"), **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        torch.testing.assert_close(method.bank.items, SAVED[f"{kind}.bank_{s}"], **close)
        if kind == "nce":
            z = method.partition.value * len(method.bank.items)
            torch.testing.assert_close(z, SAVED[f"nce.z_{s}"], **close)
    heads = {k: v for k, v in method.state_dict().items() if k in of(kind, "end")}
    torch.testing.assert_close(heads, of(kind, "end"), **close)


def theirs(name):
    """Our name of a tensor of the whole network -> theirs."""
    for ours, other in {"backbone.model": "trunk._feature_blocks", "part_head": "tile.clf"}.items():
        name = name.replace(ours, other)
    for ours, other in {"join": "join.clf.0", "head": "image.clf"}.items():
        name = other + name.removeprefix(ours) if name.startswith(ours) else name
    return name


def test_three_steps_of_a_resnet_50_are_those_of_the_authors_classes(monkeypatch):
    """Trunk, heads, loss and SGD; also the running statistics, which see the tiles first.

    With so many negatives the epsilon of theirs is a share of 6e-9 of the noise.
    """
    bank = torch.nn.functional.normalize(hashed("bank", 11, 8), dim=1)
    temperature = float(RESNET["temperature"])
    config = PIRLConfig(temperature=temperature, negatives=220, out=8)
    encoder = encoders.build(TimmConfig(name="resnet50", input=Pixels(side=48)))
    method = PIRL(Given({"image": encoder}, 11), config).double()
    weigh(method, theirs)
    method.bank.items.copy_(bank)
    updates = build(method, Optim(name="sgd", lr_per=0, lr_end=1.0), 3)
    close = {"rtol": 1e-5, "atol": 1e-5}
    for s in range(3):
        drawn = RESNET[f"drawn_{s}"]
        monkeypatch.setattr(
            method.bank, "negatives", lambda index, *, branch, d=drawn, **_: d[branch, :, 1:]
        )
        images = 2 * hashed(f"images.{s}", 3, 3, 48, 48)
        tiles = 2 * hashed(f"tiles.{s}", 27, 3, 16, 16).unflatten(0, (3, 9))
        clock = Clock(s, 3)
        step = method(batch_of(images, tiles, RESNET[f"index_{s}"]), clock)
        torch.testing.assert_close(step.total.detach(), RESNET[f"loss_{s}"], **close)
        updates.clear()
        step.total.backward()
        gradients = {theirs(k): p.grad for k, p in method.named_parameters()}
        assert_alike(summary(gradients), RESNET[f"gradient_{s}"])
        method.after_backward(step, clock)
        updates.set_rates(clock)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        torch.testing.assert_close(method.bank.items, RESNET[f"bank_{s}"], **close)
        torch.testing.assert_close(method.partition.value * 11, RESNET[f"z_{s}"], **close)
        found = {theirs(k): p for k, p in method.named_parameters()}
        assert_alike(summary(found), RESNET[f"end_{s}"])
    running = {theirs(k): v for k, v in method.named_buffers() if "running" in k}
    assert_alike(summary(running), RESNET["running"])


def test_epsilon_is_all_that_sets_our_loss_apart_from_the_authors():
    method, bank = toy("nce"), SAVED["nce.bank_start"]
    index, drawn = SAVED["nce.index"][0], SAVED["nce.drawn_0"]
    with torch.no_grad():
        images, tiles = SAVED["nce.images"][0], SAVED["nce.tiles"][0]
        z = [method.join(method.part_head(tiles).flatten(1)), method.head(images)]
    numbers = {"temperature": method.config.temperature, "samples": len(bank), "epsilon": EPSILON}
    branches = [
        by_probabilities(unit(x), bank[index], bank[d[:, 1:]], SAVED["nce.z_0"], **numbers)
        for x, d in zip(z, drawn, strict=True)
    ]
    torch.testing.assert_close(sum(branches) / 2, SAVED["nce.loss_0"], rtol=1e-12, atol=0)


def test_nce_is_the_papers_formula():
    query, own, noise = gaussian(0, 4, 3), gaussian(1, 4, 3), gaussian(2, 4, 7, 3)
    positive = (query * own).sum(dim=1) / 0.5
    negatives = (noise @ query[:, :, None])[..., 0] / 0.5
    partition = torch.tensor(1.7, dtype=torch.float64)
    ours = nce(positive, negatives, partition=partition)
    theirs = by_probabilities(query, own, noise, 1.7 * 20, temperature=0.5, samples=20)
    assert_same(ours, theirs, (query, own, noise), rtol=1e-10, atol=1e-12)


def test_info_nce_with_own_negatives_is_the_softmax_of_the_positive():
    positive, negatives = gaussian(0, 4), gaussian(1, 4, 7)
    theirs = 0.0
    for p, n in zip(positive, negatives, strict=True):
        theirs = theirs - (p.exp() / (p.exp() + n.exp().sum())).log() / 4
    assert_same(own_info_nce(positive, negatives), theirs, (positive, negatives))


def small(**settings):
    torch.manual_seed(0)
    config = PIRLConfig(**{"negatives": 16, "out": 4, **settings})
    return PIRL(Given({"image": Raw(5)}, 12), config).double()


def some_batch(seed=0):
    return batch_of(gaussian(seed, 6, 5).detach(), gaussian(seed + 1, 6, 9, 5).detach())


def test_the_bank_is_written_from_the_image_branch_alone():
    method = small()
    before = method.bank.items.clone()
    batch = some_batch()
    step = method(batch, Clock(0, 10))
    image = unit(method.head(batch.views["global"][:, 0])).detach()
    method.after_backward(step, Clock(0, 10))
    method.after_step(Clock(0, 10))
    torch.testing.assert_close(method.bank.items[:6], unit(before[:6] + image))
    assert torch.equal(method.bank.items[6:], before[6:])


def test_the_partition_is_of_the_first_transformed_branch_for_ever():
    method = small()
    clock = Clock(0, 10)
    step = method(some_batch(), clock)
    z = step.projection[:, 1].detach()
    drawn = method.bank.negatives(torch.arange(6), count=16, step=0, branch=0, own=True)
    which = torch.cat([torch.arange(6)[:, None], drawn], dim=1)
    expected = ((method.bank.items[which] @ z[:, :, None]) / 0.07).exp().mean()
    method.after_backward(step, clock)
    torch.testing.assert_close(method.partition.value, expected)
    method.after_step(clock)
    later = method(some_batch(5), Clock(1, 10))
    assert torch.equal(later.fresh["partition"], method.partition.value)
    method.after_backward(later, Clock(1, 10))
    torch.testing.assert_close(method.partition.value, expected)


def test_the_branches_draw_different_negatives():
    method = small()
    one, two = (
        method.bank.negatives(torch.arange(6), count=16, step=0, branch=b, own=True) for b in (0, 1)
    )
    assert (one != two).float().mean() > 0.5


def test_each_step_draws_other_negatives():
    method, batch = small(), some_batch()
    method.partition.store(torch.tensor(1.0))  # or the first step would set it
    first, again, later = (method(batch, Clock(step, 10)).losses for step in (0, 0, 1))
    for branch in ("transformed", "image"):
        assert first[branch] == again[branch]
        assert abs(first[branch] - later[branch]) > 1e-4 * abs(first[branch])


@pytest.mark.parametrize("kind", ["nce", "info_nce"])
def test_equal_scores_are_the_floor(kind):
    method = small(loss=kind)
    method.bank.items.fill_(0.5)
    step = method(some_batch(), Clock(5, 10, epoch=2))
    uneven = step.watch["contrastive_floor"]
    with torch.no_grad():
        for head in (method.head, method.part_head, method.join):
            for p in head.parameters():
                p.zero_()  # unit() of nothing is nothing
    step = method(some_batch(), Clock(5, 10, epoch=2))
    torch.testing.assert_close(step.watch["contrastive_floor"].item(), 1.0)
    assert uneven != 1.0
    k = 16
    expected = math.log(1 + k) + (k * math.log(1 + 1 / k) if kind == "nce" else 0)
    torch.testing.assert_close(step.total.item(), expected)


def test_the_weight_of_the_transformed_branch_scales_it():
    batch, clock = some_batch(), Clock(0, 10)
    even, uneven = (small(transformed=w)(batch, clock).losses for w in (0.5, 0.8))
    torch.testing.assert_close(uneven["transformed"], even["transformed"] * 1.6)
    torch.testing.assert_close(uneven["image"], even["image"] * 0.4)


def test_no_gradient_reaches_the_bank_or_the_partition():
    method = small()
    step = method(some_batch(), Clock(0, 10))
    assert not any(x.requires_grad for x in step.fresh.values())
    assert not method.bank.items.requires_grad


@pytest.mark.parametrize("hidden", [0, 6])
def test_rotation_reads_one_turned_view_and_joins_nothing(hidden):
    method = small(transform="rotation", hidden=hidden)
    assert isinstance(method.part_head[-1], nn.Linear)
    assert method.needs == {"global": 1, "turned": 1}
    assert isinstance(method.join, nn.Identity)
    views = {"global": gaussian(0, 6, 1, 5).detach(), "turned": gaussian(1, 6, 1, 5).detach()}
    step = method(Batch(views, torch.arange(6)), Clock(0, 10))
    z = unit(method.part_head(views["turned"][:, 0]))
    torch.testing.assert_close(step.projection[:, 1], z)


def test_a_data_set_of_unknown_size_is_refused():
    with pytest.raises(UsageError, match=r"Given\.samples"):
        PIRL(Given({"image": Raw(5)}), PIRLConfig())
