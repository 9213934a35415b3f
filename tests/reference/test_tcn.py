"""TCN's triplets against the rule, pair by pair, and its views' times."""

import pytest
import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, UsageError
from manyviews.core.settings import check
from manyviews.losses.margin import semi_hard_triplet, time_contrastive
from manyviews.methods.contrastive.tcn import TCN, TCNConfig
from tiny import given

TIMES = torch.tensor(
    [[0.0, 0.15, 1.0, 1.3], [2.0, 2.2, 2.3, 2.4], [0.0, 0.3, 0.6, 0.9], [5.0, 5.0, 9.0, 9.1]]
)


def rule(z, times, *, margin, near, far, others):
    """Every pair of one video and time against the negative that the rule names."""
    rows = [(b, v) for b in range(len(z)) for v in range(z.shape[1])]

    def apart(one, two):
        return abs(float(times[one] - times[two]))

    terms = []
    for a in rows:
        negatives = [n for n in rows if (apart(a, n) > far if n[0] == a[0] else others)]
        for p in rows:
            if p == a or p[0] != a[0] or apart(a, p) > near:
                continue
            d_ap = (z[a] - z[p]).square().sum()
            away = [(z[a] - z[n]).square().sum() for n in negatives]
            harder = [d for d in away if d > d_ap]
            chosen = min(harder) if harder else max(away) if away else None
            terms.append((margin + d_ap - chosen).clamp(min=0) if away else 0 * d_ap)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("margin", [0.2, 3.0])
def test_the_loss_and_its_gradient_are_the_rule(others, margin):
    z = gaussian(0, 4, 4, 3)
    settings = {"margin": margin, "near": 0.2, "far": 0.4, "others": others}
    times = TIMES.double()
    ours = time_contrastive(z, times, **settings)
    assert_same(ours, rule(z, times, **settings), [z], rtol=1e-9, atol=1e-12)


def test_two_views_of_one_time_among_other_videos_are_a_triplet_loss():
    z = gaussian(1, 5, 2, 3)
    at_once = torch.zeros(5, 2).double()
    ours = time_contrastive(z, at_once, margin=0.5, near=0.2, far=0.4, others=True)
    assert_same(ours, semi_hard_triplet(z, margin=0.5), [z], rtol=1e-9, atol=1e-12)


def test_a_batch_without_pairs_costs_nothing():
    z = gaussian(2, 3, 2, 3)
    far = torch.tensor([[0.0, 1.0]] * 3).double()
    loss = time_contrastive(z, far, margin=0.5, near=0.2, far=0.4, others=True)
    assert loss == 0
    assert not torch.autograd.grad(loss, z)[0].any()


def test_the_method_compares_unit_vectors_of_its_head():
    torch.manual_seed(0)
    method = TCN(given(Raw(3)), TCNConfig(hidden=5, out=4)).double()
    views = gaussian(3, 4, 4, 3)
    step = method(Batch({"global": views}, torch.arange(4), {"global.time": TIMES}), Clock(0, 1))
    first, _, last = method.projector
    z = torch.nn.functional.normalize(last(first(views).relu()), dim=-1)
    wanted = rule(z, TIMES.double(), margin=0.2, near=0.2, far=0.4, others=True)
    assert_same(step.total, wanted, [views, first.weight], rtol=1e-7, atol=1e-10)


def test_views_cannot_be_of_one_time_and_of_different_times():
    with pytest.raises(UsageError, match=r"far is 0\.1.*0\.3 or more"):
        check(TCNConfig(near=0.3, far=0.1))
