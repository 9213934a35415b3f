"""L3 against its formula, pair by pair."""

import pytest
import torch
from raw import Raw, gaussian

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.methods.audiovisual.l3 import L3, L3Config


def make(hidden=6):
    torch.manual_seed(0)
    return L3(Given({"video": Raw(5), "audio": Raw(3)}, 9), L3Config(hidden=hidden)).double()


def some_batch(count=4):
    views = {"video": gaussian(0, count, 1, 5), "audio": gaussian(1, count, 1, 3)}
    return Batch(views, torch.arange(count))


def test_the_loss_and_its_gradient_are_the_formula():
    method, batch = make(), some_batch()
    first, last = (layer for layer in method.head if isinstance(layer, torch.nn.Linear))
    v, a = (batch.views[name][:, 0] for name in ("video", "audio"))
    terms = []
    for i in range(4):
        for j, answer in ((i, 1), ((i + 1) % 4, 0)):
            x = torch.cat([v[i], a[j]])
            logits = last.weight @ (first.weight @ x + first.bias).clamp(min=0) + last.bias
            e = logits.exp()
            terms.append(-(e[answer] / e.sum()).log())
    expected = torch.stack(terms).mean()
    step = method(batch, Clock(0, 1))
    torch.testing.assert_close(step.total, expected)
    leaves = [batch.views["video"], batch.views["audio"], *method.head.parameters()]
    found, wanted = (torch.autograd.grad(x, leaves) for x in (step.total, expected))
    torch.testing.assert_close(found, wanted)
    assert {k: tuple(x.shape) for k, x in step.embedding.items()} == {
        "video": (4, 1, 5),
        "audio": (4, 1, 3),
    }


def test_it_learns_which_belong_together():
    """Sounds that are their pictures' first three numbers: from chance, ln 2, to nearly none."""
    method = make(hidden=32)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
    torch.manual_seed(1)
    losses = []
    for _ in range(150):
        kinds = torch.eye(5, dtype=torch.float64)[torch.randperm(3).repeat(4)]
        batch = Batch({"video": kinds[:, None], "audio": kinds[:, None, :3]}, torch.arange(12))
        step = method(batch, Clock(0, 1))
        optimizer.zero_grad()
        step.total.backward()
        optimizer.step()
        losses.append(step.total.item())
    assert losses[0] > 0.6
    assert losses[-1] < 0.2


def test_other_encoders_are_refused():
    with pytest.raises(UsageError, match="video and audio; it was given image"):
        L3(Given({"image": Raw(5)}, 9), L3Config())
