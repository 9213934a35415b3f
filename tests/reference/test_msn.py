"""MSN against its formula and against numbers of the authors' code (data/README.md)."""

import math

import pytest
import torch
import torch.nn.functional as F
from raw import assert_alike, assert_same, gaussian, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock, UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.clustering import shared_cross_entropy
from manyviews.losses.entropy import discrete_entropy, prior_divergence
from manyviews.methods.distillation.msn import MSN, MSNConfig
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import TinyViT, given, make_batch

SAVED = load("msn")
CLOSE = {"rtol": 1e-8, "atol": 1e-12}
VIT = ViTConfig(input=Pixels(side=32), patch=4, width=12, depth=2, heads=3, interpolation="mae")
OPTIM = Optim(name="adamw", lr=0.01, lr_per=0, lr_end=1.0, weight_decay=0.04)
ROUNDS = {"sinkhorn": 3, "plain": 0}
LAYERS = {"0": "fc1", "1": "bn1", "3": "fc2", "4": "bn2", "6": "fc3"}


def theirs(name):
    """A parameter of ours by the authors' name."""
    if name == "prototypes.weight_v":
        return "prototypes"
    name = name.removeprefix("online.").removeprefix("encoder.model.")
    if not name.startswith("head."):
        return name
    _, layer, kind = name.split(".")
    return f"fc.{LAYERS[layer]}.{kind}"


def authors_method(kind):
    config = MSNConfig(
        hidden=16,
        out=6,
        prototypes=9,
        rounds=ROUNDS[kind],
        momentum=Ramp(0.9, 1.0, fraction=1.0),
    )
    method = MSN(given(encoders.build(VIT)), config).double().train()
    weigh(method.online, theirs)
    with torch.no_grad():
        method.prototypes.weight_v.copy_(hashed("prototypes", 9, 6))
    method.target.copy.load_state_dict(method.online.state_dict())
    return method


def authors_batch(i):
    """Step i: two crops of 8 x 8 patches and three of 3 x 3; all samples lose the same patches."""
    crops = [
        2 * hashed(f"crop.{i}.{v}", 5, 3, side, side) for v, side in enumerate([32, 32] + [12] * 3)
    ]
    kept = torch.argsort(hashed(f"drop.{i}", 64))[: int(64 * 0.85)]
    hidden = torch.ones(64, dtype=torch.bool)
    hidden[kept] = False
    views = {"global": torch.stack(crops[:2], dim=1), "local": torch.stack(crops[2:], dim=1)}
    return Batch(views, torch.arange(5), {"global.mask": hidden.expand(5, 2, 64)})


@pytest.mark.parametrize("kind", ROUNDS)
def test_six_steps_of_a_vit_are_those_of_the_authors_code(kind):
    method = authors_method(kind)
    updates, losses = build(method, OPTIM, 5), []
    for i in range(6):
        clock = Clock(i, 6)
        updates.set_rates(clock)
        step = method(authors_batch(i), clock)
        updates.clear()
        step.total.backward()
        if i == 0:
            grads = {
                theirs(k): p.grad.clone() for k, p in method.named_parameters() if p.requires_grad
            }
            assert_alike(summary(grads), SAVED[f"{kind}.gradients"], within=1e-8)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        losses.append([step.losses[k].detach() for k in ("assignment", "use")])
    found = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(found, SAVED[f"{kind}.losses"], **CLOSE)
    student = {k: p for k, p in method.named_parameters() if p.requires_grad}
    teacher = dict(method.target.copy.named_parameters())
    for key, found in (("student", student), ("teacher", teacher)):
        found = {theirs(k): p.detach() for k, p in found.items()}
        if kind == "plain":
            assert_alike(summary(found), SAVED[f"plain.{key}"], within=1e-7)
            continue
        expected = {k for k in SAVED if k.startswith(f"sinkhorn.{key}.")}
        assert expected == {f"sinkhorn.{key}.{k}" for k in found}
        for k, value in found.items():
            # processors round differently: 3e-9 apart after six steps
            torch.testing.assert_close(value, SAVED[f"sinkhorn.{key}.{k}"], rtol=1e-6, atol=1e-8)


