"""What a guess costs that looks at no image, which tasks' losses are held against."""

import math

import pytest
import torch
from torch import nn

from manyviews.core import Clock
from manyviews.losses.classification import answer_std
from manyviews.losses.reconstruction import error_of_a_guess, masked_l1, masked_mse
from manyviews.methods.catalog import METHODS, build
from tiny import TinyViT, batch_for, begin, given_for, shrink

CLOCK = Clock(1, 10)


def made(name):
    torch.manual_seed(0)
    entry = METHODS[name]
    method = build(shrink(entry.config()), given_for(entry.method, TinyViT)).train()
    begin(method)
    return method


def silence(layer):
    """Make a linear layer's answer nothing, whatever it sees."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


@pytest.mark.parametrize("name", ["rotation", "jigsaw", "context", "playback", "cubic-puzzle"])
def test_even_answers_cost_what_a_guess_costs(name):
    method = made(name)
    heads = method.heads if name == "cubic-puzzle" else [method.head]
    for head in heads:
        silence([m for m in head.modules() if isinstance(m, nn.Linear)][-1])
    watch = method(batch_for(method), CLOCK).watch
    assert float(watch["over_guess"]) == pytest.approx(1.0)
    assert float(watch["answer_std"]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["rotation", "jigsaw", "context", "playback", "clip-order"])
def test_a_fresh_head_does_not_answer_alike(name):
    method = made(name)
    assert float(method(batch_for(method), CLOCK).watch["answer_std"]) > 0.002


def test_how_far_answers_differ_is_told_in_guesses():
    sure = torch.tensor([[50.0, 0, 0, 0], [0, 50.0, 0, 0]])  # two answers in turn, two never
    assert float(answer_std(sure)) == pytest.approx(4 * (0.5 + 0.5) / 4)
    assert float(answer_std(sure[None].expand(3, 2, 4).half())) == pytest.approx(1.0)
    assert float(answer_std(sure[:1].expand(8, 4))) == 0.0


def test_the_guess_of_an_order_knows_how_frequent_the_answers_are():
    method = made("clip-order")
    silence(method.head)
    share = method.classes.bincount() / len(method.classes)
    with torch.no_grad():
        method.head.bias.copy_(share.log())
    assert float(method(batch_for(method), CLOCK).watch["over_guess"]) == pytest.approx(1.0)


@pytest.mark.parametrize(("error", "power"), [(masked_mse, 2), (masked_l1, 1)])
def test_the_mean_hidden_patch_is_the_guess(error, power):
    g = torch.Generator().manual_seed(1)
    target = torch.randn(3, 5, 4, generator=g)
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    hidden[0, 1:3] = hidden[1, :2] = hidden[2, 3:] = True
    rows = [target[b, n] for b in range(3) for n in range(5) if hidden[b, n]]
    mean = sum(rows) / len(rows)
    costs = [float((row - mean).abs().pow(power).mean()) for row in rows]
    found = float(error_of_a_guess(error, target, hidden))
    assert found == pytest.approx(math.fsum(costs) / len(costs), rel=1e-6)


@pytest.mark.parametrize("name", ["mae", "simmim", "maskfeat", "autoencoder"])
def test_a_reconstruction_is_held_against_that_guess(name):
    method = made(name)
    batch = batch_for(method)
    step = method(batch, CLOCK)
    [loss] = step.losses.values()
    guess = float(loss.detach()) / float(step.watch["over_guess"])
    if name == "autoencoder":
        images = batch.views["global"].flatten(0, 1)
        assert guess == pytest.approx(float(images.var(dim=0, correction=0).mean()), rel=1e-5)
    elif name == "mae":
        assert guess == pytest.approx(1.0, abs=0.1)  # each patch has variance one
    else:
        assert 0 < guess < 2
