"""CAV-MAE against a transcription of its equations and of cav_mae.py, in plain functions."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from raw import assert_same, gaussian

from manyviews.core import Batch, Clock, Encoder, Features, Given, UsageError
from manyviews.methods.audiovisual.cavmae import CAVMAE, CAVMAEConfig

B = 3
SIZES = {"audio": (8, 12), "video": (12, 4)}
"""Of what is fed; patches of 4."""


class Rows(Encoder):
    """Each patch times a matrix; all, or those that show."""

    patch = (4, 4)

    def __init__(self, dim, size, channels, first=False):
        super().__init__()
        self.first = torch.nn.Parameter(gaussian(dim, dim).detach()) if first else None
        self.dim, self.grid = dim, (size[0] // 4, size[1] // 4)
        self.input = SimpleNamespace(shape=(channels, *size))
        self.map = torch.nn.Parameter(gaussian(dim, 16 * channels, dim).detach() / 4)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        rows = cut(x) @ self.map
        if keep is not None:
            rows = rows.gather(1, keep[..., None].expand(-1, -1, self.dim))
        first = None if self.first is None else self.first + rows[:, 0]
        return Features(rows.mean(dim=1), rows, (), first)


def cut(x):
    """[B, C, H, W] -> [B, N, 4 * 4 * C], the channel last."""
    b, _, h, w = x.shape
    rows = [
        x[:, :, i : i + 4, j : j + 4].permute(0, 2, 3, 1).reshape(b, -1)
        for i in range(0, h, 4)
        for j in range(0, w, 4)
    ]
    return torch.stack(rows, dim=1)


def make(dims=(8, 8), first=False, **settings):
    torch.manual_seed(0)
    encoders = {
        name: Rows(dim, SIZES[name], c, first)
        for name, dim, c in zip(("audio", "video"), dims, (1, 3), strict=True)
    }
    settings = {"width": 16, "depth": 2, "heads": 4} | settings
    method = CAVMAE(Given(encoders), CAVMAEConfig(**settings)).double()
    with torch.no_grad():
        for k, (name, p) in enumerate(method.named_parameters()):
            if "networks" not in name:  # norms of their own, that all differ
                p.add_(0.3 * gaussian(100 + k, *p.shape))
    return method


def some_batch():
    views = {
        "audio": gaussian(1, B, 1, 1, *SIZES["audio"]),
        "video": gaussian(2, B, 1, 3, *SIZES["video"]),
    }
    g = torch.Generator().manual_seed(3)
    cues = {
        f"{name}.mask": torch.rand(B, 1, count, generator=g).argsort(dim=-1) >= seen
        for name, count, seen in (("audio", 6, 2), ("video", 3, 1))
    }
    return Batch(views, torch.arange(B), cues)


def norm(x, layer):
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, layer.eps)


def attend(x, layer, heads):
    q, k, v = (x @ layer.qkv.weight.T + layer.qkv.bias).chunk(3, dim=-1)
    split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
    scores = split[0] @ split[1].transpose(-1, -2) / split[0].shape[-1] ** 0.5
    out = (scores.softmax(dim=-1) @ split[2]).transpose(1, 2).flatten(2)
    return out @ layer.proj.weight.T + layer.proj.bias


def block(x, layer, heads, norms=None):
    one, two = norms or (layer.norm1, layer.norm2)
    x = x + attend(norm(x, one), layer.attn, heads)
    y = norm(x, two)
    hidden = F.gelu(y @ layer.mlp.fc1.weight.T + layer.mlp.fc1.bias)
    return x + hidden @ layer.mlp.fc2.weight.T + layer.mlp.fc2.bias


def compared(method, name, x):
    """Of a modality's visible tokens a unit vector: the class token's, or the mean's."""
    net, joint = method.networks[name], method.joint
    if net.first is not None:
        x = torch.cat([(net.first + x[:, 0])[:, None], x], dim=1)
    for layer in joint.blocks:
        x = block(x, layer, 1, (layer.norm1[name], layer.norm2[name]))
    for layer in joint.own[name] if joint.own else ():
        x = block(x, layer, 1)
    x = norm(x, joint.norm[name])
    return F.normalize(x.mean(dim=1) if net.first is None else x[:, 0], dim=1)


