"""A VQGAN's encoder: its codes are the nearest vectors', and MAGE's transformer reads them."""

from dataclasses import replace

import pytest
import torch

from manyviews import encoders
from manyviews.core import Unsupported, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import CodedConfig, VQGANConfig

FED = Pixels(side=16, channels=3, mean=(0.0,), std=(1.0,))
NET = VQGANConfig(input=FED, patch=4, width=32, code=8, codes=12)
X = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return encoders.build(NET).eval()


@torch.no_grad()
def test_tokens_are_less_the_squared_distances_to_the_codes(encoder):
    seen = []
    hook = encoder.conv_out.register_forward_hook(lambda m, i, o: seen.append(o))
    features = encoder(X)
    hook.remove()
    places = seen[0].flatten(2).transpose(1, 2)
    away = torch.cdist(places, encoder.codebook.weight[None].expand(3, -1, -1))
    torch.testing.assert_close(features.tokens, -away.square(), rtol=1e-4, atol=1e-5)
    assert features.tokens.shape == (3, 16, 12)
    assert features.pooled.shape == (3, 12)
    torch.testing.assert_close(features.pooled.sum(dim=1), torch.ones(3))


def test_a_stage_halves_the_side_and_all_of_it_learns():
    made = encoders.build(NET)
    assert made.grid == (4, 4)
    assert len(made.by_depth()) == 1 + 3 + 1
    tokens = made(X).tokens
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


def test_sizes_that_do_not_fit_are_refused(encoder):
    for patch in (3, 1, 32):
        with pytest.raises(UsageError, match=f"--encoder.patch is {patch}"):
            encoders.build(replace(NET, patch=patch))
    with pytest.raises(UsageError, match="32 groups, and a width of 48"):
        encoders.build(replace(NET, width=48))
    with pytest.raises(Unsupported, match="vqgan has no tokens to keep or hide"):
        encoder(X, blocks=1)


@torch.no_grad()
def test_a_transformer_reads_its_codes():
    sizes = {"patch": 4, "codes": 12, "filters": 32, "width": 16, "depth": 2, "heads": 2}
    reader = encoders.build(CodedConfig(input=FED, tokenizer="vqgan", **sizes)).eval()
    tokenizer = encoders.build(replace(NET, code=256))
    reader.adopt(tokenizer)
    codes = tokenizer(X).tokens.argmax(dim=2)
    assert torch.equal(reader.codes(X), codes)
    assert torch.equal(reader(X).pooled, reader(codes).pooled)
    with pytest.raises(UsageError, match="reads 12 codes of a vqgan"):
        reader.adopt(encoders.build(replace(NET, code=256, codes=13)))
