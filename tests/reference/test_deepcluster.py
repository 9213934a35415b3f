"""DeepCluster-v2 against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
import torch.nn.functional as F
from raw import Raw, assert_alike, assert_same, gaussian, hashed, load, summary, weigh
from torch import nn

from manyviews import encoders
from manyviews.core import Batch, Clock, Given
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import TimmConfig
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.methods.clustering.deepcluster import DeepCluster, DeepClusterConfig
from manyviews.parts.cluster import UNASSIGNED
from manyviews.training.optim import build
from manyviews.training.settings import Optim

SAVED = load("deepcluster")
RESNET = load("deepcluster_resnet50")
SAMPLES, HEADS = 13, (4, 3, 5)


def make(*, samples=SAMPLES, prototypes=HEADS):
    torch.manual_seed(0)
    config = DeepClusterConfig(hidden=4, out=3, prototypes=prototypes)
    method = DeepCluster(Given({"image": Raw(5)}, samples), config).double()
    method.online.head = nn.Linear(5, 3).double()
    return method


def batch_of(crops, index):
    """[B, 4, D] -> 2 global and 2 local views."""
    return Batch({"global": crops[:, :2], "local": crops[:, 2:]}, index)


def never(_):
    raise AssertionError("the bank is full: nothing is to be embedded")


def gradient_of(method):
    return {k: p.grad for k, p in method.online.head.named_parameters()}


def saved(prefix):
    return {k: SAVED[f"{prefix}.{k}"] for k in ("weight", "bias")}


def test_two_epochs_are_those_of_the_authors_code(monkeypatch):
    """The first leaves out one sample, which has no cluster in the second."""
    method = make()
    method.online.head.load_state_dict(saved("start"))
    known = SAVED["bank_start"].shape[1]
    for bank, rows in zip((method.one, method.two), SAVED["bank_start"], strict=True):
        bank.items.fill_(torch.nan)
        bank.items[:known] = rows
    method.assignment[0, 0] = 0  # not the start: the banks are full
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.3)
    draw, close = torch.randperm, {"rtol": 1e-10, "atol": 1e-13}
    monkeypatch.setattr(
        torch, "randperm", lambda n: torch.cat([draw(n - 1), torch.tensor([n - 1])])
    )
    for epoch in range(2):
        torch.manual_seed(100 + epoch)
        method.before_epoch(Clock(3 * epoch, 6, epoch, 2), never)
        assert torch.equal(method.assignment, SAVED[f"assignment_{epoch}"])
        expected = torch.cat([SAVED[f"centroids_{epoch}_{h}"] for h in range(3)])
        torch.testing.assert_close(method.centroids, expected, **close)
        losses = []
        for i, index in enumerate(SAVED["orders"][epoch].split(4)):
            clock = Clock(3 * epoch + i, 6, epoch, 2)
            step = method(batch_of(SAVED[f"crops_{epoch}"][i], index), clock)
            optimizer.zero_grad()
            step.total.backward()
            torch.testing.assert_close(
                gradient_of(method), saved(f"gradient_{clock.step}"), **close
            )
            method.after_backward(step, clock)
            optimizer.step()
            method.after_step(clock)
            losses.append(step.total.detach())
        torch.testing.assert_close(torch.stack(losses).mean(), SAVED[f"loss_{epoch}"], **close)
        torch.testing.assert_close(
            dict(method.online.head.state_dict()), saved(f"end_{epoch}"), **close
        )
        seen = SAVED[f"bank_index_{epoch}"]
        for bank, rows in zip((method.one, method.two), SAVED[f"bank_{epoch}"], strict=True):
            torch.testing.assert_close(bank.items[seen], rows, **close)


def theirs(name):
    """Our name of a parameter -> theirs."""
    return name.removeprefix("online.").replace("encoder.model.", "").replace("head", HEAD)


HEAD = "projection_head"


def views_of(epoch, number):
    """What the authors' network was fed, view by view."""
    sides = {"global": [(0, 48), (1, 48)], "local": [(2, 24), (3, 24)]}
    return {
        name: torch.stack(
            [2 * hashed(f"crops.{epoch}.{number}.{v}", 3, 3, s, s) for v, s in two], 1
        )
        for name, two in sides.items()
    }