def expected(method, batch, *, weight=0.01, temperature=0.05):
    shown, seen = {}, {}
    for name in ("audio", "video"):
        hidden = batch.cues[f"{name}.mask"][:, 0]
        shown[name] = torch.stack([(~row).nonzero()[:, 0] for row in hidden])
        rows = cut(batch.views[name][:, 0]) @ method.networks[name].map
        seen[name] = torch.stack([r[k] for r, k in zip(rows, shown[name], strict=True)])

    together = torch.cat([seen["audio"], seen["video"]], dim=1)
    for layer in method.joint.blocks:
        together = block(together, layer, 1, (layer.norm1["together"], layer.norm2["together"]))
    together = norm(together, method.joint.norm["together"])
    decoder, full, start = method.decoder, [], 0
    for name in ("audio", "video"):
        count = shown[name].shape[1]
        part = together[:, start : start + count] @ decoder.embed.weight.T + decoder.embed.bias
        start += count
        places = getattr(decoder, f"positions_{name}")[0]
        rows = []
        for b in range(B):
            row = [decoder.mask_token[0, 0]] * len(places)
            for at, token in zip(shown[name][b], part[b], strict=True):
                row[at] = token
            rows.append(torch.stack(row) + places + decoder.modality[name][0])
        full.append(torch.stack(rows))
    x = torch.cat(full, dim=1)
    for layer in decoder.blocks:
        x = block(x, layer, 4)
    x = norm(x, decoder.norm)
    losses, start = {}, 0
    for name in ("audio", "video"):
        target = cut(batch.views[name][:, 0])
        target = (target - target.mean(-1, keepdim=True)) / (
            target.var(-1, keepdim=True) + 1e-6
        ).sqrt()
        last = decoder.predict[name]
        made = x[:, start : start + target.shape[1]] @ last.weight.T + last.bias
        start += target.shape[1]
        error = ((made - target) ** 2).mean(-1)
        losses[name] = error[batch.cues[f"{name}.mask"][:, 0]].mean()

    a, v = (compared(method, name, seen[name]) for name in ("audio", "video"))
    total = a @ v.T / temperature  # rows are sounds; each frame, a column, picks one
    losses["contrast"] = -weight * total.log_softmax(dim=0).diagonal().mean()
    return losses


def test_losses_and_gradients_are_those_of_the_equations():
    method, batch = make(), some_batch()
    inputs = [
        *batch.views.values(),
        method.joint.blocks[0].attn.qkv.weight,
        method.networks["audio"].map,
    ]
    for name, loss in expected(method, batch).items():
        used = inputs if name == "contrast" else [*inputs, method.decoder.mask_token]
        found = method(batch, Clock(0, 1)).losses[name]
        assert_same(found, loss, used, rtol=1e-8, atol=1e-10)


def test_two_joint_blocks_follow_one_another_for_each_modality_alone():
    """Where the authors' loop gives every block the encoder's tokens, so that the last counts."""
    method, batch = make(joint=2), some_batch()
    wanted = expected(method, batch, weight=0.5, temperature=0.2)
    method = make(joint=2, contrast=0.5, temperature=0.2)
    found = method(batch, Clock(0, 1)).losses
    for name, loss in wanted.items():
        torch.testing.assert_close(found[name], loss)


@pytest.mark.parametrize(("first", "own"), [(True, 0), (False, 1), (True, 2)])
def test_what_sync_compares_is_its_own_blocks_class_tokens(first, own):
    compared = "class" if first else "mean"
    method, batch = make(first=first, own=own, compared=compared), some_batch()
    found, wanted = method(batch, Clock(0, 1)).losses, expected(method, batch)
    for name, loss in wanted.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-8, atol=1e-10)
    used = [method.networks["audio"].map, *([method.networks["video"].first] if first else [])]
    assert_same(found["contrast"], wanted["contrast"], used, rtol=1e-7, atol=1e-10)
    if first:  # what is reconstructed knows nothing of it
        made = found["audio"] + found["video"]
        [grad] = torch.autograd.grad(made, method.networks["video"].first, allow_unused=True)
        assert grad is None


def test_an_encoder_without_class_token_is_refused_with_what_to_set():
    with pytest.raises(UsageError, match=r"'audio' has none\. Set --encoders\.audio\.class-token"):
        make(compared="class")(some_batch(), Clock(0, 1))


def test_a_modality_learns_to_fill_gaps_from_the_other():
    method, batch = make(), some_batch()
    for name, other in (("audio", "video"), ("video", "audio")):
        loss = method(batch, Clock(0, 1)).losses[name]
        (grad,) = torch.autograd.grad(loss, batch.views[other])
        shows = ~batch.cues[f"{other}.mask"][:, 0]
        assert grad[shows.any(dim=1)].abs().max() > 1e-6
        assert not (cut(grad[:, 0])[~shows]).any()  # what is hidden of it tells nothing


def test_each_modality_has_norms_of_its_own():
    method, batch = make(), some_batch()
    before = method(batch, Clock(0, 1)).losses
    with torch.no_grad():
        method.joint.blocks[0].norm1["video"].weight.mul_(2)
    after = method(batch, Clock(0, 1)).losses
    assert after["contrast"] != before["contrast"]
    assert after["video"] == before["video"]
    assert after["audio"] == before["audio"]


def test_a_narrower_encoder_comes_to_the_width_of_the_other():
    method = make(dims=(8, 4))
    assert method.joint.dim == 8
    step = method(some_batch(), Clock(0, 1))
    step.total.backward()
    assert method.joint.entry["video"].weight.grad.any()
    assert not list(method.joint.entry["audio"].parameters())
