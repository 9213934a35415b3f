import json

import pytest
import torch
from scipy.stats import binomtest

from manyviews.core import UsageError
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import wilson


def data(n, *, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    x = torch.eye(3)[y].repeat(1, 4) + 0.8 * torch.randn(n, 12, generator=g)
    return x, y


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_what_it_measured(name):
    train, test = data(200, seed=1), data(100, seed=2)
    result = PROTOCOLS[name](*train, *test)
    assert (result.protocol, result.train, result.n, result.classes) == (name, 200, 100, 3)
    assert result.interval[0] < result.value < result.interval[1]
    assert result.value > 0.7
    assert not result.saw_test
    said = json.loads(json.dumps(result.to_json()))
    assert said["value"] == said["measures"][result.metric]["value"] == result.value
    assert f"{result.metric} {result.value:.4f}" in result.lines()[0]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_accuracy_counts_the_test_labels(name):
    train, (x, y) = data(200, seed=1), data(100, seed=2)
    result = PROTOCOLS[name](*train, x, y)
    wrong = PROTOCOLS[name](*train, x, (y + 1) % 3)
    assert wrong.value < 0.3 < result.value
    unseen = PROTOCOLS[name](*train, x, torch.full_like(y, 7))
    assert unseen.value == 0.0


def test_knn_with_fewer_examples_than_k_lets_all_of_them_vote():
    x, y = data(12, seed=3)
    assert PROTOCOLS["knn"](x, y, x, y).settings["k"] == 12


@pytest.mark.parametrize("name", PROTOCOLS)
def test_one_class_is_refused(name):
    x, y = data(12, seed=3)
    with pytest.raises(UsageError, match="1 class"):
        PROTOCOLS[name](x, torch.zeros_like(y), x, y)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (7, 10), (1640, 2000)])
def test_the_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="n=0"):
        wilson(0, 0)
