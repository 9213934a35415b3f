"""MAViL, both stages, against a transcription of its equations in plain functions."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from raw import assert_same, gaussian
from test_cavmae import SIZES, Rows, block, cut, norm

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.inputs import LogMel
from manyviews.methods.audiovisual.mavil import MAViL, MAViLConfig

B = 3
CLOCK = Clock(0, 1)
SEEN = {"audio": (6, 2), "video": (3, 1)}
"""Places, and how many of them show."""


def encoders(dims=(8, 8)):
    return {
        name: Rows(dim, SIZES[name], channels)
        for name, dim, channels in zip(("audio", "video"), dims, (1, 3), strict=True)
    }


def make(dims=(8, 8), seed=0, teacher=None, **settings):
    torch.manual_seed(seed)
    config = MAViLConfig(**{"width": 16, "depth": 2, "heads": 4} | settings)
    teachers = {"earlier": teacher} if teacher else {}
    method = MAViL(Given(encoders(dims), teachers=teachers), config).double()
    with torch.no_grad():
        for k, (name, p) in enumerate(method.named_parameters()):
            if "networks" not in name:  # norms that all differ
                p.add_(0.3 * gaussian(1000 * seed + 100 + k, *p.shape))
    return method


def some_batch():
    views = {
        "audio": gaussian(1, B, 2, 1, *SIZES["audio"]),
        "video": gaussian(2, B, 2, 3, *SIZES["video"]),
    }
    g = torch.Generator().manual_seed(3)
    cues = {
        f"{name}.mask": torch.rand(B, 2, count, generator=g).argsort(dim=-1) >= seen
        for name, (count, seen) in SEEN.items()
    }
    return Batch(views, torch.arange(B), cues)


def rows_of(method, batch, name, view=0):
    """Where a view shows something, and the encoder's tokens there and everywhere."""
    hidden = batch.cues[f"{name}.mask"][:, view]
    shown = torch.stack([(~row).nonzero()[:, 0] for row in hidden])
    every = cut(batch.views[name][:, view]) @ method.networks[name].map
    return shown, torch.stack([r[k] for r, k in zip(every, shown, strict=True)]), every


def joined(method, a, v):
    """Tokens of both, one after the other, through the joint blocks; the two apart again."""
    if method.joint is None:
        return a, v
    x = torch.cat([a, v], dim=1)
    for layer in method.joint.blocks:
        x = block(x, layer, 1, (layer.norm1["together"], layer.norm2["together"]))
    x = norm(x, method.joint.norm["together"])
    return x[:, : a.shape[1]], x[:, a.shape[1] :]


def decoded(decoder, tokens, shown):
    part = tokens @ decoder.decoder_embed.weight.T + decoder.decoder_embed.bias
    places, rows = decoder.decoder_pos_embed[0, 1:], []
    for b in range(B):
        row = [decoder.mask_token[0, 0]] * len(places)
        for at, token in zip(shown[b], part[b], strict=True):
            row[at] = token
        rows.append(torch.stack(row) + places)
    x = torch.stack(rows)
    for layer in decoder.decoder_blocks:
        x = block(x, layer, 4)
    x = norm(x, decoder.decoder_norm)
    return x @ decoder.decoder_pred.weight.T + decoder.decoder_pred.bias


def towards(one, other, temperature):
    """The mean over rows of the negative logarithm of the softmax at its own column, both ways."""
    one, other = (F.normalize(x, dim=1) for x in (one, other))
    scores = one @ other.T / temperature
    columns, rows = scores.log_softmax(dim=1).diagonal(), scores.log_softmax(dim=0).diagonal()
    return -(columns.mean() + rows.mean()) / 2


def expected(method, batch, targets=None):
    config, losses = method.config, {}
    shown, seen = {}, {}
    for name in ("audio", "video"):
        shown[name], seen[name], _ = rows_of(method, batch, name)
    after = dict(zip(seen, joined(method, seen["audio"], seen["video"]), strict=True))
    for name, tokens in after.items():
        made = decoded(method.decoders[name], tokens, shown[name])
        target = cut(batch.views[name][:, 0])
        target = target - target.mean(-1, keepdim=True)
        target = target / ((target**2).sum(-1, keepdim=True) / (target.shape[-1] - 1) + 1e-6).sqrt()
        target = target if targets is None else targets[name]
        error = ((made - target) ** 2).mean(-1)
        losses[name] = error[batch.cues[f"{name}.mask"][:, 0]].mean()
    means = {name: x.mean(dim=1) for name, x in seen.items()}
    losses["inter"] = config.inter * towards(means["audio"], means["video"], config.temperature)
    again = {name: rows_of(method, batch, name, 1)[1].mean(dim=1) for name in means}
    within = [towards(means[name], again[name], config.temperature) for name in means]
    losses["intra"] = config.intra * (within[0] + within[1]) / 2
    return losses


