"""MemDPC against arrays made with TengdaHan/MemDPC: losses, gradients of features and weights."""

import numpy as np
import torch
from raw import DATA

from manyviews.core import Batch, Clock, Encoder, Features
from manyviews.core.inputs import Frames
from manyviews.methods.contrastive.memdpc import MemDPC, MemDPCConfig
from tiny import given

SAVED = {k: torch.from_numpy(v) for k, v in np.load(DATA / "memdpc.npz").items()}
NAMES = {"network_pred.0": "address.0", "network_pred.2": "address.2"}
NAMES |= {
    f"agg_{end}.ConvGRUCell_00.{gate}_gate": f"along.{number}.{gate}"
    for number, end in enumerate("fb")
    for gate in ("reset", "update", "out")
}


class Given(Encoder):
    """Views are maps [D, T, H, W] already."""

    input = Frames(side=2, channels=3, frames=2)
    dim, grid, patch = 5, (2, 2, 2), (1, 1, 1)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        found = x.flatten(2).transpose(1, 2)
        return Features(found.mean(dim=1), found)


def brought_over(prefix):
    """The authors' tensors under our names; a 1x1 convolution is a linear layer."""
    found = {"slots": SAVED[f"{prefix}mb"]}
    for theirs, ours in NAMES.items():
        found[f"{ours}.weight"] = SAVED[f"{prefix}{theirs}.weight"].flatten(1)
        found[f"{ours}.bias"] = SAVED[f"{prefix}{theirs}.bias"]
    return found


def theirs(**settings):
    method = MemDPC(given(Given()), MemDPCConfig(predict=2, slots=6, **settings))
    missing = method.load_state_dict(brought_over("w."), strict=not settings)
    assert not missing.missing_keys
    return method.double().train()


def step_of(method, views):
    return method(Batch({"global": views}, torch.arange(3), {}), Clock(0, 1))


def test_the_whole_model_has_the_losses_and_the_gradients_of_the_authors_code():
    method, views = theirs(), SAVED["features"].double().requires_grad_()
    step = step_of(method, views)
    step.total.backward()
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-10, atol=0)
    both = torch.stack([step.losses["forwards"], step.losses["backwards"]]).detach()
    torch.testing.assert_close(both, SAVED["losses"], rtol=1e-10, atol=0)
    torch.testing.assert_close(views.grad, SAVED["g.features"], rtol=1e-7, atol=1e-10)
    gradients = brought_over("g.")
    assert set(gradients) == {k for k, _ in method.named_parameters()}
    for key, p in method.named_parameters():
        torch.testing.assert_close(p.grad, gradients[key], rtol=1e-7, atol=1e-10, msg=key)


def test_forwards_alone_is_the_first_of_both():
    step = step_of(theirs(both=False), SAVED["features"].double())
    assert set(step.losses) == {"forwards"}
    torch.testing.assert_close(step.total.detach(), SAVED["losses"][0], rtol=1e-10, atol=0)


def test_a_prediction_is_a_mixture_of_slots():
    method = theirs()
    made = method.recalled(torch.randn(4, 3, 5, dtype=torch.float64))
    low, high = method.slots.amin(dim=0), method.slots.amax(dim=0)
    assert ((made >= low) & (made <= high)).all()
    with torch.no_grad():
        method.slots.copy_(method.slots[:1].clone().expand_as(method.slots))
    torch.testing.assert_close(
        method.recalled(torch.randn(2, 3, 5, dtype=torch.float64)),
        method.slots[0].expand(2, 3, 5),
    )


def test_weights_begin_as_the_authors_do():
    torch.manual_seed(0)
    method = MemDPC(given(Given()), MemDPCConfig(slots=64))
    for name, p in method.named_parameters():
        if p.ndim == 1:
            assert not p.any(), name
        elif name != "slots":
            thin = p if len(p) <= p.shape[1] else p.T
            torch.testing.assert_close(thin @ thin.T, 0.01 * torch.eye(len(thin)), msg=name)
    assert 0.9 < method.slots.std() < 1.1