def msn_by_loops(logits, target, exponent):
    """Equation 1, with a power law for the uniform prior."""
    rows = [[view.exp() / view.exp().sum() for view in sample] for sample in logits]
    lost = [-(t * p.log()).sum() for sample, t in zip(rows, target, strict=True) for p in sample]
    mean = sum(p for sample in rows for p in sample) / len(lost)
    prior = torch.tensor([k**-exponent for k in range(1, len(mean) + 1)], dtype=mean.dtype)
    return sum(lost) / len(lost), (mean * (mean / (prior / prior.sum())).log()).sum()


@pytest.mark.parametrize("exponent", [0.0, 0.25, 1.5])
def test_both_losses_and_their_gradients_are_the_formula(exponent):
    logits = gaussian(0, 4, 3, 6)
    target = gaussian(1, 4, 6).detach().softmax(dim=1)
    method = small(prior=exponent, rounds=0)
    expected = msn_by_loops(logits, target, exponent)
    use = prior_divergence(logits.flatten(0, 1).softmax(dim=1), method._log_prior(logits))
    for ours, other in zip((shared_cross_entropy(logits, target), use), expected, strict=True):
        assert_same(ours, other, logits, rtol=1e-10, atol=1e-13)


def test_the_uniform_prior_keeps_the_mean_distributions_entropy_high():
    z = gaussian(0, 5, 6)
    p = z.softmax(dim=1)
    uniform = torch.full((6,), -math.log(6), dtype=torch.float64)
    expected = math.log(6) - discrete_entropy(p)
    assert_same(prior_divergence(p, uniform), expected, z, rtol=1e-10, atol=1e-13)


def small(**settings):
    torch.manual_seed(0)
    config = MSNConfig(**({"hidden": 16, "out": 8, "prototypes": 12} | settings))
    return MSN(given(TinyViT()), config).double().train()


def test_a_prior_brings_the_use_of_prototypes_to_a_power_law():
    """The term alone, on free logits: the mean distribution becomes the prior."""
    method = small(prior=1.0, rounds=0)
    logits = torch.zeros(8, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        prior_divergence(logits.softmax(dim=1), method._log_prior(logits)).backward()
        optimizer.step()
    share = torch.tensor([1 / k for k in range(1, 7)], dtype=torch.float64)
    found = logits.detach().softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(found, share / share.sum(), atol=1e-3, rtol=0)


def test_sinkhorn_and_a_prior_contradict_each_other():
    with pytest.raises(UsageError, match="0 with a prior, as Sinkhorn has all used alike"):
        settings.check(MSNConfig(prior=0.5))
    settings.check(MSNConfig(prior=0.5, rounds=0))


def test_targets_are_sharpened_and_see_the_first_view_whole():
    method, batch = small(rounds=0), make_batch(0, dtype=torch.float64)
    z = method.target(batch.views["global"][:, 0])[1]
    cosines = F.normalize(z, dim=1) @ F.normalize(method.prototypes.weight_v, dim=1).T
    power = (cosines / 0.1).softmax(dim=1) ** 4
    expected = power / power.sum(dim=1, keepdim=True)
    torch.testing.assert_close(method._target(cosines), expected.detach())
    torch.testing.assert_close(method.assign(batch.views["global"][:, 0]), expected)


def test_anchors_do_not_see_what_is_masked_and_the_first_view_is_no_anchor():
    method, batch = small(), make_batch(0, dtype=torch.float64)
    before = method(batch, Clock(0, 1)).projection.detach()
    hidden = batch.cues["global.mask"].flatten(0, 1)
    cover = hidden.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    noise = torch.randn(8, 2, 3, 16, 16).double()
    batch.views["global"].add_(noise * cover)
    batch.views["global"][:, 0].add_(noise[:, 0])
    after = method(batch, Clock(0, 1)).projection.detach()
    assert before.shape == (8, 3, 8)
    torch.testing.assert_close(before, after)


def test_the_kept_encoder_is_the_targets_and_prototypes_are_not_decayed():
    method = small()
    assert method.encoder is method.target.copy.encoder
    last = method.param_groups()[-1]
    assert last.params == [method.prototypes.weight_v]
    assert not last.decay
