"""iBOT against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import assert_alike, assert_same, gaussian, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Cosine, Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.clustering import masked_cross_entropy
from manyviews.methods.distillation.ibot import IBOT, IBOTConfig
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import SIDE, TinyViT, given, make_batch

SAVED = load("ibot")
CLOSE = {"rtol": 1e-8, "atol": 1e-12}
VIT = ViTConfig(input=Pixels(side=32), patch=4, width=12, depth=2, heads=3, interpolation="dino")
OPTIM = Optim(
    name="adamw",
    lr=0.01,
    lr_per=0,
    lr_end=1e-3,
    weight_decay=0.04,
    weight_decay_end=0.4,
    clip=0.3,
    clip_each=True,
)


def theirs(name):
    """A parameter of ours by the authors' name."""
    if name == "mask_token":
        return "backbone.masked_embed"
    return name.replace("encoder.model.", "backbone.").removeprefix("online.")


def authors_method(own):
    config = IBOTConfig(
        hidden=16,
        bottleneck=6,
        prototypes=10,
        patch_prototypes=own,
        patches=0.7,
        teacher_temperature=Ramp(0.04, 0.06, fraction=2 / 4, by_epoch=True),
        patch_temperature=Ramp(0.04, 0.07, fraction=2 / 4, by_epoch=True),
        momentum=Cosine(0.9, 1.0),
        frozen_until=1 / 4,
    )
    method = IBOT(given(encoders.build(VIT)), config).double().train()
    weigh(method.online, theirs)
    with torch.no_grad():
        method.mask_token.copy_(hashed("backbone.masked_embed", 1, 12) * (6 / 12) ** 0.5)
        for layer in (method.online.head.last_layer, method.online.head.last_layer2):
            if layer is not None:
                layer.weight_g.fill_(1)
    method.target.copy.load_state_dict(method.online.state_dict())
    return method


def authors_batch(i):
    """Step i: two crops of 8 x 8 patches, four of 3 x 3; an image of each view hides nothing."""
    crops = [
        2 * hashed(f"crop.{i}.{v}", 3, 3, side, side) for v, side in enumerate([32, 32] + [12] * 4)
    ]
    masks = [hashed(f"mask.{i}.{v}", 3, 8, 8) > 0.3 for v in range(2)]
    for v, mask in enumerate(masks):
        mask[v] = False
    views = {"global": torch.stack(crops[:2], dim=1), "local": torch.stack(crops[2:], dim=1)}
    return Batch(views, torch.arange(3), {"global.mask": torch.stack(masks, dim=1).flatten(2)})


@pytest.mark.parametrize(("name", "own"), [("tied", 0), ("untied", 7)])
def test_eight_steps_of_a_vit_are_those_of_the_authors_code(name, own):
    method = authors_method(own)
    updates, losses = build(method, OPTIM, 3), []
    for i in range(8):
        clock = Clock(i, 8, epoch=i // 2, epochs=4)
        updates.set_rates(clock)
        step = method(authors_batch(i), clock)
        updates.clear()
        step.total.backward()
        method.after_backward(step, clock)
        updates.freeze(clock)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        losses.append([step.losses[k].detach() for k in ("distillation", "patches")])
    torch.testing.assert_close(
        torch.tensor(losses, dtype=torch.float64), SAVED[f"{name}.losses"], **CLOSE
    )
    for ours, key in ((method.center, "center"), (method.patch_center, "patch_center")):
        torch.testing.assert_close(ours.mean, SAVED[f"{name}.{key}"], **CLOSE)
    student = dict(method.online.named_parameters()) | {"mask_token": method.mask_token}
    for key, found in (
        ("student", student),
        ("teacher", dict(method.target.copy.named_parameters())),
    ):
        found = {theirs(k): p.detach() for k, p in found.items()}
        if own:
            assert_alike(summary(found), SAVED[f"untied.{key}"], within=1e-7)
            continue
        expected = {k for k in SAVED if k.startswith(f"tied.{key}.")}
        assert expected == {f"tied.{key}.{k}" for k in found}
        for k, value in found.items():
            # processors round differently: 3e-9 apart after six steps
            torch.testing.assert_close(value, SAVED[f"tied.{key}.{k}"], rtol=1e-6, atol=1e-8)


def patches_by_loops(scores, target, hidden, temperature):
    """Equation 2, patch by patch."""
    total, row = 0.0, 0
    for view in hidden:
        lost = 0.0
        for _ in range(int(view.sum())):
            p = (scores[row] / temperature).exp()
            lost = lost - (target[row] * (p / p.sum()).log()).sum()
            row += 1
        total = total + lost / max(1, int(view.sum()))
    return total / len(hidden)


def test_the_loss_of_patches_and_its_gradient_are_the_formula():
    hidden = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    scores = gaussian(0, 4, 6)
    target = gaussian(1, 4, 6).detach().softmax(dim=1)
    ours = masked_cross_entropy(scores, target, hidden, temperature=0.3)
    assert_same(ours, patches_by_loops(scores, target, hidden, 0.3), scores, rtol=1e-10, atol=1e-13)


def test_views_that_hide_nothing_cost_nothing_and_have_a_gradient():
    none = torch.zeros(2, 4, dtype=torch.bool)
    scores = gaussian(0, 0, 6)
    loss = masked_cross_entropy(scores, scores.detach(), none, temperature=0.1)
    assert loss == 0
    loss.backward()


def small():
    torch.manual_seed(0)
    config = IBOTConfig(hidden=16, bottleneck=8, prototypes=12)
    return IBOT(given(TinyViT()), config).double().train()


def losses(method, batch):
    return {k: float(v.detach()) for k, v in method(batch, Clock(0, 1)).losses.items()}


def test_the_teacher_sees_hidden_patches_and_the_student_does_not():
    method, batch = small(), make_batch(0, dtype=torch.float64)
    with torch.no_grad():
        method.mask_token.add_(1)
    hidden = batch.cues["global.mask"].flatten(0, 1)
    cover = hidden.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    seen, kept = [], []
    method.online.encoder.register_forward_hook(lambda m, i, o: seen.append(o.pooled))
    method.target.copy.encoder.register_forward_hook(lambda m, i, o: kept.append(o.pooled))
    method(batch, Clock(0, 1))
    batch.views["global"].add_(torch.randn(8, 2, 3, SIDE, SIDE).double() * cover)
    method(batch, Clock(0, 1))
    assert torch.equal(seen[0], seen[2])  # global, local; global, local
    assert not torch.equal(kept[0], kept[1])


def test_views_without_masks_have_dinos_loss_alone():
    method, batch = small(), make_batch(0, dtype=torch.float64)
    batch.cues["global.mask"][:] = False
    found = losses(method, batch)
    assert found["patches"] == 0
    assert found["distillation"] > 0


def test_the_kept_encoder_is_the_teachers():
    method = small()
    assert method.encoder is method.target.copy.encoder
    assert method.encoder is not method.online.encoder
