"""The evolutionary search, on fitness that is planted."""

import math

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.training.evolution import search

TARGET = (0.1, 0.8, 0.35, 0.6)


def far(weights):
    return math.dist(weights, TARGET)


def test_it_finds_a_planted_optimum_that_as_many_random_trials_do_not():
    best, at_random = [], []
    for seed in range(5):
        found = search(far, 4, population=8, generations=20, seed=seed)
        assert len(found) == 8 * 21
        best.append(found[0].fitness)
        draws = np.random.default_rng(100 + seed).uniform(size=(8 * 21, 4))
        at_random.append(min(far(w) for w in draws))
    assert max(best) < 0.1
    assert max(best) < min(at_random)


def test_all_ones_come_first_and_every_weight_is_from_0_to_1():
    told = []
    found = search(far, 4, population=5, generations=4, spread=2.0, told=told.append)
    assert told[0].weights == (1.0,) * 4
    assert [one.generation for one in told] == [g for g in range(5) for _ in range(5)]
    assert all(0 <= w <= 1 for one in told for w in one.weights)
    assert sorted(told, key=lambda one: one.fitness) == found
    assert any(0.0 in one.weights for one in told)


def test_a_child_differs_from_a_living_parent_in_one_weight():
    told = []
    search(far, 4, population=4, generations=3, told=told.append)
    for one in (one for one in told if one.generation):
        earlier = [other for other in told if other.generation < one.generation]
        differ = [sum(a != b for a, b in zip(one.weights, o.weights, strict=True)) for o in earlier]
        assert min(differ) <= 1


def test_what_lives_on_is_the_best_so_far():
    """Parents are drawn from the best four of all that came before."""
    told = []
    search(far, 4, population=4, generations=6, tournament=4, seed=3, told=told.append)
    for generation in range(1, 7):
        before = sorted((o for o in told if o.generation < generation), key=lambda o: o.fitness)
        children = [one for one in told if one.generation == generation]
        for child in children:  # of a tournament of all four the best has every child
            pairs = zip(child.weights, before[0].weights, strict=True)
            assert sum(a != b for a, b in pairs) <= 1


def test_the_same_seed_tries_the_same_and_another_one_others():
    one, two, other = (search(sum, 3, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert [c.weights for c in one] != [c.weights for c in other]


def test_weights_that_come_to_nothing_come_last():
    found = search(lambda w: math.nan if w[0] > 0.5 else sum(w), 2, population=6, generations=2)
    assert found[0].fitness < math.inf
    assert found[-1].fitness == math.inf
    assert found[0].weights[0] <= 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"population": 1}, "population is 1; wanted 2 or more"),
        ({"generations": -1}, "generations is -1; wanted 0 or more"),
        ({"tournament": 0}, "tournament is 0; wanted 1 or more"),
        ({"spread": 0.0}, "spread is 0.0; wanted a number above 0"),
    ],
)
def test_what_is_no_search_is_refused(change, words):
    with pytest.raises(UsageError, match=words):
        search(far, 4, **change)
    with pytest.raises(UsageError, match="count is 0"):
        search(far, 0)
