"""An evolutionary search over weights from 0 to 1; what makes weights good is passed in."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from manyviews.core import UsageError

LossWeights = tuple[float, ...]
_DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Weights that were tried.

    Attributes:
        weights: each from 0 to 1.
        fitness: the lower the better; infinite where they are of no use.
        generation: 0 are those that the search begins with.
    """

    weights: LossWeights
    fitness: float
    generation: int


def search(
    fitness: Callable[[LossWeights], float],
    count: int,
    *,
    population: int = 6,
    generations: int = 3,
    tournament: int = 3,
    spread: float = 0.2,
    seed: int = 0,
    told: Callable[[Tried], object] = lambda _: None,
) -> list[Tried]:
    """Try weights, and change those that did best; population * (generations + 1) trials.

    All ones come first, then random weights. A child has the weights of the best of a few parents
    that are drawn at random, one of them moved by a normal number; the best of parents and children
    live on. So the best found never gets worse.

    Args:
        fitness: of weights, the lower the better. NaN counts as infinite.
        count: of weights.
        population: how many live, and children of a generation.
        generations: after the first.
        tournament: parents that are compared for each child.
        spread: standard deviation of a move.
        seed: of everything that is drawn. What is drawn next depends on fitness alone.
        told: of each candidate, as soon as it has been tried.

    Returns:
        All candidates, the best first, of equals the earlier.

    Raises:
        UsageError: fewer than 1 weight, 2 that live or 1 parent, or no room to move.
    """
    least = {"count": (count, 1), "population": (population, 2), "tournament": (tournament, 1)}
    for name, (number, wanted) in {**least, "generations": (generations, 0)}.items():
        if number < wanted:
            raise UsageError(f"{name} is {number}; wanted {wanted} or more.")
    if not 0 < spread < math.inf:
        raise UsageError(f"spread is {spread}; wanted a number above 0.")
    random = np.random.default_rng(seed)
    tried: list[Tried] = []

    def tries(weights: LossWeights, generation: int) -> Tried:
        found = fitness(weights)
        found = math.inf if math.isnan(found) else found
        one = Tried(weights=weights, fitness=found, generation=generation)
        tried.append(one)
        told(one)
        return one

    begin = [np.ones(count), *random.uniform(size=(population - 1, count))]
    living = [tries(_rounded(weights), 0) for weights in begin]
    for generation in range(1, generations + 1):
        children = [
            tries(_child(_fittest(living, tournament, random), spread, random), generation)
            for _ in range(population)
        ]
        living = sorted([*living, *children], key=lambda one: one.fitness)[:population]
    return sorted(tried, key=lambda one: one.fitness)


def _fittest(living: Sequence[Tried], count: int, random: np.random.Generator) -> Tried:
    drawn = random.choice(len(living), size=min(count, len(living)), replace=False)
    parents: list[Tried] = [living[int(k)] for k in drawn]
    return min(parents, key=lambda one: one.fitness)


def _child(parent: Tried, spread: float, random: np.random.Generator) -> LossWeights:
    weights = np.array(parent.weights)
    which, move = random.integers(len(weights)), random.normal(scale=spread)
    weights[which] = np.clip(weights[which] + move, 0.0, 1.0)
    return _rounded(weights)


def _rounded(weights: np.ndarray) -> LossWeights:
    return tuple(round(float(w), _DIGITS) for w in weights)
