"""DPC against arrays made with TengdaHan/DPC: loss, and gradients of features and weights."""

from pathlib import Path

import numpy as np
import torch

from manyviews.core import Batch, Clock, Encoder, Features
from manyviews.core.inputs import Frames
from manyviews.losses.contrastive import cell_info_nce
from manyviews.methods.contrastive.dpc import DPC, DPCConfig
from manyviews.parts.recurrent import GRU
from tiny import given

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "dpc.npz").items()
}
CELL = "agg.ConvGRUCell_00."
NAMES = {
    f"{CELL}reset_gate": "memory.reset",
    f"{CELL}update_gate": "memory.update",
    f"{CELL}out_gate": "memory.out",
    "network_pred.0": "predictor.0",
    "network_pred.2": "predictor.2",
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
    found = {}
    for theirs, ours in NAMES.items():
        found[f"{ours}.weight"] = SAVED[f"{prefix}{theirs}.weight"].flatten(1)
        found[f"{ours}.bias"] = SAVED[f"{prefix}{theirs}.bias"]
    return found


def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code():
    method = DPC(given(Given()), DPCConfig(predict=2))
    method.load_state_dict(brought_over("w."))
    method.double().train()
    views = SAVED["features"].double().requires_grad_()
    step = method(Batch({"global": views}, torch.arange(3), {}), Clock(0, 1))
    step.total.backward()
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-10, atol=0)
    torch.testing.assert_close(views.grad, SAVED["g.features"], rtol=1e-7, atol=1e-10)
    gradients = brought_over("g.")
    assert set(gradients) == {k for k, _ in method.named_parameters()}
    for key, p in method.named_parameters():
        torch.testing.assert_close(p.grad, gradients[key], rtol=1e-7, atol=1e-10, msg=key)


def test_weights_begin_as_the_authors_do():
    method = DPC(given(Given()), DPCConfig())
    for name, p in method.named_parameters():
        if p.ndim == 1:
            assert not p.any(), name
        else:
            torch.testing.assert_close(p @ p.T, torch.eye(len(p)), rtol=1e-5, atol=1e-5)


def test_a_cell_is_found_among_all_cells_of_all_samples():
    g = torch.Generator().manual_seed(0)
    made, hoped = (torch.randn(2, 3, 4, generator=g).double().requires_grad_() for _ in range(2))
    terms = []
    for b in range(2):
        for k in range(3):
            scores = torch.stack([made[b, k] @ h for h in hoped.reshape(6, 4)])
            terms.append(scores.logsumexp(0) - scores[3 * b + k])
    wanted, loss = sum(terms) / 6, cell_info_nce(made, hoped)
    torch.testing.assert_close(loss, wanted)
    for got, expected in zip(
        torch.autograd.grad(loss, (made, hoped), retain_graph=True),
        torch.autograd.grad(wanted, (made, hoped)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_a_memory_keeps_what_it_does_not_update():
    memory = GRU(3, 2)
    with torch.no_grad():
        memory.update.bias.fill_(-50)
    x, state = torch.randn(4, 3), torch.randn(4, 2)
    torch.testing.assert_close(memory(x, state), state)
    with torch.no_grad():
        memory.update.bias.fill_(50)
        memory.reset.bias.fill_(-50)
    nothing = torch.cat((x, torch.zeros(4, 2)), dim=1)
    torch.testing.assert_close(memory(x, state), memory.out(nothing).tanh())


def test_the_floor_is_one_where_all_cells_are_alike():
    method = DPC(given(Given()), DPCConfig(predict=2)).train()
    step = method(Batch({"global": torch.ones(3, 4, 5, 2, 2, 2)}, torch.arange(3), {}), Clock(0, 1))
    torch.testing.assert_close(step.watch["contrastive_floor"], torch.tensor(1.0))
