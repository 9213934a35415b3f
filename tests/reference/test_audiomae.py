"""MAE on spectrograms against numbers of Audio-MAE's code, and its files (data/README.md)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from raw import hashed, summary

from manyviews import encoders
from manyviews.core import Batch, Clock, UsageError
from manyviews.core.inputs import LogMel
from manyviews.encoders.settings import AudioViTConfig
from manyviews.encoders.weights import load_weights
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.decoder import Decoder
from tiny import given

with np.load(Path(__file__).parent / "data" / "audiomae.npz") as file:
    SAVED = dict(file)
INPUT = LogMel(seconds=10.24, bins=128)


def theirs(name):
    """Our name of a tensor -> Audio-MAE's."""
    return name.removeprefix("online.").removeprefix("decoder.")


def weight(name, shape):
    """The numbers that the authors' network had under a name of theirs."""
    drawn = hashed(name, *shape)
    if name.endswith("tau"):
        return 0.5 + 0.3 * drawn
    if len(shape) > 1:
        return drawn * math.sqrt(6 / math.prod(shape[1:]))
    return 1 + 0.2 * drawn if name.endswith("weight") else 0.1 * drawn


def method_of(kind):
    """Our MAE with the weights of the authors' network, tables of positions too."""
    config = AudioViTConfig(input=INPUT, width=24, depth=2, heads=2)
    decoder = {"width": 32, "depth": 16 if kind == "local" else 2, "heads": 16}
    method = MAE(given(encoders.build(config)), MAEConfig(**decoder, attention=kind)).double()
    state = {k: weight(theirs(k), tuple(v.shape)) for k, v in method.state_dict().items()}
    method.load_state_dict(state)
    return method.train()


def spectrograms():
    return 3 * hashed("spectrograms", 2, 1, 1024, 128)


@pytest.mark.parametrize("kind", ["global", "local"])
def test_loss_predictions_and_gradients_are_those_of_the_authors_code(kind):
    method, hidden = method_of(kind), torch.from_numpy(SAVED[f"{kind}.mask"])
    views = spectrograms()
    step = method(
        Batch({"global": views[:, None]}, torch.arange(2), {"global.mask": hidden[:, None]}),
        Clock(0, 1),
    )
    step.total.backward()
    torch.testing.assert_close(step.total.item(), float(SAVED[f"{kind}.loss"]), rtol=1e-9, atol=0)
    _, made = method._predict(views, hidden)
    prediction = made[hidden].view(2, -1, 256)[:, ::40, ::32].detach()
    torch.testing.assert_close(prediction, torch.from_numpy(SAVED[f"{kind}.prediction"]))
    found = {theirs(n): p.grad for n, p in method.named_parameters() if p.requires_grad}
    assert sorted(found) == SAVED[f"{kind}.names"].tolist()
    assert all(grad is not None and grad.abs().max() > 0 for grad in found.values())
    expected = torch.from_numpy(SAVED[f"{kind}.gradients"])
    torch.testing.assert_close(summary(found), expected, rtol=1e-7, atol=1e-10)


def checkpoint(*, classifier=False):
    """A file as the authors write it, of our names, with a table of positions of its own."""
    encoder = encoders.build(AudioViTConfig(input=INPUT, width=24, depth=2, heads=2))
    state = {k: weight(k, tuple(v.shape)).float() for k, v in encoder.state_dict().items()}
    more = {"head.weight": torch.zeros(527, 24)} if classifier else {}
    if not classifier:
        more = {k: torch.zeros(1) for k in ("mask_token", "decoder_embed.bias")}
        more["decoder_blocks.0.attn.tau"] = torch.ones(16)
    return {"model": state | more}


def test_an_official_file_gives_what_the_authors_network_gives(tmp_path):
    torch.save(checkpoint(), tmp_path / "pretrained.pth")
    encoder = encoders.build(AudioViTConfig(input=INPUT, width=24, depth=2, heads=2))
    told = load_weights(encoder, tmp_path / "pretrained.pth")
    assert told.project == "audiomae"
    assert told.tensors == len(encoder.state_dict())
    features = encoder(spectrograms().float())
    sequence = torch.cat([features.class_token[:, None], features.tokens], dim=1)
    expected = torch.from_numpy(SAVED["encoder"]).float()
    torch.testing.assert_close(sequence[:, ::32], expected, rtol=0, atol=1e-5)


def test_a_file_of_another_size_is_refused_in_a_line(tmp_path):
    torch.save(checkpoint(), tmp_path / "pretrained.pth")
    encoder = encoders.build(AudioViTConfig(input=INPUT, width=48, depth=2, heads=2))
    with pytest.raises(UsageError, match="read as Audio-MAE") as refused:
        load_weights(encoder, tmp_path / "pretrained.pth")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("grid", [(6, 8), (8, 6), (2, 4, 4)])
def test_windows_that_do_not_fill_a_grid_are_refused(grid):
    with pytest.raises(UsageError, match=r"Windows of 4 x 4 do not fill .* --method\.attention"):
        Decoder(8, grid=grid, width=8, depth=1, heads=2, out=4, attention="local")


def test_a_token_sees_its_window_and_then_half_of_the_next():
    """Of two blocks the second's windows begin two times later, around the end but for the edge."""
    torch.manual_seed(0)
    for depth, reached in ((1, range(4, 8)), (2, range(2, 10))):
        decoder = Decoder(8, grid=(16, 4), width=8, depth=depth, heads=2, out=4, attention="local")
        decoder = decoder.double()
        tokens = torch.randn(1, 64, 8, dtype=torch.float64)
        every = torch.arange(64)[None]
        before = decoder(tokens, every, class_token=torch.randn(1, 8, dtype=torch.float64))
        changed = tokens.clone()
        changed[0, 5 * 4 + 1] += 1
        after = decoder(changed, every, class_token=None)
        moved = (after - before).abs().amax(dim=-1).view(16, 4).amax(dim=1) > 1e-9
        assert moved.nonzero().flatten().tolist() == list(reached)


def test_windows_at_both_ends_of_the_time_do_not_see_each_other():
    torch.manual_seed(0)
    decoder = Decoder(8, grid=(8, 4), width=8, depth=2, heads=2, out=4, attention="local").double()
    tokens, every = torch.randn(1, 32, 8, dtype=torch.float64), torch.arange(32)[None]
    changed = tokens.clone()
    changed[0, :8] += 1  # times 0 and 1, which the shift brings beside times 6 and 7
    before, after = (decoder(x, every, class_token=None) for x in (tokens, changed))
    moved = (after - before).abs().amax(dim=-1).view(8, 4).amax(dim=1) > 1e-9
    assert moved.tolist() == [True] * 6 + [False] * 2
