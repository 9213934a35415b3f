import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.losses.regression import normalised_mse
from manyviews.methods.distillation.byol import BYOL, BYOLConfig
from manyviews.parts.norm import BatchNorm
from tiny import given


def equation_2(prediction, target):
    """2 - 2 <q, z'> / (|q| |z'|), averaged."""
    total = 0.0
    for q, z in zip(prediction, target, strict=True):
        dot = sum(a * b for a, b in zip(q, z, strict=True))
        lengths = sum(a * a for a in q).sqrt() * sum(b * b for b in z).sqrt()
        total = total + 2 - 2 * dot / lengths
    return total / len(prediction)


def test_normalised_mse_is_equation_2():
    prediction, target = gaussian(0, 5, 4), gaussian(1, 5, 4)
    ours = normalised_mse(prediction, target)
    assert_same(ours, equation_2(prediction, target.detach()), (prediction,))


def test_no_gradient_goes_to_the_target():
    prediction, target = gaussian(0, 5, 4), gaussian(1, 5, 4)
    normalised_mse(prediction, target).backward()
    assert prediction.grad.any()
    assert target.grad is None


def test_the_authors_code_gives_the_same_loss_and_gradient():
    data = load("byol")
    a, b = data["prediction_a"].requires_grad_(), data["prediction_b"].requires_grad_()
    loss = normalised_mse(a, data["target_b"]) + normalised_mse(b, data["target_a"])
    torch.testing.assert_close(loss.detach(), data["loss"])
    gradient = torch.autograd.grad(loss, (a, b))
    torch.testing.assert_close(gradient, (data["gradient_a"], data["gradient_b"]))


def test_the_momentum_is_the_authors_schedule():
    data = load("byol")
    schedule = BYOLConfig().momentum
    ours = [schedule.at(Clock(int(s), 100)) for s in data["steps"]]
    # JAX computes the cosine in float32.
    torch.testing.assert_close(torch.tensor(ours).double(), data["momentum"], rtol=1e-6, atol=0)


def small(seed=0):
    torch.manual_seed(seed)
    return BYOL(given(Raw(3)), BYOLConfig(hidden=5, out=4)).double().train()


def test_the_loss_is_the_sum_of_both_directions():
    method = small()
    with torch.no_grad():  # a target that differs from the online network
        for p in method.target.copy.parameters():
            p.mul_(1.5).add_(0.1)
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3)
    online, predictor, target = method.online.head, method.predictor, method.target.copy.head
    expected = equation_2(predictor(online(a)), target(b).detach())
    expected = expected + equation_2(predictor(online(b)), target(a).detach())
    assert_same(method(batch_of(a, b), Clock(0, 10)).total, expected, (a, b))


def test_a_step_moves_the_target_by_the_momentum_of_that_step():
    method = small()
    before = method.target.copy.head[0].weight.clone()
    with torch.no_grad():
        method.online.head[0].weight.add_(1.0)
    method.after_step(Clock(5, 10))  # halfway: 1 - 0.004 / 2
    moved = method.target.copy.head[0].weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.002))


def test_projector_and_predictor_are_the_papers():
    """deepmind-research byol/utils/networks.py: bias before the norm, none after, no last norm."""
    method = BYOL(given(Raw(6)), BYOLConfig())
    for head, wide in ((method.online.head, 6), (method.predictor, 256)):
        assert [type(m) for m in head] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]
        assert (head[0].in_features, head[0].out_features) == (wide, 4096)
        assert (head[3].in_features, head[3].out_features) == (4096, 256)
        assert head[0].bias is not None
        assert head[3].bias is None


def test_each_view_has_batch_statistics_of_its_own():
    method = small()
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3) * 3 + 5
    z = method(batch_of(a, b), Clock(0, 10)).projection
    torch.testing.assert_close(z[:, 0], method.online.head(a).detach())
    torch.testing.assert_close(z[:, 1], method.online.head(b).detach())
