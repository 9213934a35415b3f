"""AVID against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import Raw, gaussian, load

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig

SAVED = load("avid")
MODALITIES = ("video", "audio")


def ours_of(prefix):
    """The authors' tensors that begin with a prefix, under our names."""
    found = {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}
    return {f"branches.{k.replace('projection', 'head')}": v for k, v in found.items()}


def make(terms, *, samples=11, negatives=6):
    torch.manual_seed(0)
    encoders = {"video": Raw(5), "audio": Raw(3)}
    config = AVIDConfig(terms=terms, negatives=negatives, hidden=6, out=4)
    return AVID(Given(encoders, samples), config).double()


def batch_of(video, audio, index=None):
    index = torch.arange(len(video)) if index is None else index
    return Batch({"video": video[:, None], "audio": audio[:, None]}, index)


def some_batch(seed=0):
    return batch_of(gaussian(seed, 4, 5).detach(), gaussian(seed + 1, 4, 3).detach())


@pytest.mark.parametrize("terms", ["cross", "self", "joint"])
def test_three_steps_are_those_of_the_authors_class(terms, monkeypatch):
    method = make(terms)
    method.load_state_dict(ours_of(f"{terms}.start."), strict=False)
    for name in MODALITIES:
        method.banks[name].items.copy_(SAVED[f"{terms}.{name}_bank_start"])
    close = {"rtol": 1e-10, "atol": 1e-13}
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.05)
    for s in range(3):
        drawn = SAVED[f"{terms}.drawn_{s}"]
        for name in MODALITIES:
            monkeypatch.setattr(method.banks[name], "negatives", lambda _, d=drawn, **__: d)
        views = (SAVED[f"{terms}.{name}"][s] for name in MODALITIES)
        clock = Clock(s, 3)
        step = method(batch_of(*views, SAVED[f"{terms}.index"][s]), clock)
        torch.testing.assert_close(step.total.detach(), SAVED[f"{terms}.loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        torch.testing.assert_close(gradients, ours_of(f"{terms}.gradient_{s}."), **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        torch.testing.assert_close(method.partition.value, SAVED[f"{terms}.partition_{s}"], **close)
        for name in MODALITIES:
            expected = SAVED[f"{terms}.{name}_bank_{s}"]
            torch.testing.assert_close(method.banks[name].items, expected, **close)
    end = ours_of(f"{terms}.end.")
    torch.testing.assert_close({k: method.state_dict()[k] for k in end}, end, **close)


def by_loops(z, banks, index, drawn, pairs):
    """NCE by probabilities with the partition of the first pair's negatives, pair by pair."""
    query, bank = pairs[0]
    partition = torch.stack(
        [
            (z[query][i] @ banks[bank][n] / 0.07).exp()
            for i, row in enumerate(drawn)
            for n in row.tolist()
        ]
    ).mean()
    losses = []
    for query, bank in pairs:
        total = 0.0
        for i, row in enumerate(drawn):
            noise = len(row) * partition
            p = (z[query][i] @ banks[bank][index[i]] / 0.07).exp()
            total = total - (p / (p + noise)).log()
            for n in row.tolist():
                p = (z[query][i] @ banks[bank][n] / 0.07).exp()
                total = total - (noise / (p + noise)).log()
        losses.append(total / len(drawn))
    return losses


@pytest.mark.parametrize("terms", ["cross", "self", "joint"])
def test_the_losses_are_the_papers_formula(terms):
    method = make(terms)
    batch = some_batch()
    step = method(batch, Clock(3, 10))
    z = dict(zip(MODALITIES, step.projection.detach().unbind(1), strict=True))
    banks = {name: method.banks[name].items for name in MODALITIES}
    drawn = method.banks["video"].negatives(batch.index, count=6, step=3)
    pairs = {"cross": [("video", "audio"), ("audio", "video")], "self": [(m, m) for m in z]}
    kinds = ["cross", "self"] if terms == "joint" else [terms]
    each = by_loops(z, banks, batch.index, drawn, [p for kind in kinds for p in pairs[kind]])
    expected = {
        kind: (each[2 * i] + each[2 * i + 1]) / 2 / len(kinds) for i, kind in enumerate(kinds)
    }
    torch.testing.assert_close(dict(step.losses), expected)


def test_each_bank_takes_in_its_own_modality():
    method = make("cross")
    before = {name: method.banks[name].items.clone() for name in MODALITIES}
    step = method(some_batch(), Clock(0, 10))
    method.after_backward(step, Clock(0, 10))
    for name in MODALITIES:
        assert torch.equal(method.banks[name].items, before[name])
    method.after_step(Clock(0, 10))
    for i, name in enumerate(MODALITIES):
        mixed = before[name][:4] + step.projection[:, i].detach()
        expected = mixed / mixed.norm(dim=1, keepdim=True)
        torch.testing.assert_close(method.banks[name].items[:4], expected)
        assert torch.equal(method.banks[name].items[4:], before[name][4:])


def test_the_embedding_of_each_encoder_goes_by_its_name():
    step = make("joint")(some_batch(), Clock(0, 10))
    assert {k: tuple(v.shape) for k, v in step.embedding.items()} == {
        "video": (4, 1, 5),
        "audio": (4, 1, 3),
    }


def test_the_heads_are_the_papers():
    """facebookresearch/AVID-CMA models/av_wrapper.py: 512-512-128, ReLU, biases, no norm."""
    head = AVID(Given({"video": Raw(5), "audio": Raw(3)}, 9), AVIDConfig()).branches["audio"].head
    names = [type(m).__name__ for m in head]
    assert names == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [tuple(head[i].weight.shape) for i in (0, 2, 4)] == [(512, 3), (512, 512), (128, 512)]


def test_other_encoders_are_refused():
    with pytest.raises(UsageError, match="video and audio; it was given image"):
        AVID(Given({"image": Raw(5)}, 9), AVIDConfig())
