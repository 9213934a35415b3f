"""MoCo v3 against numbers of the authors' class (data/README.md)."""

import math

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import Tensor, nn

from manyviews import encoders
from manyviews.core import Clock, Encoder, Features, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Cosine
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.contrastive.mocov3 import MoCoV3, MoCoV3Config
from tiny import given

SAVED = load("mocov3")
KINDS = {"resnet": ("fc", {}), "vit": ("head", {"layers": 3, "predictor_norm": True})}


class Body(Encoder):
    """The encoder that the authors' class was run with."""

    dim, grid = 5, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        out = self.body(x)
        return Features(out, out[:, None])


def ours_of(kind, prefix) -> dict[str, Tensor]:
    """The authors' tensors under our names."""
    begin, found = f"{kind}.{prefix}.", {}
    for key, value in SAVED.items():
        if key.startswith(begin):
            name = key.removeprefix(begin)
            for theirs, ours in {
                "base_encoder.": "online.",
                "momentum_encoder.": "target.copy.",
                "online.body": "online.encoder.body",
                "target.copy.body": "target.copy.encoder.body",
                f".{KINDS[kind][0]}.": ".head.",
            }.items():
                name = name.replace(theirs, ours, 1)
            found[name] = value
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_three_steps_are_those_of_the_authors_class(kind):
    temperature, momentum = float(SAVED["temperature"]), float(SAVED["momentum"])
    config = MoCoV3Config(
        temperature=temperature,
        momentum=Cosine(momentum, momentum),
        hidden=7,
        out=4,
        **KINDS[kind][1],
    )
    method = MoCoV3(given(Body()), config).double().train()
    missing, unknown = method.load_state_dict(ours_of(kind, "start"), strict=False)
    assert not unknown
    assert all("num_batches" in name for name in missing)
    parameters = [p for group in method.param_groups() for p in group.params]
    optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.9)
    for s, images in enumerate(SAVED["images"]):
        clock = Clock(s, 3)
        slow = {k: p.clone() for k, p in method.target.copy.named_parameters()}
        expected = {
            k.replace("body", "encoder.body").replace(KINDS[kind][0], "head", 1): v
            for k, v in (
                (k.removeprefix(f"{kind}.slow_{s}."), v)
                for k, v in SAVED.items()
                if k.startswith(f"{kind}.slow_{s}.")
            )
        }
        assert slow.keys() == expected.keys()
        torch.testing.assert_close(slow, expected)
        step = method(batch_of(*images.unbind(1)), clock)
        torch.testing.assert_close(step.total.detach(), SAVED[f"{kind}.loss_{s}"])
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        torch.testing.assert_close(gradients, ours_of(kind, f"gradient_{s}"))
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
    online = {k: v for k, v in ours_of(kind, "end").items() if not k.startswith("target.")}
    assert online
    state = method.state_dict()
    torch.testing.assert_close({k: state[k] for k in online}, online)


def test_the_loss_is_the_papers():
    """Algorithm 1: ctr(q1, k2) + ctr(q2, k1), each 2T times a cross-entropy over the batch."""
    torch.manual_seed(0)
    method = MoCoV3(given(Raw(3)), MoCoV3Config(temperature=0.2, hidden=32, out=4)).double()
    a, b = gaussian(0, 4, 3), gaussian(1, 4, 3)
    step = method(batch_of(a, b), Clock(0, 10))
    q = [method.predictor(method.online.head(x)) for x in (a, b)]
    k = [method.target.copy.head(x).detach() for x in (a, b)]
    total = 0.0
    for query, key in ((q[0], k[1]), (q[1], k[0])):
        for i in range(4):
            s = [query[i] @ other / query[i].norm() / other.norm() / 0.2 for other in key]
            total = total - 2 * 0.2 * (s[i].exp() / sum(x.exp() for x in s)).log() / 4
    assert_same(step.total, total, (a, b))
    floor = total.detach() / (2 * 2 * 0.2) / math.log(4)
    torch.testing.assert_close(step.watch["contrastive_floor"], floor)


def test_frozen_patches_keep_their_weights_and_nothing_else_does():
    config = ViTConfig(patch=8, width=16, depth=1, heads=2, input=Pixels(side=16))
    method = MoCoV3(
        given(encoders.build(config)), MoCoV3Config(hidden=8, out=4, frozen_patches=True)
    )
    still = {n for n, p in method.online.named_parameters() if not p.requires_grad}
    assert still == {f"encoder.model.patch_embed.proj.{k}" for k in ("weight", "bias")}
    trained = {id(p) for group in method.param_groups() for p in group.params}
    assert not trained & {id(p) for p in method.encoder.patch_embedding()}


def test_an_encoder_without_patches_cannot_freeze_them():
    with pytest.raises(UsageError, match=r"Raw makes no patches .* --method\.no-frozen-patches"):
        MoCoV3(given(Raw(3)), MoCoV3Config(frozen_patches=True))
