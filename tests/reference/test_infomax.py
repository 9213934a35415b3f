"""Deep InfoMax and AMDIM against the authors' code.

What fails if a bug is planted: own places among the negatives, or sums in place of means,
`test_both_bounds_are_the_authors`; the same view on both sides, or the scores' penalty after the
clip, `test_the_authors_tasks_have_the_same_losses_and_gradients`; a place that is not the sample's,
`test_a_place_asks_for_its_own_sample`; a map or an output cut off from the gradient,
`test_the_method_weighs_places_and_the_whole_map`,
`test_the_whole_method_asks_each_view_about_the_other`.
"""

import math

import pytest
import torch
from raw import Raw, gaussian, load

from manyviews.core import Clock, UsageError
from manyviews.losses.infomax import clipped_info_nce, jensen_shannon, place_info_nce
from manyviews.methods.contrastive.amdim import AMDIM, AMDIMConfig
from manyviews.methods.contrastive.infomax import DeepInfoMax, DeepInfoMaxConfig
from manyviews.parts.heads import Lift
from tiny import TinyConv, batch_for, given

BOUNDS = {"jsd": jensen_shannon, "nce": place_info_nce}


@pytest.mark.parametrize("kind", BOUNDS)
def test_both_bounds_are_the_authors(kind):
    data = load("infomax")
    places, whole = data["places"].requires_grad_(), data["whole"].requires_grad_()
    loss = BOUNDS[kind](whole, places)
    # Their InfoNCE gives a sample's own places -10 in place of leaving them out.
    close = {} if kind == "jsd" else {"rtol": 1e-6, "atol": 1e-9}
    torch.testing.assert_close(loss.detach(), data[f"{kind}.loss"], **close)
    found = torch.autograd.grad(loss, (places, whole))
    for name, gradient in zip(("places", "whole"), found, strict=True):
        torch.testing.assert_close(gradient, data[f"{kind}.gradient_{name}"], **close)


def test_the_head_is_the_authors():
    """Of the same weights, and it begins near the identity."""
    data = load("infomax")
    head = Lift(3, 5, norm=True, last="layer").double()
    assert torch.equal(head.straight.weight.diagonal(), torch.ones(3).double())
    assert (head.straight.weight - torch.eye(5, 3)).abs().max() <= 0.01
    theirs = {k.removeprefix("head.w."): v for k, v in data.items() if k.startswith("head.w.")}
    names = {"bent": "block_nonlinear", "straight": "linear_shortcut", "norm": "block_ln.1"}
    with torch.no_grad():
        for name, p in head.named_parameters():
            kind, _, rest = name.partition(".")
            p.copy_(theirs[f"{names[kind]}.{rest}"].view_as(p))
    x = data["head.x"].requires_grad_()
    y = head(x)
    torch.testing.assert_close(y.detach(), data["head.y"])
    order = torch.arange(y.numel()).view(4, 5, 4).transpose(1, 2).double() / 10
    (gradient,) = torch.autograd.grad((y * order).sum(), x)
    torch.testing.assert_close(gradient, data["head.gradient"])


def test_the_method_weighs_places_and_the_whole_map():
    torch.manual_seed(0)
    config = DeepInfoMaxConfig(bound="nce", local=0.5, whole=2.0, out=8)
    method = DeepInfoMax(given(TinyConv()), config).double()
    batch = batch_for(method, dtype=torch.float64)
    step = method(batch, Clock(0, 10))
    features = method.backbone(batch.views["global"][:, 0])
    whole = method.head(features.pooled)
    local = place_info_nce(whole, method.of_places(features.tokens))
    torch.testing.assert_close(step.losses["local"], 0.5 * local)
    of_map = method.of_map(features.tokens.flatten(1))
    in_one = place_info_nce(whole, of_map[:, None])
    torch.testing.assert_close(step.losses["whole"], 2 * in_one)
    same_gradients(method, step.total, 0.5 * local + 2 * in_one)


