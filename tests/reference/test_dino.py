"""DINO against its formula and against numbers of the authors' code (data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from raw import hashed, load, weigh
from torch import nn

from manyviews import encoders
from manyviews.core import Batch, Clock, Encoder, Features
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Cosine, Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.clustering import swapped_cross_entropy
from manyviews.methods.distillation.dino import DINO, DINOConfig
from manyviews.parts.assign import Center
from manyviews.parts.crops import encode_crops
from manyviews.parts.prototypes import DINOHead, UnitLinear
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import TinyViT, given, make_batch

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "dino.npz").items()
}
VIT = load("dino_vit")
CLOSE = {"rtol": 1e-8, "atol": 1e-12}


def saved(prefix):
    return {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}


def dino_by_loops(student, teacher, center, student_temperature, teacher_temperature):
    """Equation 3 pair by pair, never a view with itself."""
    count, views, _ = student.shape
    terms = []
    for q in range(teacher.shape[1]):
        for v in range(views):
            if v == q:
                continue
            term = 0.0
            for b in range(count):
                weights = ((teacher[b, q] - center) / teacher_temperature).exp()
                p = (weights / weights.sum()).detach()
                s = (student[b, v] / student_temperature).exp()
                term = term - (p * (s / s.sum()).log()).sum() / count
            terms.append(term)
    return sum(terms) / len(terms)


class Net(Encoder):
    """The backbone of the saved run."""

    dim, grid = 6, (4, 4)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        tokens = F.gelu(self.conv(x)).flatten(2).transpose(1, 2)
        return Features(tokens.mean(dim=1), tokens)


@pytest.mark.parametrize("views", [2, 5])
def test_the_loss_and_its_gradient_are_the_formula(views):
    g = torch.Generator().manual_seed(0)
    student = torch.randn(4, views, 6, generator=g, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 2, 6, generator=g, dtype=torch.float64)
    center = Center(6).double()
    center.mean.copy_(torch.linspace(-1, 1, 6))
    target = center(teacher, temperature=0.05)
    ours = swapped_cross_entropy(student, target, temperature=0.1)
    (grad,) = torch.autograd.grad(ours, student)
    theirs = dino_by_loops(student, teacher, center.mean, 0.1, 0.05)
    (expected,) = torch.autograd.grad(theirs, student)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-14)


def test_loss_gradient_and_centre_over_three_epochs_are_those_of_the_authors_code():
    center = Center(7).double()
    temperature = Ramp(0.04, 0.07, fraction=3 / 5, by_epoch=True)
    for i, epoch in enumerate([0, 1, 4]):
        student = SAVED[f"loss.student{i}"].requires_grad_()
        teacher = SAVED[f"loss.teacher{i}"]
        at = temperature.at(Clock(epoch, 5, epoch=epoch, epochs=5))
        target = center(teacher, temperature=at)
        loss = swapped_cross_entropy(student, target, temperature=0.1)
        (grad,) = torch.autograd.grad(loss, student)
        center.update(teacher)
        torch.testing.assert_close(loss.detach(), SAVED[f"loss.loss{i}"], **CLOSE)
        torch.testing.assert_close(grad, SAVED[f"loss.grad{i}"], **CLOSE)
        torch.testing.assert_close(center.mean, SAVED[f"loss.center{i}"], **CLOSE)


@pytest.mark.parametrize("warm", [0, 1, 2, 5])
def test_the_teachers_temperature_warms_up_as_the_authors_linspace(warm):
    """main_dino.py:374; a warm-up of one epoch is one number, the first."""
    theirs = np.concatenate([np.linspace(0.04, 0.07, warm), np.full(10 - warm, 0.07)])
    temperature = Ramp(0.04, 0.07, fraction=warm / 10, by_epoch=True)
    ours = [temperature.at(Clock(epoch, 10, epoch=epoch, epochs=10)) for epoch in range(10)]
    assert ours == pytest.approx(theirs.tolist(), rel=1e-12)


def test_the_head_and_its_gradients_are_those_of_the_authors_code():
    head = DINOHead(6, hidden=8, bottleneck=4, prototypes=10, fixed=False, norm=False).double()
    head.load_state_dict(saved("head.p."))
    x = SAVED["head.x"].requires_grad_()
    y = head(x)
    torch.testing.assert_close(y, SAVED["head.y"], **CLOSE)
    (y * SAVED["head.w"]).sum().backward()
    torch.testing.assert_close(x.grad, SAVED["head.gx"], **CLOSE)
    for name, p in head.named_parameters():
        torch.testing.assert_close(p.grad, SAVED[f"head.g.{name}"], **CLOSE)


def test_six_steps_of_the_whole_method_are_those_of_the_authors_code():
    config = DINOConfig(
        hidden=8,
        bottleneck=4,
        prototypes=10,
        teacher_temperature=Ramp(0.04, 0.07, fraction=2 / 3, by_epoch=True),
        momentum=Cosine(0.9, 1.0),
        frozen_until=1 / 3,
    )
    method = DINO(given(Net()), config).double().train()
    start = {k.replace("backbone", "encoder"): v for k, v in saved("run.p0.").items()}
    method.online.load_state_dict(start)
    method.target.copy.load_state_dict(start)
    losses = []
    for i in range(6):
        views = {name: SAVED[f"run.{name}{i}"].double() for name in ("global", "local")}
        clock = Clock(i, 6, epoch=i // 2, epochs=3)
        step = method(Batch(views, torch.arange(4)), clock)
        method.zero_grad()
        step.total.backward()
        method.after_backward(step, clock)
        with torch.no_grad():
            for group in method.param_groups():
                for p in group.params if clock.progress >= group.frozen_until else []:
                    p -= 0.5 * p.grad
        method.after_step(clock)
        losses.append(step.total.detach())
    torch.testing.assert_close(torch.stack(losses), SAVED["run.losses"], **CLOSE)
    torch.testing.assert_close(method.center.mean, SAVED["run.center"], **CLOSE)
    for name, module in (("s", method.online), ("t", method.target.copy)):
        for key, value in module.state_dict().items():
            expected = SAVED[f"run.{name}." + key.replace("encoder", "backbone")]
            torch.testing.assert_close(value, expected, **CLOSE)


def test_eight_steps_of_a_vit_with_local_crops_are_those_of_the_authors_code():
    """Global crops of 8 x 8 patches, local ones of 3 x 3: the positions go by DINO's rule.

    AdamW, its groups, its schedules and the clipping of each tensor are part of it.
    """
    config = DINOConfig(
        hidden=16,
        bottleneck=6,
        prototypes=10,
        teacher_temperature=Ramp(0.04, 0.07, fraction=2 / 4, by_epoch=True),
        momentum=Cosine(0.9, 1.0),
        frozen_until=1 / 4,
    )
    vit = ViTConfig(
        input=Pixels(side=32), patch=4, width=12, depth=2, heads=3, interpolation="dino"
    )
    method = DINO(given(encoders.build(vit)), config).double().train()

    def theirs(name):
        return name.replace("encoder.model.", "backbone.").removeprefix("online.")

    weigh(method.online, theirs)
    with torch.no_grad():
        method.online.head.last_layer.weight_g.fill_(1)
    method.target.copy.load_state_dict(method.online.state_dict())
    optim = Optim(
        name="adamw",
        lr=0.01,
        lr_per=0,
        lr_end=1e-3,
        weight_decay=0.04,
        weight_decay_end=0.4,
        clip=0.3,
        clip_each=True,
    )
    updates, losses = build(method, optim, 3), []
    for i in range(8):
        crops = [
            2 * hashed(f"crop.{i}.{v}", 3, 3, side, side)
            for v, side in enumerate([32, 32] + [12] * 4)
        ]
        views = {"global": torch.stack(crops[:2], dim=1), "local": torch.stack(crops[2:], dim=1)}
        clock = Clock(i, 8, epoch=i // 2, epochs=4)
        updates.set_rates(clock)
        step = method(Batch(views, torch.arange(3)), clock)
        updates.clear()
        step.total.backward()
        method.after_backward(step, clock)
        updates.freeze(clock)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        losses.append(step.total.detach())
    torch.testing.assert_close(torch.stack(losses), VIT["losses"], **CLOSE)
    torch.testing.assert_close(method.center.mean, VIT["center"], **CLOSE)
    for name, module in (("student", method.online), ("teacher", method.target.copy)):
        for key, value in module.state_dict().items():
            # A key's bias has no true gradient: AdamW divides rounding by rounding.
            expected = VIT[f"{name}.{theirs(key)}"]
            torch.testing.assert_close(value, expected, rtol=CLOSE["rtol"], atol=1e-9)


def test_only_the_first_layers_get_dinos_initial_weights():
    torch.manual_seed(0)
    head = DINOHead(64, hidden=128, bottleneck=64, prototypes=512, fixed=True, norm=False)
    for layer in head.mlp:
        if isinstance(layer, nn.Linear):
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
            assert not layer.bias.any()
    # PyTorch's default is uniform within 1 / sqrt(inputs).
    last = head.last_layer.weight_v.detach()
    assert float(last.abs().max()) == pytest.approx(1 / 8, rel=0.01)
    assert float(last.std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.05)


def test_fixed_lengths_stay_one():
    assert not UnitLinear(4, 3).weight_g.requires_grad
    assert UnitLinear(4, 3, fixed=False).weight_g.requires_grad
    layer, x = UnitLinear(4, 3), F.normalize(torch.randn(5, 4), dim=1)
    with torch.no_grad():
        layer.weight_v.mul_(7)
    assert float(layer(x).detach().abs().max()) <= 1 + 1e-6


def test_the_teacher_has_no_stochastic_depth_and_no_dropout():
    class Noisy(TinyViT):
        def __init__(self):
            super().__init__()
            from timm.layers import DropPath

            self.drop, self.path = nn.Dropout(0.5), DropPath(0.5)

        def forward(self, x, **tokens):
            features = super().forward(x, **tokens)
            return Features(self.path(self.drop(features.pooled)), features.tokens)

    method = DINO(given(Noisy()), DINOConfig(hidden=8, bottleneck=4, prototypes=6)).train()
    x = make_batch(0).views["global"][:, 0]
    assert torch.equal(method.target(x)[1], method.target(x)[1])
    assert not torch.equal(method.online(x)[1], method.online(x)[1])


def test_crops_of_one_resolution_share_one_pass_and_globals_come_first():
    calls = []

    class Spy(TinyViT):
        def forward(self, x, **tokens):
            calls.append(tuple(x.shape))
            return super().forward(x, **tokens)

    encoder, batch = Spy(), make_batch(0, size=3, local=4)
    h = encode_crops(encoder, batch.views)
    assert calls == [(6, 3, 16, 16), (12, 3, 8, 8)]
    expected = encoder(batch.views["local"][:, 1]).pooled
    torch.testing.assert_close(h[:, 3], expected, rtol=1e-4, atol=1e-5)
    calls.clear()
    same = {"global": batch.views["global"], "local": batch.views["global"] + 1}
    assert encode_crops(encoder, same).shape == (3, 4, 16)
    assert calls == [(12, 3, 16, 16)]


def test_the_kept_encoder_is_the_teachers():
    method = DINO(given(TinyViT()), DINOConfig(hidden=8, bottleneck=4, prototypes=6))
    assert method.encoder is method.target.copy.encoder
    assert method.encoder is not method.online.encoder