def test_two_epochs_of_a_resnet_50_are_those_of_the_authors_code(monkeypatch):
    """Theirs is cut into heads, network and optimiser: LARC at 4.8 moves every tensor."""
    config = DeepClusterConfig(hidden=16, out=8, prototypes=(4, 3, 5))
    encoder = encoders.build(TimmConfig(name="resnet50", input=Pixels(side=48)))
    method = DeepCluster(Given({"image": encoder}, 7), config).double()
    weigh(method, theirs)
    for bank, rows in zip((method.one, method.two), RESNET["bank_start"], strict=True):
        bank.items.fill_(torch.nan)
        bank.items[:6] = rows
    method.assignment[0, 0] = 0
    larc = Optim(name="larc", lr=4.8, lr_per=0, lr_end=1.0, weight_decay=1e-6, decay_all=True)
    updates = build(method, larc, 3)
    draw, close = torch.randperm, {"rtol": 1e-6, "atol": 1e-6}
    monkeypatch.setattr(
        torch, "randperm", lambda n: torch.cat([draw(n - 1), torch.tensor([n - 1])])
    )
    for epoch in range(2):
        torch.manual_seed(100 + epoch)
        method.before_epoch(Clock(2 * epoch, 4, epoch, 2), never)
        assert torch.equal(method.assignment, RESNET[f"assignment_{epoch}"])
        losses = []
        for i, index in enumerate(RESNET["orders"][epoch].split(3)):
            clock = Clock(2 * epoch + i, 4, epoch, 2)
            step = method(Batch(views_of(epoch, i), index), clock)
            updates.clear()
            step.total.backward()
            grads = {theirs(k): p.grad for k, p in method.named_parameters()}
            assert_alike(summary(grads), RESNET[f"gradient_{clock.step}"])
            method.after_backward(step, clock)
            updates.set_rates(clock)
            updates.apply(updates.grad_norm())
            method.after_step(clock)
            losses.append(step.total.detach())
        torch.testing.assert_close(torch.stack(losses).mean(), RESNET[f"loss_{epoch}"], **close)
        found = summary({theirs(k): p for k, p in method.named_parameters()})
        assert_alike(found, RESNET[f"end_{epoch}"])
        seen = RESNET[f"bank_index_{epoch}"]
        for bank, rows in zip((method.one, method.two), RESNET[f"bank_{epoch}"], strict=True):
            torch.testing.assert_close(bank.items[seen], rows, **close)


def test_the_loss_and_its_gradient_are_the_formula():
    scores = gaussian(0, 5, 3, 4)
    target = torch.tensor([2, UNASSIGNED, 0, 3, 3])
    theirs, counted = 0.0, 0
    for sample, number in zip(scores, target.tolist(), strict=True):
        for view in sample if number != UNASSIGNED else ():
            weights = (view / 0.3).exp()
            theirs = theirs - (weights[number] / weights.sum()).log()
            counted += 1
    ours = assigned_cross_entropy(scores, target, temperature=0.3)
    assert_same(ours, theirs / counted, (scores,))


def test_a_batch_without_clusters_costs_nothing_and_stays_finite():
    scores = gaussian(0, 3, 2, 4)
    loss = assigned_cross_entropy(scores, torch.full((3,), UNASSIGNED), temperature=0.1)
    (grad,) = torch.autograd.grad(loss, scores)
    assert loss.item() == 0
    assert not grad.any()


def test_heads_cluster_the_two_banks_in_turn():
    method = make(prototypes=(3, 3, 3))
    method.assignment[0, 0] = 0
    method.two.items.copy_(method.one.items.flip(0))
    method.before_epoch(Clock(0, 6), never)
    for head, bank in enumerate((method.one, method.two, method.one)):
        centroids = method.centroids[3 * head : 3 * head + 3]
        assert torch.equal(method.assignment[head], (bank.items @ centroids.T).argmax(dim=1))


def test_the_first_epoch_embeds_everything_without_dropping_into_training_mode():
    method = make().train()
    data = gaussian(0, SAMPLES, 5).detach()
    modes = []

    def embed_all(f):
        modes.append(method.online.training)
        rows = torch.cat([f({"image": part}) for part in data.split(4)])
        modes.append(method.online.training)
        rows[3] = torch.nan
        return rows

    method.before_epoch(Clock(0, 6), embed_all)
    assert modes == [True, True]
    rows = unit(method.online.head(data)).detach()
    rows[3] = torch.nan
    for bank in (method.one, method.two):
        torch.testing.assert_close(bank.items, rows, equal_nan=True)
    assert (method.assignment[:, 3] == UNASSIGNED).all()
    assert (method.assignment[:, :3] >= 0).all()
    assert method.centroids.isfinite().all()


def test_a_sample_that_becomes_readable_joins_the_bank():
    method = make()
    method.one.items[2] = torch.nan
    rows = F.normalize(gaussian(0, 1, 3).detach(), dim=1)
    method.one.stage(torch.tensor([2]), rows)
    method.one.commit()
    torch.testing.assert_close(method.one.items[2], rows[0])


def test_centroids_are_no_parameters():
    method = make()
    method.assignment[0, 0] = 0
    method.before_epoch(Clock(0, 6), never)
    assert {k for k, _ in method.named_parameters()} == {
        "online.encoder.unused",
        "online.head.weight",
        "online.head.bias",
    }
    assert {"centroids", "assignment", "one.items", "two.items"} <= set(method.state_dict())


@pytest.mark.parametrize("collapsed", [True, False])
def test_usage_tells_one_full_cluster_from_many(collapsed):
    method = make(prototypes=(3, 3))
    method.assignment[0, 0] = 0
    g = torch.Generator().manual_seed(0)
    axes = torch.eye(3, dtype=torch.float64)[torch.arange(SAMPLES) % 3]
    spread = torch.randn(SAMPLES, 3, generator=g, dtype=torch.float64) * 1e-3
    rows = torch.tensor([1.0, 0.0, 0.0]) if collapsed else axes + spread
    for bank in (method.one, method.two):
        bank.items.copy_(F.normalize(rows.double().expand(SAMPLES, 3), dim=1))
    torch.manual_seed(2)
    method.before_epoch(Clock(0, 6), never)
    assert method.usage < 0.05 if collapsed else method.usage > 0.5
