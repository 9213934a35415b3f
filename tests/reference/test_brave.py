"""BraVe against the formula of google-deepmind/brave's `loss_fn`."""

import pytest
import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.settings import check
from manyviews.methods.catalog import build
from manyviews.methods.distillation.brave import BraVe, BraVeConfig


def make(narrow=3, broad=3, **settings):
    torch.manual_seed(0)
    given = Given({"narrow": Raw(narrow), "broad": Raw(broad)})
    return build(BraVeConfig(hidden=6, out=4, **settings), given).double().train()


def standardised(x, norm):
    x = (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + norm.eps).sqrt()
    return x if norm.weight is None else x * norm.weight + norm.bias


def projected(head, x):
    first, norm, _, last, end = head
    return standardised(last(standardised(first(x), norm).relu()), end)


def predicted(head, z):
    first, norm, _, last = head
    return last(standardised(first(z), norm).relu())


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_and_its_gradient_are_the_formula(shared):
    method = make(shared=shared)
    names = ("both", "both") if shared else ("narrow", "broad")
    assert set(method.projectors) == set(method.predictors) == set(names)
    narrow, broad = gaussian(0, 7, 3), gaussian(1, 7, 3)
    zn, zb = (
        projected(method.projectors[n], x) for n, x in zip(names, (narrow, broad), strict=True)
    )
    hn, hb = (predicted(method.predictors[n], z) for n, z in zip(names, (zn, zb), strict=True))
    to_narrow = (unit(hb) - unit(zn).detach()).square().sum(dim=1).mean() / 2
    to_broad = (unit(hn) - unit(zb).detach()).square().sum(dim=1).mean() / 2
    views = {"narrow": narrow[:, None], "broad": broad[:, None]}
    step = method(Batch(views, torch.arange(7)), Clock(0, 1))
    inputs = [
        narrow,
        broad,
        *(m[names[1]][0].weight for m in (method.projectors, method.predictors)),
    ]
    assert_same(step.total, (to_narrow + to_broad) / 2, inputs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_of_several_broad_views_it_is_the_mean_over_all_pairs_with_the_narrow_one(shared):
    names = ("narrow", "flow", "sound")
    torch.manual_seed(0)
    given = Given({name: Raw(3) for name in names})
    config = BraVeConfig(hidden=6, out=4, shared=shared, broad=("flow", "sound"))
    method = build(config, given).double().train()
    assert method.needs == method.most == dict.fromkeys(names, 1)
    x = {name: gaussian(k, 7, 3) for k, name in enumerate(names)}
    heads = {name: "both" if shared else name for name in names}
    z = {n: projected(method.projectors[heads[n]], x[n]) for n in names}
    h = {n: predicted(method.predictors[heads[n]], z[n]) for n in names}
    pairs = [(a, b) for other in names[1:] for a, b in (("narrow", other), (other, "narrow"))]
    terms = {
        f"{a}_to_{b}": (unit(h[a]) - unit(z[b]).detach()).square().sum(dim=1).mean() / 2
        for a, b in pairs
    }
    views = {name: one[:, None] for name, one in x.items()}
    step = method(Batch(views, torch.arange(7)), Clock(0, 1))
    assert set(step.losses) == set(terms)
    for name, value in terms.items():
        torch.testing.assert_close(step.losses[name], value / 4)
    assert_same(step.total, sum(terms.values()) / 4, list(x.values()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("broad", [(), ("a", "a"), ("narrow",), ("a", "narrow")])
def test_broad_views_have_names_of_their_own(broad):
    with pytest.raises(UsageError, match=r"--broad is (empty|a|narrow).*; wanted one name or"):
        check(BraVeConfig(broad=broad))


def test_predictors_learn_faster_and_nothing_is_in_two_groups():
    for shared in (True, False):
        rest, quick = make(shared=shared).param_groups()
        assert (rest.lr_scale, quick.lr_scale) == (1.0, 10.0)
        every = [id(p) for p in rest.params + quick.params]
        assert len(set(every)) == len(every)
        assert len(quick.params) == 6 * (1 if shared else 2)


def test_one_projector_wants_encoders_of_one_width():
    with pytest.raises(UsageError, match=r"encoders of 3 and 5 channels\. Set --method\.shared"):
        make(broad=5)
    assert isinstance(make(broad=5, shared=False), BraVe)
