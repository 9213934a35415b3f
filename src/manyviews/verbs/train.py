"""`manyviews train`: a recipe on unlabelled data."""

import inspect
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.verbs.parse import finish, parse, pop, pop_switch

if TYPE_CHECKING:
    from manyviews.runs.settings import AnyRun, Facts
    from manyviews.runs.train import Trained


def train(
    recipe: str,
    *,
    data: str,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> "Trained":
    """Train a recipe on unlabelled images.

    Args:
        recipe: a name from `manyviews list recipes`.
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        out: the run directory to make; runs/RECIPE-DATE-TIME if not given.
        overrides: dotted names of settings -> values, as on the command line without the dashes:
            `{"train.minutes": 5, "data.batch_size": 128}`.
    """
    from manyviews.recipes import one_duration, streams_of
    from manyviews.runs.facts import facts
    from manyviews.verbs.flags import settle

    make = recipe_of(recipe)
    given = dict(overrides or {})
    default = make(facts(data, streams_of(recipe), **_before_looking(given)))
    run = one_duration(settle(default, given), default)
    return execute(run, out=Path(out) if out else None)


def execute(run: "AnyRun", *, out: Path | None = None) -> "Trained":
    """Train a complete `Run` in a new run directory; runs/RECIPE-DATE-TIME if not given."""
    from manyviews.core.settings import check
    from manyviews.runs.train import run_in

    check(run)
    return run_in(out, run, resume=False)


def recipe_of(name: str) -> Any:
    """The function from facts to a run that a recipe's name means.

    Raises:
        UsageError: there is none of that name.
    """
    from manyviews.core.settings import nearest
    from manyviews.recipes import RECIPES

    if name not in RECIPES:
        raise UsageError(f"no recipe '{name}'. {nearest(name, list(RECIPES))}")
    return RECIPES[name]


_BEFORE = {
    "data.channels": "channels",
    "encoder.channels": "channels",
    "encoders.image.input.channels": "channels",
    "data.max_pixels": "max_pixels",
}
"""Settings that matter before a recipe sees the data."""


def _before_looking(given: Mapping[str, Any]) -> dict[str, int]:
    """The few settings that matter before a recipe sees the data."""
    found = dict[str, int]()
    for name, value in given.items():
        key = name.replace("-", "_")
        if key in _BEFORE:
            if type(value) is not int:
                raise UsageError(f"{name} should be a whole number; got {value!r}.")
            found[_BEFORE[key]] = value
    return found


def command(args: list[str]) -> int:
    """`manyviews train RECIPE --data DATA ...`: every setting of the recipe is a flag."""
    wants_help = "--help" in args or "-h" in args
    if not args or args[0].startswith("-"):
        return _without_a_recipe(wants_help=wants_help)
    recipe, rest = args[0], args[1:]
    recipe_of(recipe)
    data, out = pop(rest, "--data") or pop(rest, "--data.source"), pop(rest, "--out")
    as_json = pop_switch(rest, "--json")
    prog = f"manyviews train {recipe} [--data DATA] [--out RUN] [--json]"
    if not wants_help and data is None:
        raise UsageError(f"train wants data: manyviews train {recipe} --data DIR.")
    from manyviews.recipes import streams_of
    from manyviews.runs.facts import facts, typical_facts

    streams = streams_of(recipe)
    if wants_help:
        seen = facts(data, streams) if data else typical_facts()
        _parsed(recipe, seen, [*rest, "--help"], prog, _about(recipe, data))
    run = _parsed(recipe, facts(str(data), streams, **_flags_before_looking(rest)), rest, prog)
    return finish(execute(run, out=Path(out) if out else None), as_json)


def _without_a_recipe(*, wants_help: bool) -> int:
    from manyviews.recipes import RECIPES

    if not wants_help:
        raise UsageError(
            "train wants a recipe first: manyviews train RECIPE. See `manyviews list recipes`."
        )
    print("usage: manyviews train RECIPE --data DATA [--out RUN] [--SETTING VALUE ...]\n")
    rooms: dict[str, list[str]] = {}
    for name in RECIPES:
        rooms.setdefault(RECIPES.module(name).partition(".")[0], []).append(name)
    for room, names in rooms.items():
        inside = f"  {room:<15}"
        print(textwrap.fill(" ".join(names), 96, initial_indent=inside, subsequent_indent=" " * 17))
    print("\nA plain name is for your own data. `manyviews list recipes` has a line on each, and")
    print("`manyviews train RECIPE --help` every setting with its default.")
    return 0


def _flags_before_looking(rest: list[str]) -> dict[str, int]:
    """The few flags that matter before a recipe sees the data."""
    copy, found = list(rest), dict[str, int]()
    for name, key in _BEFORE.items():
        for flag in {f"--{name}", f"--{name.replace('_', '-')}"}:
            value = pop(copy, flag)
            if value is not None:
                try:
                    found[key] = int(value)
                except ValueError:
                    raise UsageError(f"{flag} wants a whole number; got '{value}'.") from None
    return found


def _about(recipe: str, data: str | None) -> str:
    """What the help of a recipe begins with."""
    told = inspect.getdoc(recipe_of(recipe)) or ""
    sized = (
        f"The defaults below are for {data} on this machine."
        if data
        else "The defaults below are for 10,000 images of 256 px on this machine; with "
        "--data DIR, for your data."
    )
    return f"{told}\n\n{sized}"


def _parsed(recipe: str, facts: "Facts", rest: list[str], prog: str, about: str = "") -> "AnyRun":
    from manyviews.recipes import RECIPES, one_duration
    from manyviews.runs.settings import Run
    from manyviews.verbs.flags import lengthen

    default, flags = lengthen(rest, RECIPES[recipe](facts))
    kind = Run[type(default.method), type(default.encoders), type(default.views)]
    run = parse(kind, flags, prog=prog, default=default, about=about)
    return one_duration(run, default)
