"""DINOv2 against its formulas and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import assert_alike, assert_same, gaussian, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Cosine, Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.sphere import koleo
from manyviews.methods.distillation.dinov2 import DINOv2, DINOv2Config
from manyviews.parts.assign import Center
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import TinyViT, given, make_batch

SAVED = load("dinov2")
CLOSE = {"rtol": 1e-8, "atol": 1e-12}
VIT = ViTConfig(
    name="vit_small_patch14_dinov2",
    input=Pixels(side=32),
    patch=4,
    width=12,
    depth=2,
    heads=3,
    interpolation="dinov2",
)
OPTIM = Optim(
    name="adamw",
    lr=0.01,
    lr_per=0,
    lr_end=1e-3,
    weight_decay=0.04,
    weight_decay_end=0.4,
    layer_decay=0.9,
)
KINDS = {
    "sinkhorn": {"balance": "sinkhorn", "patch_prototypes": 7, "patch_bottleneck": 5},
    "center": {"balance": "center", "patch_prototypes": 0},
}


def theirs(name):
    """A parameter of ours by the authors' name."""
    if name == "mask_token":
        return "backbone.mask_token"
    name = name.removeprefix("online.").replace("encoder.model.", "backbone.")
    return name.replace("head.views.", "dino_head.").replace("head.own.", "ibot_head.")


def authors_method(kind):
    config = DINOv2Config(
        hidden=16,
        bottleneck=6,
        prototypes=10,
        patches=0.7,
        teacher_temperature=Ramp(0.04, 0.07, fraction=3 / 6),
        momentum=Cosine(0.9, 1.0),
        frozen_until=0.0,
        **KINDS[kind],
    )
    method = DINOv2(given(encoders.build(VIT)), config).double().train()
    weigh(method.online, theirs)
    with torch.no_grad():
        method.mask_token.copy_(hashed("backbone.mask_token", 1, 12) * (6 / 12) ** 0.5)
        for name, p in method.online.named_parameters():
            if name.endswith("weight_g"):
                p.fill_(1)
    method.target.copy.load_state_dict(method.online.state_dict())
    return method


def authors_batch(i):
    """Step i: two crops of 8 x 8 patches, four of 3 x 3; an image of each view hides nothing."""
    crops = [
        2 * hashed(f"crop.{i}.{v}", 4, 3, side, side) for v, side in enumerate([32, 32] + [12] * 4)
    ]
    masks = [hashed(f"mask.{i}.{v}", 4, 8, 8) > 0.3 for v in range(2)]
    for v, mask in enumerate(masks):
        mask[v] = False
    views = {"global": torch.stack(crops[:2], dim=1), "local": torch.stack(crops[2:], dim=1)}
    return Batch(views, torch.arange(4), {"global.mask": torch.stack(masks, dim=1).flatten(2)})


@pytest.mark.parametrize("kind", KINDS)
def test_six_steps_of_a_vit_are_those_of_the_authors_code(kind):
    """With AdamW, its groups, rates by depth, and the slow patch embedding."""
    method = authors_method(kind)
    updates, losses = build(method, OPTIM, 4), []
    for i in range(6):
        clock = Clock(i, 6)
        updates.set_rates(clock)
        step = method(authors_batch(i), clock)
        updates.clear()
        step.total.backward()
        method.after_backward(step, clock)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        losses.append([step.losses[k].detach() for k in ("distillation", "patches", "koleo")])
    found = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(found, SAVED[f"{kind}.losses"], **CLOSE)
    for name, key in (("views", "center"), ("patches", "patch_center")):
        if kind == "center":
            torch.testing.assert_close(method.centers[name].mean, SAVED[f"center.{key}"], **CLOSE)
    student = dict(method.online.named_parameters()) | {"mask_token": method.mask_token}
    teacher = dict(method.target.copy.named_parameters())
    for key, found in (("student", student), ("teacher", teacher)):
        found = {theirs(k): p.detach() for k, p in found.items()}
        if kind == "center":
            assert_alike(summary(found), SAVED[f"center.{key}"], within=1e-7)
            continue
        expected = {k for k in SAVED if k.startswith(f"sinkhorn.{key}.")}
        assert expected == {f"sinkhorn.{key}.{k}" for k in found}
        for k, value in found.items():
            # processors round differently: 3e-9 apart after six steps
            torch.testing.assert_close(value, SAVED[f"sinkhorn.{key}.{k}"], rtol=1e-6, atol=1e-8)


