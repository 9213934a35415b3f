"""`manyviews evolve`: loss weights of a mixture, found without labels by short trainings."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.data.there import check_there
from manyviews.verbs.parse import Positional

if TYPE_CHECKING:
    from manyviews.runs.evolve import Evolved


def evolve(
    recipe: Positional[str],
    *,
    data: str | Path,
    out: str | Path,
    held: str | Path = "",
    steps: int = 200,
    batch_size: int = 0,
    population: int = 6,
    generations: int = 3,
    tournament: int = 3,
    spread: float = 0.2,
    which: str = "",
    sample: int = 2000,
    clusters: int = 64,
    seed: int = 0,
) -> "Evolved":
    """Search for the loss weights of a recipe that mixes methods: elo, joint.

    Every candidate is trained from the same start for a few steps. Its features are clustered, and
    the better candidate is the one whose clusters' sizes are nearer to Zipf's law (ELo). The number
    of trainings is population * (generations + 1). What was tried stands in OUT, and the same
    command goes on where it was interrupted.

    Args:
        recipe: one whose method has weights.
        data: what is trained on; as for `train`.
        out: a .jsonl file of all candidates.
        held: what features are measured on; the data themselves if not given.
        steps: of each training.
        batch_size: samples a step; 0 for the recipe's.
        population: candidates that live on; the first has all weights 1, the others are random.
        generations: after the first.
        tournament: candidates of which the best has a child.
        spread: standard deviation of the change of one weight, of those from 0 to 1.
        which: the encoder that is measured; the method's first if not given.
        sample: measured on so many samples at most.
        clusters: of k-means; fewer where there are fewer samples.
        seed: of the search; trainings have the recipe's own.
    """
    data, held, out = str(data), str(held or data), Path(out)
    from manyviews.verbs.train import recipe_of

    make = recipe_of(recipe)
    for place in dict.fromkeys((data, held)):
        check_there(place)
    for name, number in (("steps", steps), ("sample", sample), ("clusters", clusters)):
        if number < 1:
            raise UsageError(f"--{name} is {number}; wanted 1 or more.")
    from manyviews.core.settings import parts
    from manyviews.recipes import streams_of
    from manyviews.runs.evolve import Evolved, Trial
    from manyviews.runs.evolve import evolve as searched
    from manyviews.runs.facts import facts

    run: Any = make(facts(data, streams_of(recipe)))
    names: tuple[str, ...] = getattr(run.method, "weighed", ())
    if not names:
        raise UsageError(f"{recipe} has no loss weights. Give a recipe that mixes: elo, joint.")
    encoders = list(parts(run.encoders))
    which = which or getattr(run.method, "main", encoders[0])
    if which not in encoders:
        raise UsageError(f"--which is {which}; {recipe} has {', '.join(encoders)}.")
    span = replace(run.train, steps=steps, epochs=0, minutes=0.0)
    batch = replace(run.data, batch_size=batch_size or run.data.batch_size)
    run = replace(run, train=span, data=batch)
    trial = Trial(run=run, held=held, which=which, sample=sample, clusters=clusters)
    chosen = {"population": population, "tournament": tournament, "spread": spread, "seed": seed}
    told = {"recipe": recipe, "data": data, "held": held, "which": which, "steps": steps}
    told |= {"batch_size": run.data.batch_size, "sample": sample, "clusters": clusters, **chosen}
    found = searched(trial, names, out, told=told, generations=generations, **chosen)
    best = " ".join(f"{w:g}" for w in found[0].weights)
    command = f"manyviews train {recipe} --data {shlex.quote(data)} --method.weights {best}"
    return Evolved(names=names, found=found, out=str(out), command=command)
