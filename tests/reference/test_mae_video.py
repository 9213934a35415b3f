"""MAE on clips against its formula, tubelet by tubelet, and VideoMAE's targets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from raw import hashed, summary

from manyviews import encoders
from manyviews.core import Batch, Clock, UsageError
from manyviews.core.inputs import Frames
from manyviews.encoders.settings import TubeletsConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.losses.reconstruction import masked_mse, normalise_patches
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.masking import patchify, unpatchify
from tiny import given

FED = Frames(side=8, frames=4)
STEPS = (2, 4, 4)
TOKENS = 8


def small(**config):
    torch.manual_seed(0)
    encoder = encoders.build(
        TubeletsConfig(input=FED, tubelet=2, patch=4, width=12, depth=1, heads=2)
    )
    return MAE(given(encoder), MAEConfig(width=8, depth=1, heads=2, **config)).double().train()


def batch(samples=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    clips = torch.randn(samples, 1, *FED.shape, generator=g, dtype=torch.float64)
    hidden = torch.rand(samples, 1, TOKENS, generator=g).argsort(dim=-1) >= 2
    return Batch({"global": clips}, torch.arange(samples), {"global.mask": hidden})


def tubelet(clip, n):
    """The values of token n of a clip [C, T, H, W], one by one: [P, C]."""
    t, row, column = n // 4 * 2, n // 2 % 2 * 4, n % 2 * 4
    return torch.stack(
        [clip[:, t + i, row + j, column + k] for i in range(2) for j in range(4) for k in range(4)]
    )


def target(clip, n, *, by_channel):
    values = tubelet(clip, n)
    if by_channel:
        mean, variance = values.mean(dim=0), values.var(dim=0)
    else:
        mean, variance = values.mean(), values.var()
    return ((values - mean) / (variance + 1e-6).sqrt()).flatten()


def test_clips_are_cut_time_first_and_channels_last_and_put_together_again():
    clips = batch().views["global"][:, 0]
    patches = patchify(clips, STEPS)
    assert patches.shape == (3, TOKENS, 2 * 4 * 4 * 3)
    for n in range(TOKENS):
        assert torch.equal(patches[1, n], tubelet(clips[1], n).flatten())
    assert torch.equal(unpatchify(patches, STEPS, grid=(2, 2, 2)), clips)
    odd = torch.randn(2, 1, 3, 4, 6)
    assert torch.equal(unpatchify(patchify(odd, (1, 2, 3)), (1, 2, 3), grid=(3, 2, 2)), odd)


@pytest.mark.parametrize("by_channel", [False, True])
def test_the_loss_and_its_gradient_are_the_formula(by_channel):
    data = batch()
    clips, hidden = data.views["global"][:, 0], data.cues["global.mask"][:, 0]
    g = torch.Generator().manual_seed(1)
    prediction = torch.randn(3, TOKENS, 96, generator=g, dtype=torch.float64, requires_grad=True)
    channels = 3 if by_channel else 1
    made = normalise_patches(patchify(clips, STEPS), channels=channels)
    loss = masked_mse(prediction, made, hidden)
    terms = [
        (prediction[b, n] - target(clips[b], n, by_channel=by_channel)).square().mean()
        for b in range(3)
        for n in range(TOKENS)
        if hidden[b, n]
    ]
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    (grad,), (wanted,) = (torch.autograd.grad(x, prediction) for x in (loss, expected))
    torch.testing.assert_close(grad, wanted, rtol=1e-10, atol=1e-15)
    assert not grad[~hidden].any()


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_whole_step_is_encoder_decoder_and_that_loss(by_channel):
    """VideoMAE gives its decoder visible, then hidden tokens; attention knows no order."""
    method, data = small(by_channel=by_channel), batch()
    clips, hidden = data.views["global"][:, 0], data.cues["global.mask"][:, 0]
    encoder, decoder = method.encoder, method.decoder
    terms = []
    for b in range(3):
        seen = [n for n in range(TOKENS) if not hidden[b, n]]
        gone = [n for n in range(TOKENS) if hidden[b, n]]
        x = encoder.embed(clips[b : b + 1])[:, seen]
        for block in encoder.blocks:
            x = block(x)
        x = decoder.decoder_embed(encoder.norm(x))
        places = decoder.decoder_pos_embed[:, 1:]
        there = decoder.mask_token + places[:, gone]
        x = decoder.decoder_blocks(torch.cat([x + places[:, seen], there], dim=1))
        said = decoder.decoder_pred(decoder.decoder_norm(x))[0, len(seen) :]
        for n, row in zip(gone, said, strict=True):
            terms.append((row - target(clips[b], n, by_channel=by_channel)).square().mean())
    expected = torch.stack(terms).mean()
    step = method(data, Clock(0, 1))
    torch.testing.assert_close(step.total, expected, rtol=1e-10, atol=0)
    parameters = [p for p in method.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad(x, parameters) for x in (step.total, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)
    pooled = encoder(clips, keep=(~hidden).nonzero()[:, 1].view(3, -1)).pooled
    torch.testing.assert_close(step.embedding["image"][:, 0], pooled.detach())


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_reconstruction_is_of_pixels_and_keeps_what_was_seen(by_channel):
    method, data = small(by_channel=by_channel), batch()
    clips, hidden = data.views["global"][:, 0], data.cues["global.mask"][:, 0]
    made = patchify(method.reconstruct(data), STEPS)
    assert torch.equal(made[~hidden], patchify(clips, STEPS)[~hidden])
    _, prediction = method._predict(clips, hidden)
    b, n = hidden.nonzero()[0].tolist()
    values = tubelet(clips[b], n)
    axis = {"dim": 0} if by_channel else {}
    wanted = prediction[b, n].view(-1, 3) * (values.var(**axis) + 1e-6).sqrt() + values.mean(**axis)
    torch.testing.assert_close(made[b, n], wanted.flatten().detach())


def theirs(name):
    """Our parameter's name -> VideoMAE's."""
    for ours, other in (
        ("online.", "encoder."),
        ("decoder.decoder_embed.weight", "encoder_to_decoder.weight"),
        ("decoder.mask_token", "mask_token"),
        ("decoder.decoder_blocks.", "decoder.blocks."),
        ("decoder.decoder_norm.", "decoder.norm."),
        ("decoder.decoder_pred.", "decoder.head."),
    ):
        if name.startswith(ours):
            return other + name.removeprefix(ours)
    return name


def videomae():
    """Our MAE with the weights of the authors' small model; what is not in theirs is 0."""
    fed = Frames(side=16, frames=16)
    encoder = encoders.build(TubeletsConfig(input=fed, patch=8, width=24, depth=2, heads=2))
    method = MAE(given(encoder), MAEConfig(width=16, depth=2, heads=2, by_channel=True)).double()
    with torch.no_grad():
        for name, p in method.named_parameters():
            other = theirs(name)
            if name.endswith("qkv.bias"):  # of queries, keys, values; theirs has none of keys
                q, k, v = p.chunk(3)
                stem = other.removesuffix("qkv.bias")
                q.copy_(0.1 * hashed(f"{stem}q_bias", *q.shape))
                k.zero_()
                v.copy_(0.1 * hashed(f"{stem}v_bias", *v.shape))
                continue
            drawn = hashed(other, *p.shape)
            if name == "decoder.decoder_embed.bias":
                p.zero_()
            elif name == "decoder.mask_token":
                p.copy_(drawn)
            elif p.ndim > 1:
                p.copy_(drawn * (6 / p[0].numel()) ** 0.5)
            else:
                p.copy_(1 + 0.2 * drawn if name.endswith("weight") else 0.1 * drawn)
    return method.train()