def test_koleo_and_its_gradient_are_those_of_the_authors_code():
    x = hashed("koleo", 7, 5).requires_grad_()
    loss = koleo(x)
    (grad,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(loss.detach(), SAVED["koleo.loss"], **CLOSE)
    torch.testing.assert_close(grad, SAVED["koleo.grad"], **CLOSE)


def koleo_by_loops(x):
    """Equation 4 of Sablayrolles et al., sample by sample."""
    units = [row / row.norm() for row in x]
    total = 0.0
    for i, one in enumerate(units):
        nearest = min((other - one).norm() for j, other in enumerate(units) if j != i)
        total = total - nearest.log() / len(units)
    return total


def test_koleo_and_its_gradient_are_the_formula():
    x = gaussian(0, 6, 4)
    assert_same(koleo(x), koleo_by_loops(x), x, rtol=1e-6, atol=1e-7)


def test_koleo_bears_twins_and_refuses_a_batch_of_one():
    twins = torch.ones(2, 3, requires_grad=True)
    koleo(twins).backward()
    assert twins.grad.isfinite().all()
    with pytest.raises(UsageError, match=r"the batch has 1 image\. Raise --data\.batch-size"):
        koleo(torch.ones(1, 3))


def test_a_centre_that_ranks_fill_unevenly_moves_by_the_mean_of_rows_and_not_by_none():
    one, two = Center(3).double(), Center(3).double()
    rows = gaussian(0, 4, 3).detach()
    one.update(rows)
    two.update_by(rows.sum(dim=0), torch.tensor(4))
    torch.testing.assert_close(one.mean, two.mean)
    before = two.mean.clone()
    two.update_by(torch.zeros(3).double(), torch.tensor(0))
    assert torch.equal(two.mean, before)


def small(**settings):
    torch.manual_seed(0)
    sizes = {"hidden": 16, "bottleneck": 8, "prototypes": 12}
    config = DINOv2Config(**({"patch_prototypes": 12} | sizes | settings))
    return DINOv2(given(TinyViT()), config).double().train()


@pytest.mark.parametrize("settings", [{}, {"patch_prototypes": 0}, {"balance": "center"}])
def test_a_batch_that_hides_nothing_trains(settings):
    method, batch = small(**settings), make_batch(0, dtype=torch.float64)
    batch.cues["global.mask"][:] = False
    step = method(batch, Clock(0, 1))
    assert step.losses["patches"] == 0
    step.total.backward()
    method.after_backward(step, Clock(0, 1))
    assert all(b.isfinite().all() for b in method.buffers())


def test_koleo_can_be_left_out():
    assert "koleo" not in small(koleo=0.0)(make_batch(0, dtype=torch.float64), Clock(0, 1)).losses


def test_prototypes_begin_fixed_and_the_patch_embedding_is_slow():
    method = DINOv2(
        given(encoders.build(VIT)), DINOv2Config(hidden=16, prototypes=12, patch_prototypes=12)
    )
    rest, slow, last = method.param_groups()
    assert [p.shape for p in slow.params] == [(12, 3, 4, 4), (12,)]
    assert slow.lr_scale == 0.2
    assert len(last.params) == 4
    assert last.frozen_until == 1 / 500
    assert any(p is method.mask_token for p in rest.params)


def test_registers_are_no_patches_and_train():
    vit = ViTConfig(
        name="vit_small_patch14_reg4_dinov2",
        input=Pixels(side=16),
        patch=4,
        width=12,
        depth=2,
        heads=3,
        interpolation="dinov2",
    )
    torch.manual_seed(0)
    encoder = encoders.build(vit)
    method = DINOv2(given(encoder), DINOv2Config(hidden=16, prototypes=12, patch_prototypes=12))
    method(make_batch(0), Clock(0, 1)).total.backward()
    assert encoder.model.reg_token.shape == (1, 4, 12)
    assert encoder.model.reg_token.grad.any()
