"""PCL against numbers of the authors' code (data/README.md) and the paper's formulas.

What fails if a bug is planted: similarities multiplied by the concentration or divided by that of
other columns, a sum over clusterings, the key's view as query, keys queued before they are used:
the authors' three steps; distances squared, ln(size) + 10, no clipping, a single row as narrow:
`test_concentrations_are_the_authors`; a negative that is some sample's own cluster:
`test_negatives_are_clusters_that_nobody_in_the_batch_is_in`; fewer rounds or another mean width:
`test_clusters_are_of_what_the_key_encoder_makes_and_only_from_their_time_on`; batch statistics:
`test_samples_are_embedded_in_evaluation_mode_which_ends_with_it`.
"""

import pytest
import torch
from raw import Raw, gaussian, load
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Features, Given, UsageError
from manyviews.core.schedules import Cosine
from manyviews.losses.clustering import prototype_info_nce
from manyviews.methods.contrastive import pcl as module
from manyviews.methods.contrastive.pcl import PCL, PCLConfig
from manyviews.parts.cluster import UNASSIGNED, Assigned, Clusterings, concentrations

SAVED = load("pcl")


class Body(Encoder):
    """The authors' arrays' network: a linear layer, batch norm and a hyperbolic tangent."""

    grid = (1,)
    dim = 5

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())

    def forward(self, x, **_):
        return Features(self.body(x), self.body(x)[:, None])


def made(encoder, samples=40, **settings):
    torch.manual_seed(0)
    given = {"prototypes": (10, 12), "queue": 4, "negatives": 4, "out": 5, "norm_groups": 0}
    config = PCLConfig(**{**given, "momentum": Cosine(0.9, 0.9), **settings})
    return PCL(Given({"image": encoder}, samples), config).double()


def ours(prefix):
    found = {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}
    return {
        "online." + (k.replace("fc.", "head.") if "fc." in k else f"encoder.{k}"): v
        for k, v in found.items()
    }


