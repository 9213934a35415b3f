"""The probe that attends to tokens, against its formula and against what a mean can tell."""

import math
from dataclasses import replace

import pytest
import torch

from manyviews.core import UsageError
from manyviews.evaluation import attentive as module
from manyviews.evaluation.attentive import (
    AttentiveFit,
    AttentivePool,
    attentive,
    check_tokens,
    predict,
    train_pool,
)
from manyviews.evaluation.linear import linear_probe

QUICK = AttentiveFit(rate=2e-2, steps=400, seed=0, device=torch.device("cpu"))


def needles(count, seed):
    """Sixteen tokens, of which one has a mark, and beside it which class; the others have noise."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 16, 8, generator=g)
    x[..., 0] = 0.0
    y = torch.randint(0, 2, (count,), generator=g)
    where, rows = torch.randint(0, 16, (count,), generator=g), torch.arange(count)
    x[rows, where, 0] = 6.0
    x[rows, where, 1] = 2.0 * y - 1
    return x, y


def test_the_pool_is_a_softmax_over_tokens_of_each_heads_own_products():
    torch.manual_seed(0)
    probe = AttentivePool(128, 3).double()
    assert probe.heads == 2
    x = 5 + 3 * torch.randn(2, 7, 128).double()
    expected = []
    for tokens in x:
        mean = tokens.mean(dim=1, keepdim=True)
        normed = (tokens - mean) / (tokens.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
        key = normed @ probe.kv.weight[:128].T + probe.kv.bias[:128]
        value = normed @ probe.kv.weight[128:].T + probe.kv.bias[128:]
        parts = []
        for head in (slice(0, 64), slice(64, 128)):
            weights = (key[:, head] @ probe.query[head] / math.sqrt(64)).exp()
            parts.append((weights / weights.sum()) @ value[:, head])
        expected.append(probe.linear.weight @ torch.cat(parts) + probe.linear.bias)
    torch.testing.assert_close(probe(x), torch.stack(expected))
    assert AttentivePool(48, 3).heads == 1


def test_it_finds_the_one_token_that_tells_where_the_mean_hardly_does():
    (x, y), (test_x, test_y) = needles(400, 0), needles(200, 1)
    probe = train_pool(x, y, classes=2, how=QUICK)
    found = float((predict(probe, test_x) == test_y).double().mean())
    means, _ = linear_probe(x.mean(dim=1), y, test_x.mean(dim=1))
    assert found > 0.95
    assert float((means == test_y).double().mean()) < 0.75


def test_what_is_found_does_not_depend_on_the_scale_and_comes_again():
    x, y = needles(64, 0)
    how = replace(QUICK, steps=20)
    state = torch.get_rng_state()
    one, two, large = (train_pool(a, y, classes=2, how=how) for a in (x, x, 1000 * x))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(one(x), large(1000 * x), rtol=1e-2, atol=1e-3)


def test_the_rate_is_chosen_on_training_labels_and_fitted_again_on_all(monkeypatch):
    seen = []

    def spy(x, y, *, classes, how):
        seen.append((how.rate, len(x)))
        return train_pool(x, y, classes=classes, how=replace(how, steps=300))

    judged, predict = [], module.predict
    monkeypatch.setattr(module, "train_pool", spy)
    monkeypatch.setattr(module, "predict", lambda probe, x: judged.append(x) or predict(probe, x))
    (x, y), (test_x, test_y) = needles(200, 0), needles(50, 1)
    found = attentive(x, y, test_x, test_y, rates=(1e-7, 2e-2))
    assert [len(tokens) for tokens in judged] == [200 - seen[0][1]] * 2 + [50]  # held out
    assert seen[0][1] == seen[1][1] < 200
    assert seen[2:] == [(2e-2, 200)]
    assert found.settings["lr for 256"] == 2e-2
    other = attentive(x, y, test_x, 1 - test_y, rates=(1e-7, 2e-2))
    assert found.value + other.value == pytest.approx(1.0)
    assert other.settings == found.settings
    assert (found.protocol, found.n, found.train, found.classes) == ("attentive", 50, 200, 2)


def test_steps_follow_the_examples_within_bounds(monkeypatch):
    told = []
    monkeypatch.setattr(module, "train_pool", lambda x, y, *, classes, how: told.append(how.steps))
    for count in (10, 128 * 40):
        x, y = torch.randn(count, 1, 2), torch.arange(count) % 2
        with pytest.raises(AttributeError):  # nothing was fitted
            attentive(x, y, x, y, rates=(0.1,))
    assert told == [500, 20 * 40]


def test_the_rate_rises_over_a_tenth_and_falls_to_nothing():
    shares = [module._share(step, 100) for step in range(101)]
    assert shares[0] == 0
    assert shares[5] == 0.5
    assert max(shares) == shares[10] == 1
    assert shares[55] == pytest.approx(0.5)
    assert shares[100] == pytest.approx(0)


def test_what_cannot_be_attended_to_is_one_line():
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    with pytest.raises(UsageError, match=r"shape \(4, 3\); attentive wants tokens"):
        attentive(x, y, x, y)
    with pytest.raises(UsageError, match="makes no tokens to attend to"):
        check_tokens(10, (0, 8))
    with pytest.raises(UsageError, match=r"Tokens of 1,000,000,000 rows .* or --protocol linear"):
        check_tokens(10**9, (196, 768))
    check_tokens(1000, (196, 768))
