"""An encoder of codes, whose tokenizer is its own."""

import pytest
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import CodedConfig

FED = Pixels(side=16, channels=1, mean=(0.5,), std=(0.25,))
NET = CodedConfig(input=FED, patch=4, codes=8, filters=4, width=16, depth=2, heads=2)
X = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    made = encoders.build(NET).eval()
    scores, seen = made.tokenizer.scores, []
    hook = scores.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    made.codes(X)
    hook.remove()
    with torch.no_grad():  # a fresh one gives every place the same code
        scores.bias.copy_(-scores.weight.flatten(1) @ seen[0].mean(dim=(0, 2, 3)))
    return made


@torch.no_grad()
def test_images_are_read_as_their_codes(encoder):
    codes = encoder.codes(X)
    assert codes.shape == (3, 16)
    assert len(codes.unique()) > 3
    whole, read = encoder(X, blocks=1), encoder(codes)
    assert torch.equal(whole.pooled, read.pooled)
    assert whole.tokens.shape == whole.hidden[0].shape == (3, 16, 16)
    assert torch.allclose(whole.pooled, whole.tokens.mean(dim=1))
    assert whole.class_token.shape == (3, 16)
    corner = codes.clone()
    corner[:, 3] = (corner[:, 3] + 1) % 8
    moved = (encoder(corner).tokens - whole.tokens).norm(dim=2)
    assert (moved.argmax(dim=1) == 3).all()


@torch.no_grad()
def test_tokens_can_be_kept_and_hidden(encoder):
    keep = torch.tensor([[1, 5, 9]]).expand(3, 3)
    where = torch.zeros(3, 16, dtype=torch.bool)
    where[:, 5] = True
    token = torch.randn(16)
    found = encoder(X, keep=keep, hide=Hide(where, token))
    assert found.tokens.shape == (3, 3, 16)
    other = encoder.codes(X)
    other[:, [0, 5, 15]] = (other[:, [0, 5, 15]] + 1) % 8
    assert torch.equal(encoder(other, keep=keep, hide=Hide(where, token)).tokens, found.tokens)
    assert not torch.equal(encoder(other, keep=keep).tokens, found.tokens)
    whole = encoder(X, keep=torch.arange(16).expand(3, 16))
    assert torch.equal(whole.tokens, encoder(X).tokens)


def test_its_tokenizer_is_frozen_and_all_else_learns(encoder):
    pooled = encoder(X).pooled
    (pooled * torch.randn_like(pooled)).sum().backward()
    trained = {k: p for k, p in encoder.named_parameters() if p.requires_grad}
    assert not any(k.startswith("tokenizer") for k in trained)
    assert all(p.grad is not None and p.grad.any() for p in trained.values())
    layers = encoder.by_depth()
    assert len(layers) == 1 + 2
    inside = {id(p) for layer in layers for p in layer}
    assert {k for k, p in encoder.named_parameters() if id(p) not in inside} == {
        "norm.weight",
        "norm.bias",
    }


def test_sizes_that_do_not_fit_are_refused(encoder):
    with pytest.raises(Unsupported, match=r"takes images of \(1, 16, 16\)"):
        encoder(torch.zeros(1, 1, 8, 8))
    with pytest.raises(Unsupported, match="3 blocks were asked of an encoder that has 2"):
        encoder(X, blocks=3)
    with pytest.raises(UsageError, match="width of 16 cannot be split over 3 heads"):
        encoders.build(CodedConfig(input=FED, patch=4, width=16, heads=3))