def test_three_steps_are_those_of_the_authors_class(monkeypatch):
    method, close = made(Body()), {"rtol": 1e-9, "atol": 1e-12}
    method.load_state_dict(ours("run.start."), strict=False)
    method.target.copy.load_state_dict(method.online.state_dict())
    method.queue.items.copy_(SAVED["run.queue_start"])
    held, both = method.clusters, range(2)
    held.centroids.copy_(torch.cat([SAVED[f"run.centroids_{n}"] for n in both]))
    held.concentration.copy_(torch.cat([SAVED[f"run.density_{n}"] for n in both]))
    held.assignment.copy_(torch.stack([SAVED[f"run.assignment_{n}"] for n in both]))
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.1)
    for s in range(3):
        monkeypatch.setattr(method, "_negatives", lambda *a, s=s: SAVED[f"run.drawn_{s}_{a[-1]}"])
        views, clock = SAVED[f"run.views_{s}"].transpose(0, 1), Clock(s, 3)
        step = method(Batch({"global": views}, SAVED[f"run.index_{s}"]), clock)
        losses = torch.stack(list(step.losses.values())).detach()
        torch.testing.assert_close(losses, SAVED[f"run.loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        torch.testing.assert_close(gradients, ours(f"run.gradient_{s}."), **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        torch.testing.assert_close(method.queue.items, SAVED[f"run.queue_{s}"], **close)
    end = ours("run.end.")
    torch.testing.assert_close({k: method.state_dict()[k] for k in end}, end, **close)


@pytest.mark.parametrize("n", range(2))
def test_concentrations_are_the_authors(n):
    found = Assigned(SAVED[f"kmeans.centroids_{n}"], SAVED[f"kmeans.assignment_{n}"])
    density = concentrations(SAVED["rows"], found, temperature=0.2)
    torch.testing.assert_close(density, SAVED[f"kmeans.density_{n}"], rtol=1e-10, atol=1e-12)
    assert density.mean().item() == pytest.approx(0.2)


def test_a_cluster_of_one_is_among_what_the_authors_counted():
    assert (SAVED["kmeans.assignment_1"].bincount() == 1).any()


def test_samples_that_could_not_be_read_are_in_no_cluster_and_do_not_count():
    rows = SAVED["rows"].clone()
    rows[3] = torch.nan
    held = Clusterings(40, 5, (4, 6)).double()
    torch.manual_seed(0)
    held.cluster(rows, rounds=5, temperature=0.2)
    assert held.assignment[:, 3].eq(UNASSIGNED).all()
    assert held.concentration.isfinite().all()
    assert held.centroids.isfinite().all()
    for part in held.concentration.split(held.counts):
        assert part.mean().item() == pytest.approx(0.2)


def test_rows_that_are_all_alike_have_the_mean_concentration():
    rows = torch.nn.functional.normalize(torch.ones(6, 3, dtype=torch.float64), dim=1)
    found = Assigned(rows[:2], torch.tensor([0, 0, 0, 0, 0, 1]))
    found = Assigned(rows[:2], found.assignment)
    assert concentrations(rows, found, temperature=0.3).tolist() == pytest.approx([0.3, 0.3])


def test_the_loss_is_the_papers_formula():
    """Equation 11, with the batch's own clusters as the first columns."""
    g = torch.Generator().manual_seed(4)
    query = nn.functional.normalize(gaussian(0, 3, 5).detach(), dim=1).requires_grad_()
    centroids = nn.functional.normalize(torch.randn(9, 5, generator=g).double(), dim=1)
    phi = torch.rand(9, generator=g).double() + 0.1
    cluster, negatives = torch.tensor([2, -100, 7]), torch.tensor([0, 4, -100])
    loss = prototype_info_nce(query, centroids, phi, cluster=cluster, negatives=negatives)
    total = 0.0
    for i in (0, 2):
        scores = torch.stack([query[i] @ centroids[c] / phi[c] for c in (2, 7, 0, 4)])
        total = total - scores.log_softmax(dim=0)[0 if i == 0 else 1] / 2
    torch.testing.assert_close(loss, total)
    (mine,), (theirs,) = torch.autograd.grad(loss, query), torch.autograd.grad(total, query)
    torch.testing.assert_close(mine, theirs)


def test_negatives_are_clusters_that_nobody_in_the_batch_is_in():
    method = made(Raw(5), negatives=8)
    taken = torch.tensor([1, 4, 4, -100])
    drawn = method._negatives(taken, 10, Clock(3, 9), 0)
    assert len(set(drawn.tolist())) == 8
    assert not {1, 4} & set(drawn.tolist())
    few = made(Raw(5), negatives=16)._negatives(taken, 10, Clock(3, 9), 0)
    assert sorted(few[few >= 0].tolist()) == [0, 2, 3, 5, 6, 7, 8, 9]
    assert (few == -100).sum() == 2
    again = method._negatives(taken, 10, Clock(3, 9), 0)
    assert torch.equal(again, drawn)
    others = [method._negatives(taken, 10, Clock(s, 9), n) for s, n in ((4, 0), (3, 1))]
    assert not any(torch.equal(other, drawn) for other in others)


def plain(views):
    return lambda f, **_: f({"image": views}).float()


def test_clusters_are_of_what_the_key_encoder_makes_and_only_from_their_time_on():
    method = made(Raw(6), clusters_from=0.5, temperature=0.3)
    views = gaussian(3, 40, 6).detach()
    with torch.no_grad():
        for p in method.online.parameters():
            p.add_(1.0)
    method.before_epoch(Clock(4, 10, 4, 10), plain(views))
    assert method.clusters.assignment.eq(UNASSIGNED).all()
    step = method(
        Batch({"global": views[:4, None].expand(-1, 2, -1)}, torch.arange(4)), Clock(4, 10)
    )
    assert step.losses["prototypes"].item() == 0
    torch.manual_seed(0)
    method.before_epoch(Clock(5, 10, 5, 10), plain(views))
    held = method.clusters
    keys = nn.functional.normalize(method.target(views)[1], dim=1)
    for centroids, assigned in zip(held.centroids.split(held.counts), held.assignment, strict=True):
        assert torch.equal((keys @ centroids.T).argmax(dim=1), assigned)
    torch.manual_seed(0)
    same = Clusterings(40, 5, (10, 12)).double()
    same.cluster(keys.float(), rounds=20, temperature=0.3)
    torch.testing.assert_close(held.state_dict(), same.state_dict(), rtol=1e-6, atol=1e-6)
    means = [part.mean().item() for part in held.concentration.split(held.counts)]
    assert means == pytest.approx([0.3, 0.3])


def test_samples_are_embedded_in_evaluation_mode_which_ends_with_it():
    method = made(Body()).train()
    rows = gaussian(3, 7, 6).detach()
    both = method._embed({"image": rows}), method._embed({"image": rows[:1]})
    torch.testing.assert_close(both[0][:1], both[1])  # whatever the others of its batch are
    assert all(module.training for module in method.online.modules())


def test_keys_are_in_another_order_at_each_step(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "shuffled", lambda f, x, *, seed: seen.append(seed) or f(x))
    method = made(Body(), norm_groups=2)
    batch = Batch({"global": gaussian(3, 4, 2, 6).detach()}, torch.arange(4))
    for step in (3, 4):
        method(batch, Clock(step, 9))
    assert seen == [3, 4]


def test_the_first_clustering_can_be_asked_for_its_shares_of_other_images():
    method = made(Raw(6), clusters_from=0.0)
    views, others = gaussian(3, 40, 6).detach(), gaussian(4, 3, 6).detach()
    torch.manual_seed(0)
    method.before_epoch(Clock(5, 10, 5, 10), plain(views))
    held, found = method.clusters, method.assign(others)
    assert found.shape == (3, 10)
    for x, shares in zip(others, found, strict=True):
        key = nn.functional.normalize(method.target(x[None])[1][0], dim=0)
        e = [(key @ held.centroids[k] / held.concentration[k]).exp() for k in range(10)]
        torch.testing.assert_close(shares, torch.stack(e) / sum(e))


def test_more_clusters_than_samples_are_refused_in_one_line():
    method = made(Raw(6), samples=9)
    with pytest.raises(UsageError, match=r"10 clusters need .* there are 9\. Lower --method\."):
        method.before_epoch(Clock(9, 10, 9, 10), plain(gaussian(3, 9, 6).detach()))