@pytest.mark.parametrize("joint", [0, 1, 2])
def test_losses_and_gradients_of_the_first_stage_are_those_of_the_equations(joint):
    method, batch = make(joint=joint), some_batch()
    used = [*batch.views.values(), method.networks["audio"].map, method.networks["video"].map]
    found = method(batch, CLOCK).losses
    wanted = expected(method, batch)
    assert set(found) == set(wanted)
    assert_same(sum(found.values()), sum(wanted.values()), used, rtol=1e-8, atol=1e-10)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-8, atol=1e-10)


def test_the_second_stage_predicts_what_the_earlier_run_makes_of_all_of_both():
    teacher = make(seed=1, joint=1).requires_grad_(requires_grad=False).eval()
    method, batch = make(teacher=teacher, target="features"), some_batch()
    whole = [rows_of(teacher, batch, name)[2] for name in ("audio", "video")]
    targets = {}
    for name, x in zip(("audio", "video"), joined(teacher, *whole), strict=True):
        deviation = (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        targets[name] = ((x - x.mean(-1, keepdim=True)) / deviation).detach()
    used = [method.networks["audio"].map, *(d.mask_token for d in method.decoders.values())]
    found, wanted = method(batch, CLOCK).losses, expected(method, batch, targets)
    assert_same(sum(found.values()), sum(wanted.values()), used, rtol=1e-8, atol=1e-10)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-8, atol=1e-10)
    assert not any("features" in key or "earlier" in key for key in method.state_dict())
    ours = {id(p) for p in method.parameters()}
    assert ours.isdisjoint(id(p) for p in teacher.parameters())


def test_a_target_of_a_sound_depends_on_its_clip():
    teacher, batch = make(), some_batch()
    views = {name: x[:, 0] for name, x in batch.views.items()}
    before = teacher.contextual(views)
    after = teacher.contextual(views | {"video": views["video"] + 1})
    assert (before["audio"] - after["audio"]).abs().max() > 1e-3
    alone = make(joint=0)
    before = alone.contextual(views)
    after = alone.contextual(views | {"video": views["video"] + 1})
    assert torch.equal(before["audio"], after["audio"])


def test_weights_of_nothing_leave_their_contrasts_out():
    batch = some_batch()
    assert set(make(inter=0.0)(batch, CLOCK).losses) == {"audio", "video", "intra"}
    step = make(intra=0.0)(batch, CLOCK)
    assert set(step.losses) == {"audio", "video", "inter"}
    second = {name: x.detach().clone() for name, x in batch.views.items()}
    for x in second.values():
        x[:, 1] += 1
    changed = make(intra=0.0)(replace(batch, views=second), CLOCK)
    assert changed.total == step.total  # nobody looks at the second views


def test_a_narrower_encoder_is_compared_in_the_width_of_the_other():
    method = make(dims=(8, 4))
    step = method(some_batch(), CLOCK)
    step.losses["inter"].backward()
    assert method.joint.entry["video"].weight.grad.any()
    assert step.projection.shape == (B, 2, 8)
    with pytest.raises(UsageError, match=r"sounds of 8 numbers with clips of 4\. Set --method\.i"):
        make(dims=(8, 4), joint=0)
    assert set(make(dims=(8, 4), joint=0, inter=0.0)(some_batch(), CLOCK).losses) == {
        *("audio", "video", "intra")
    }


def test_another_teacher_than_a_whole_run_of_the_same_input_is_refused():
    with pytest.raises(UsageError, match=r"whole run of MAViL.*--teachers\.earlier RUN"):
        make(target="features")
    with pytest.raises(UsageError, match=r"whole run of MAViL.*--teachers\.earlier RUN"):
        make(target="features", teacher=encoders()["audio"])
    other = make(seed=1)
    other.encoders["audio"].input = LogMel()
    with pytest.raises(UsageError, match=r"'earlier' is fed other audio .*Give --encoders\.audio"):
        make(target="features", teacher=other)
