"""The image methods on rho clips of a video: each clip is a query once, all others are its keys."""

import itertools
import math

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian
from torch import nn

from manyviews.core import Clock
from manyviews.methods.clustering.swav import SwAV, SwAVConfig
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.methods.contrastive.simclr import SimCLR, SimCLRConfig
from manyviews.methods.distillation.byol import BYOL, BYOLConfig
from manyviews.parts.assign import sinkhorn
from tiny import given

CLOCK = Clock(0, 10)


def clips(rho, *, samples=4, dim=3):
    return [gaussian(seed, samples, dim) for seed in range(rho)]


def cosine(a, b):
    return (a @ b) / (a @ a).sqrt() / (b @ b).sqrt()


def one_of(positive, negatives):
    """-log of the softmax of the positive."""
    return -positive + torch.stack([positive, *negatives]).logsumexp(dim=0)


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_simclr_finds_each_clip_by_each_other(rho):
    """SlowFast models/contrastive.py ("simclr") on each pair: all others of both are negatives."""
    method = SimCLR(given(Raw(3)), SimCLRConfig(temperature=0.3)).double()
    method.projector = nn.Identity()
    views = clips(rho)
    terms = []
    for a, b in itertools.combinations(views, 2):
        pool = [*a, *b]
        for i in range(len(pool)):
            j = (i + len(a)) % len(pool)
            others = [k for k in range(len(pool)) if k not in (i, j)]
            scores = {k: cosine(pool[i], pool[k]) / 0.3 for k in (j, *others)}
            terms.append(one_of(scores[j], [scores[k] for k in others]))
    assert_same(method(batch_of(*views), CLOCK).total, torch.stack(terms).mean(), views)


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_byol_predicts_every_other_clips_target_from_each(rho):
    torch.manual_seed(0)
    method = BYOL(given(Raw(3)), BYOLConfig(hidden=5, out=4)).double().train()
    with torch.no_grad():  # a target that differs from the online network
        for p in method.target.copy.parameters():
            p.mul_(1.5).add_(0.1)
    views = clips(rho, samples=6)
    said = [method.predictor(method.online.head(x)) for x in views]
    wanted = [method.target.copy.head(x).detach() for x in views]
    losses = []
    for query in range(rho):
        keys = [wanted[k] for k in range(rho) if k != query]
        rows = [2 - 2 * cosine(p, t) for key in keys for p, t in zip(said[query], key, strict=True)]
        losses.append(torch.stack(rows).mean())
    # SlowFast `contrastive_forward` back-propagates each of the rho losses by itself: their sum.
    assert_same(method(batch_of(*views), CLOCK).total, sum(losses), views)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("rho", [2, 3, 4])
def test_moco_has_a_row_for_each_key_and_queues_all_of_them(rho, symmetric):
    """SlowFast models/contrastive.py ("moco"), with MOCO_MULTI_VIEW_QUEUE."""
    torch.manual_seed(0)
    config = MoCoConfig(
        queue=16, out=3, layers=3, hidden=16, norm_groups=0, temperature=0.1, symmetric=symmetric
    )
    method = MoCo(given(Raw(3)), config).double()
    with torch.no_grad():
        for p in method.target.copy.parameters():
            p.mul_(1.5).add_(0.1)
    head = method.online.head
    assert [type(m) for m in head] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    views, queue = clips(rho), method.queue.items.clone()
    keys = [method.target.copy.head(x).detach() for x in views]
    losses = []
    for query in range(rho if symmetric else 1):
        q = method.online.head(views[query])
        rows = [
            one_of(cosine(a, b) / 0.1, [cosine(a, n) / 0.1 for n in queue])
            for k in range(rho)
            if k != query
            for a, b in zip(q, keys[k], strict=True)
        ]
        losses.append(torch.stack(rows).mean())
    expected = sum(losses)
    step = method(batch_of(*views), CLOCK)
    inputs = views if symmetric else views[:1]
    assert_same(step.total, expected, inputs)
    floor = expected.item() / math.log(17) / len(losses)
    torch.testing.assert_close(step.watch["contrastive_floor"].item(), floor)
    method.after_backward(step, CLOCK)
    pushed = {tuple(row) for row in method.queue.items.tolist()} - {
        tuple(r) for r in queue.tolist()
    }
    stored = torch.nn.functional.normalize(torch.cat(keys if symmetric else keys[1:]), dim=1)
    found = torch.tensor(sorted(pushed), dtype=torch.float64)
    torch.testing.assert_close(found, torch.tensor(sorted(stored.tolist()), dtype=torch.float64))


@pytest.mark.parametrize("rho", [2, 3, 4])
def test_swav_assigns_the_first_two_clips_and_asks_all_others_for_it(rho):
    """SlowFast models/contrastive.py ("swav"): `swav_crops_for_assign` are clips 0 and 1."""
    torch.manual_seed(0)
    config = SwAVConfig(hidden=5, out=4, prototypes=6, queue=0)
    method = SwAV(given(Raw(3)), config).double().train()
    views = clips(rho, samples=6)
    z = method.online.head(torch.stack(views, dim=1).flatten(0, 1)).unflatten(0, (6, rho))
    scores = method.prototypes(torch.nn.functional.normalize(z, dim=-1))
    losses = []
    for t in range(2):
        target = sinkhorn(scores[:, t].detach(), temperature=0.05, rounds=3)
        for v in range(rho):
            if v != t:
                log_p = (scores[:, v] / 0.1).log_softmax(dim=1)
                losses.append(-(target * log_p).sum(dim=1).mean())
    assert_same(method(batch_of(*views), CLOCK).total, torch.stack(losses).mean(), views)
