"""PointContrast against numbers of the authors' code (data/README.md), and by loops over points."""

import math

import pytest
import torch
from raw import Raw, load
from torch import nn

from manyviews.core import Batch, Clock, Features, Given, UsageError
from manyviews.losses.contrastive import batch_info_nce
from manyviews.losses.points import hardest_contrastive, point_info_nce
from manyviews.methods.points.pointcontrast import PointContrast, PointContrastConfig
from manyviews.parts.correspondence import pairs

SAVED = load("pointcontrast")
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
B, N, D = 3, 12, 4


def of(part):
    return {k.removeprefix(f"{part}."): v for k, v in SAVED.items() if k.startswith(f"{part}.")}


def test_the_hardest_contrastive_loss_is_the_authors():
    s = of("hardest")
    first, second = s["first"].clone().requires_grad_(), s["second"].clone().requires_grad_()
    chosen = s["pairs"][s["chosen"]]
    known = set(map(tuple, s["pairs"].tolist()))
    in_first = [[(j, g) in known for j in s["pool_first"].tolist()] for g in chosen[:, 1].tolist()]
    in_second = [
        [(f, j) in known for j in s["pool_second"].tolist()] for f in chosen[:, 0].tolist()
    ]
    together, apart = hardest_contrastive(
        first[chosen[:, 0]],
        second[chosen[:, 1]],
        first[s["pool_first"]],
        second[s["pool_second"]],
        torch.ones(len(chosen), dtype=torch.bool),
        same_first=torch.tensor(in_first),
        same_second=torch.tensor(in_second),
        near=0.1,
        far=1.4,
    )
    torch.testing.assert_close(together.detach(), s["together"], **CLOSE)
    torch.testing.assert_close(apart.detach(), s["apart"], **CLOSE)
    (together + apart).backward()
    torch.testing.assert_close(first.grad, s["gradient_first"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(second.grad, s["gradient_second"], rtol=1e-6, atol=1e-9)
    assert torch.tensor(in_second).any()  # or nothing had to be left out


def test_point_info_nce_is_the_authors():
    s = of("nce")
    first, second = s["first"].clone().requires_grad_(), s["second"].clone().requires_grad_()
    q, k = first[s["pairs"][:, 0]], second[s["pairs"][:, 1]]
    loss = point_info_nce(q, k, torch.ones(len(q), dtype=torch.bool), temperature=0.4)
    torch.testing.assert_close(loss.detach(), s["loss"], **CLOSE)
    loss.backward()
    torch.testing.assert_close(first.grad, s["gradient_first"], **CLOSE)
    torch.testing.assert_close(second.grad, s["gradient_second"], **CLOSE)
    torch.testing.assert_close(batch_info_nce(q, k, temperature=0.4), loss)


def test_pairs_that_do_not_count_change_nothing():
    g = torch.Generator().manual_seed(0)
    x = nn.functional.normalize(torch.randn(2, 9, D, generator=g, dtype=torch.float64), dim=2)
    there = torch.tensor([1, 1, 0, 1, 0, 1, 1, 1, 0], dtype=torch.bool)
    whole = point_info_nce(*x, there, temperature=0.4)
    left = point_info_nce(*x[:, there], torch.ones(6, dtype=torch.bool), temperature=0.4)
    torch.testing.assert_close(whole, left)
    none = point_info_nce(*x.requires_grad_(), torch.zeros(9, dtype=torch.bool), temperature=0.4)
    none.backward()
    assert none == 0
    assert x.grad.isfinite().all()
    pool, same = x[0].detach(), {k: torch.zeros(9, 9, dtype=torch.bool) for k in ("a", "b")}
    for weight in (there, torch.zeros_like(there)):
        found = hardest_contrastive(
            *x, pool, pool, weight, same_first=same["a"], same_second=same["b"], near=0.1, far=1.4
        )
        assert all(loss.isfinite() for loss in found)


def clouds(seed=0):
    """Places of two views of each cloud that share two thirds of their points, in other orders."""
    g = torch.Generator().manual_seed(seed)
    places = torch.rand(B, 16, 3, generator=g)
    views = []
    for _ in range(2):
        order = torch.rand(B, 16, generator=g).argsort(dim=1)[:, :N]
        views.append(places.gather(1, order[..., None].expand(-1, -1, 3)))
    return torch.stack(views, dim=1)


def slow_pairs(origin, radius):
    """For each cloud: token of the first view -> the nearest of the second, where near enough."""
    found = []
    for first, second in origin.double():
        near = {}
        for i, p in enumerate(first):
            away = [math.dist(p.tolist(), q.tolist()) for q in second]
            if min(away) < radius:
                near[i] = away.index(min(away))
        found.append(near)
    return found


def test_pairs_are_what_both_views_have():
    origin, index = clouds(), torch.tensor([5, 9, 2])
    expected = slow_pairs(origin, 0.01)
    assert min(map(len, expected)) > 4
    found = pairs(origin, index, count=N, radius=0.01, step=3)
    for b in range(B):
        there = found.there[b]
        got = dict(
            zip(found.first[b][there].tolist(), found.second[b][there].tolist(), strict=True)
        )
        assert got == expected[b]
        assert sorted(found.first[b].tolist()) == list(range(N))
    moved = origin.clone()
    moved[:, 1, : N // 2, 0] += 0.008  # still one point, and half of them not at 0.005
    for radius in (0.01, 0.005):
        found = pairs(moved, index, count=N, radius=radius, step=3)
        assert found.there.sum(dim=1).tolist() == [len(x) for x in slow_pairs(moved, radius)]
    assert found.there.sum() < sum(map(len, expected))
    found = pairs(origin, index, count=N, radius=0.01, step=3)
    few = pairs(origin, index, count=4, radius=0.01, step=3)
    assert few.there.all()
    assert torch.equal(few.first, found.first[:, :4])
    assert not torch.equal(few.first, pairs(origin, index, count=4, radius=0.01, step=4).first)
    alone = pairs(origin[1:2], index[1:2], count=4, radius=0.01, step=3)
    assert torch.equal(alone.first[0], few.first[1])
    assert pairs(origin + torch.tensor([[0.0], [5.0]])[:, None], index, count=4, radius=0.01,
                 step=3).there.any().item() is False  # fmt: skip


def test_a_point_that_stands_there_twice_is_drawn_once():
    """Clouds repeat points where a crop leaves fewer than are fed; they are no negatives."""
    origin, index = clouds(), torch.tensor([5, 9, 2])
    rows = torch.cat([torch.arange(N), torch.arange(N), torch.zeros(3, dtype=torch.long)])
    g = torch.Generator().manual_seed(0)
    order = rows[torch.randperm(len(rows), generator=g)]
    repeated = origin[:, :, order]
    found = pairs(repeated, index, count=len(rows), radius=0.01, step=3)
    for b, near in enumerate(slow_pairs(origin, 0.01)):
        first, second = (x[b][found.there[b]].tolist() for x in (found.first, found.second))
        drawn = {int(order[i]): int(order[j]) for i, j in zip(first, second, strict=True)}
        assert drawn == near
        assert len(first) == len(near)


class Tokens(Raw):
    """Each point's features are the rest of its columns."""

    grid = (N,)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        assert tokens
        return Features(x[..., 3:].amax(dim=1), x[..., 3:])


def make(**settings):
    torch.manual_seed(0)
    config = PointContrastConfig(**{"pairs": N, "radius": 0.01, "out": D, **settings})
    return PointContrast(Given({"points": Tokens(D)}, 11), config).double()


def batch(seed=0):
    g = torch.Generator().manual_seed(seed + 1)
    origin = clouds(seed)
    features = torch.randn(B, 2, N, D, generator=g, dtype=torch.float64)
    views = torch.cat([origin.double(), features], dim=3)
    return Batch({"global": views}, torch.tensor([5, 9, 2]), {"global.origin": origin})


def projected(method, views):
    return nn.functional.normalize(method.head(views[..., 3:]), dim=-1)


def test_the_whole_method_by_info_nce_is_a_loop_over_pairs():
    method, given = make(), batch()
    z = projected(method, given.views["global"])
    found = slow_pairs(given.cues["global.origin"], 0.01)
    q = torch.stack([z[b, 0, i] for b in range(B) for i in found[b]])
    k = torch.stack([z[b, 1, j] for b in range(B) for j in found[b].values()])
    logits = q @ k.T / 0.4
    expected = (logits.logsumexp(dim=1) - logits.diagonal()).mean()
    step = method(given, Clock(0, 4))
    torch.testing.assert_close(step.total, expected, **CLOSE)
    pooled = given.views["global"][..., 3:].amax(dim=2)
    torch.testing.assert_close(step.embedding["points"], pooled)
    torch.testing.assert_close(step.watch["contrastive_floor"], expected / math.log(len(q)))


def test_the_whole_method_by_hardest_negatives_is_a_loop_over_points():
    method, given = make(loss="hardest", candidates=N), batch()  # all points are candidates
    z, origin = projected(method, given.views["global"]), given.cues["global.origin"].double()
    together, apart = [], [[], []]
    for b, near in enumerate(slow_pairs(origin, 0.01)):
        for i, j in near.items():
            f, g = z[b, 0, i], z[b, 1, j]
            together.append(torch.relu((f - g).square().sum() - 0.1))
            for v, (point, place) in enumerate(((f, origin[b, 0, i]), (g, origin[b, 1, j]))):
                others = [(c, n) for c in range(B) for n in range(N)]
                away = [(point - z[c, 1 - v, n]).square().sum().add(1e-7).sqrt() for c, n in others]
                c, n = others[min(range(len(others)), key=lambda k: away[k].item())]
                if c == b and math.dist(place.tolist(), origin[c, 1 - v, n].tolist()) < 0.01:
                    continue
                apart[v].append(torch.relu(1.4 - min(away)).square())
    step = method(given, Clock(0, 4))
    expected = torch.stack(together).mean()
    torch.testing.assert_close(step.losses["together"], expected, **CLOSE)
    expected = (torch.stack(apart[0]).mean() + torch.stack(apart[1]).mean()) / 2
    torch.testing.assert_close(step.losses["apart"], expected, **CLOSE)


def test_points_at_one_place_of_two_clouds_are_not_the_same():
    """Or a room's floor would never be pushed from another's."""
    method, given = make(loss="hardest", candidates=N), batch()
    for x in (given.views["global"], given.cues["global.origin"]):
        x[1:, ..., :3] = x[:1, ..., :3]
    apart = method(given, Clock(0, 4)).losses["apart"]
    far = Batch(given.views, given.index, {"global.origin": given.cues["global.origin"].clone()})
    far.cues["global.origin"] += 9 * torch.arange(B)[:, None, None, None]
    torch.testing.assert_close(apart, method(far, Clock(0, 4)).losses["apart"])


def test_candidates_are_others_at_every_step():
    method, given = make(loss="hardest", candidates=2), batch()
    losses = [method(given, Clock(step, 9)).losses["apart"].item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    z = given.views["global"]
    of_views = [method._candidates(z, given.index, Clock(0, 9), view) for view in (0, 1)]
    assert not torch.equal(*of_views)


def test_an_encoder_without_a_token_for_each_point_is_refused():
    given = batch()
    wrong = Batch(given.views, given.index, {"global.origin": torch.zeros(B, 2, N + 1, 3)})
    with pytest.raises(UsageError, match=r"a token for each of 13 points; the encoder has 12"):
        make()(wrong, Clock(0, 4))
