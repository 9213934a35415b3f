"""AVID against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import Raw, assert_alike, gaussian, hashed, load, summary, weigh

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.inputs import Frames, LogMel
from manyviews.encoders.audio import AudioConv, AudioConvConfig
from manyviews.encoders.video import R2Plus1D, R2Plus1DConfig
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig
from manyviews.training.optim import build
from manyviews.training.settings import Optim

SAVED = load("avid")
NETWORKS = load("avid_networks")
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


SPACE_TIME = ("spt_conv1", "spt_bn1", "", "tmp_conv1", "tmp_bn1", "")
SPACE_TIME += ("spt_conv2", "spt_bn2", "", "tmp_conv2")


def theirs(name):
    """Our name of a tensor of both networks and heads -> theirs."""
    _, modality, part, *rest = name.split(".")
    last = rest[-1]
    if part == "head":
        return f"{modality}_proj.projection.{rest[0]}.{last}"
    layer = int(rest[1]) if modality == "audio" or rest[0] == "stem" else 0
    if modality == "audio":
        block, inner = divmod(layer - 3, 6)
        unit = f"block{block + 1}.{('conv', 'bn')[inner % 3]}{inner // 3 + 1}"
        return f"audio_model.{f'conv1.{layer}' if layer < 3 else unit}.{last}"
    if rest[0] == "stem":
        return f"video_model.conv1.{layer}.{last}"
    stage, block, kind = int(rest[1]), rest[2], rest[3]
    inside = {"shortcut": "res_conv", "finish": "out_bn"}
    inner = inside[kind] if kind in inside else SPACE_TIME[int(rest[4])]
    return f"video_model.conv{stage + 2}x.{block}.{inner}.{last}"


def test_three_steps_of_both_networks_are_those_of_the_authors_classes(monkeypatch):
    """R(2+1)D-18 and the network for sound at full width, with heads, banks and Adam."""
    fed = Frames(frames=8, rate=16.0, side=32), LogMel()
    encoders = {
        "video": R2Plus1D(R2Plus1DConfig(input=fed[0])),
        "audio": AudioConv(AudioConvConfig(input=fed[1])),
    }
    method = AVID(Given(encoders, 11), AVIDConfig(negatives=6, hidden=16, out=8)).double()
    weigh(method, theirs)
    for name in MODALITIES:
        start = torch.nn.functional.normalize(hashed(f"bank.{name}", 11, 8), dim=1)
        method.banks[name].items.copy_(start)
    adam = Optim(name="adam", lr=2e-4, lr_per=0, lr_end=1.0, weight_decay=1e-5, decay_all=True)
    updates = build(method, adam, 3)
    for s in range(3):
        # How rounding grows from step to step differs between processors.
        close = {"rtol": 2e-4, "atol": 5e-5} if s else {"rtol": 1e-5, "atol": 1e-6}
        alike = 1e-3 if s else 1e-4
        drawn = NETWORKS[f"drawn_{s}"]
        for name in MODALITIES:
            monkeypatch.setattr(method.banks[name], "negatives", lambda _, d=drawn, **__: d)
        clip, sound = hashed(f"video.{s}", 3, 3, 8, 32, 32), hashed(f"audio.{s}", 3, 1, 48, 32)
        clock = Clock(s, 3)
        step = method(batch_of(2 * clip, 2 * sound, NETWORKS[f"index_{s}"]), clock)
        torch.testing.assert_close(step.total.detach(), NETWORKS[f"loss_{s}"], **close)
        updates.clear()
        step.total.backward()
        gradients = {theirs(k): p.grad for k, p in method.named_parameters()}
        assert_alike(summary(gradients), NETWORKS[f"gradient_{s}"], within=alike)
        method.after_backward(step, clock)
        updates.set_rates(clock)
        updates.apply(updates.grad_norm())
        method.after_step(clock)
        torch.testing.assert_close(method.partition.value, NETWORKS[f"partition_{s}"], **close)
        for name in MODALITIES:
            expected = NETWORKS[f"{name}_bank_{s}"]
            torch.testing.assert_close(method.banks[name].items, expected, **close)
        found = {theirs(k): p for k, p in method.named_parameters()}
        assert_alike(summary(found), NETWORKS[f"end_{s}"], within=alike)
    running = {theirs(k): v for k, v in method.named_buffers() if "running" in k}
    assert_alike(summary(running), NETWORKS["running"], within=1e-3)


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