def test_loss_predictions_and_gradients_are_those_of_the_authors_code():
    """MCG-NJU/VideoMAE, but that 1e-6 is added to the deviation there (data/README.md)."""
    with np.load(Path(__file__).parent / "data" / "videomae.npz") as file:
        saved = dict(file)
    method, hidden = videomae(), torch.from_numpy(saved["mask"])
    clips = 30 * hashed("videos", 3, 3, 16, 16, 16)
    data = Batch({"global": clips[:, None]}, torch.arange(3), {"global.mask": hidden[:, None]})
    step = method(data, Clock(0, 1))
    step.total.backward()
    torch.testing.assert_close(step.total.item(), float(saved["loss"]), rtol=1e-6, atol=0)
    _, made = method._predict(clips, hidden)
    prediction = made[hidden].view(3, -1, 384)[:, ::6, ::16].detach()
    torch.testing.assert_close(prediction, torch.from_numpy(saved["prediction"]))
    gradients = {}
    for name, p in method.named_parameters():
        if name.endswith("qkv.bias"):
            stem, parts = theirs(name).removesuffix("qkv.bias"), p.grad.chunk(3)
            gradients |= {f"{stem}q_bias": parts[0], f"{stem}v_bias": parts[2]}
        elif name != "decoder.decoder_embed.bias":
            gradients[theirs(name)] = p.grad
    assert sorted(gradients) == saved["names"].tolist()
    found = summary(gradients)
    torch.testing.assert_close(found, torch.from_numpy(saved["gradients"]), rtol=1e-5, atol=1e-9)


def test_an_encoder_of_clips_that_cannot_drop_tokens_is_refused():
    encoder = encoders.build(SlowConfig(input=FED, layers=10, width=4))
    method = MAE(given(encoder), MAEConfig(width=8, depth=1, heads=2))
    views = torch.randn(2, 1, *FED.shape)
    hidden = torch.rand(2, 1, encoder.num_tokens).argsort(dim=-1) >= 1
    with pytest.raises(UsageError, match="Slow has no tokens to keep"):
        method(Batch({"global": views}, torch.arange(2), {"global.mask": hidden}), Clock(0, 1))