def same_gradients(method, ours, theirs):
    parameters = list(method.parameters())
    found, wanted = (torch.autograd.grad(x, parameters) for x in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


def test_what_tells_nothing_scores_zero():
    places, whole = gaussian(0, 5, 3, 2), torch.zeros(5, 2).double()
    assert jensen_shannon(whole, places).abs() < 1e-12
    expected = math.log(1 + 4 * 3)  # its own place and those of four others
    torch.testing.assert_close(place_info_nce(whole, places).item(), expected)
    assert clipped_info_nce(whole, places, clip=20.0)[1] == 0


def test_the_authors_tasks_have_the_same_losses_and_gradients():
    data = load("amdim")
    r1, r5, r7 = (data[kind].requires_grad_() for kind in ("r1", "r5", "r7"))
    method = AMDIM(given(TinyConv()), AMDIMConfig(out=6)).double()
    losses = method.tasks(r1[:, :, 0], r5, r7, data["place"].long())
    for name, loss in losses.items():
        torch.testing.assert_close(loss.detach(), data[name], msg=lambda m, n=name: f"{n}: {m}")
    found = torch.autograd.grad(sum(losses.values()), (r1, r5, r7))
    for kind, gradient in zip(("r1", "r5", "r7"), found, strict=True):
        assert data[f"gradient.{kind}"].abs().max() > 1e-3
        torch.testing.assert_close(gradient, data[f"gradient.{kind}"])


def test_the_whole_method_asks_each_view_about_the_other():
    """Coarse places cut out by hand; the gradients are those of all parameters."""
    torch.manual_seed(0)
    method, clock = AMDIM(given(TinyConv()), AMDIMConfig(out=6)).double(), Clock(3, 10)
    batch = batch_for(method, dtype=torch.float64)
    step = method(batch, clock)
    features = method.backbone(batch.views["global"][:, :2].flatten(0, 1))
    cells = features.tokens.unflatten(1, (4, 4))
    windows = [cells[:, y : y + 3, x : x + 3].mean(dim=(1, 2)) for y in (0, 1) for x in (0, 1)]
    coarse = method.coarse(torch.stack(windows, dim=1))  # [2 B, 4, 6]
    whole, fine = method.whole(features.pooled), method.fine(features.tokens)
    where = method._asking(batch, coarse.unflatten(0, (8, 2)), clock)
    picked = coarse[torch.arange(16), where.flatten()]
    tasks = {"one_to_coarse": (whole, coarse), "one_to_fine": (whole, fine)}
    tasks["coarse_to_coarse"] = (picked, coarse)
    expected, squares = {}, 0.0
    for name, (asks, places) in tasks.items():
        both = [clipped_info_nce(asks[v::2], places[1 - v :: 2], clip=20.0) for v in (0, 1)]
        expected[name] = (both[0][0] + both[1][0]) / 2
        squares = squares + both[0][1] + both[1][1]
    expected["penalty"] = 0.05 * squares / 2
    torch.testing.assert_close(dict(step.losses), expected)
    same_gradients(method, step.total, sum(expected.values()))
    torch.testing.assert_close(step.embedding["image"], features.pooled.unflatten(0, (8, 2)))


def test_coarse_places_are_means_of_three_by_three():
    method = AMDIM(given(TinyConv()), AMDIMConfig(out=6)).double()
    tokens = gaussian(0, 2, 16, 5)
    found = method._coarser(tokens)
    assert found.shape == (2, 4, 5)
    rows = tokens.view(2, 4, 4, 5)
    torch.testing.assert_close(found[:, 1], rows[:, 0:3, 1:4].mean(dim=(1, 2)))


def test_a_place_asks_for_its_own_sample():
    """The places that ask are drawn anew at every step, one for each view of each sample."""
    method = AMDIM(given(TinyConv()), AMDIMConfig(out=6))
    batch, coarse = batch_for(method, size=64), torch.zeros(64, 2, 4, 6)
    one, same, other = (method._asking(batch, coarse, Clock(s, 9)) for s in (0, 0, 1))
    assert one.shape == (64, 2)
    assert set(one.flatten().tolist()) == {0, 1, 2, 3}
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    coarse = torch.randn(64, 2, 4, 6)
    whole = coarse.take_along_dim(one[..., None, None], dim=2)[:, :, 0]
    losses = method.tasks(whole, coarse, coarse, one)
    torch.testing.assert_close(losses["coarse_to_coarse"], losses["one_to_coarse"])


def test_a_map_without_three_places_is_refused():
    with pytest.raises(UsageError, match=r"3 x 3 places or more; the encoder's is 1\. Set --enc"):
        AMDIM(given(Raw(4)), AMDIMConfig(out=6))
