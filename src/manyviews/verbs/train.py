"""`manyviews train`: a recipe on unlabelled data."""

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    start: str | Path = "",
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> "Trained":
    """Train a recipe on unlabelled images.

    Args:
        recipe: a name from `manyviews list recipes`.
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        start: weights to begin from: a run directory (whole where the method is the same), an
            encoder.safetensors, timm:NAME, or with "encoder.name" another project's checkpoint.
        out: the run directory to make; runs/RECIPE-DATE-TIME if not given.
        overrides: dotted names of settings -> values, as on the command line without the dashes:
            `{"train.minutes": 5, "data.batch_size": 128}`.
    """
    from manyviews.recipes import one_duration
    from manyviews.verbs.flags import settle

    recipe_of(recipe)
    given = dict(overrides or {})
    begun = _Begun.of(recipe, str(start), _before_looking(given))
    if begun.named:
        given = {k: v for k, v in given.items() if k.replace("-", "_") not in _NAMES}
    default = begun.default(begun.facts(data))
    run = one_duration(settle(default, given), default)
    return execute(run, out=Path(out) if out else None)


def execute(run: "AnyRun", *, out: Path | None = None) -> "Trained":
    """Train a complete `Run` in a new run directory; runs/RECIPE-DATE-TIME if not given."""
    from manyviews.core.settings import check
    from manyviews.runs.moved import settled
    from manyviews.runs.train import run_in

    check(run)
    return run_in(out, settled(run), resume=False)


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


_NAMES = ("encoder.name", "encoders.image.name")
_BEFORE = {
    "data.channels": "channels",
    "encoder.channels": "channels",
    "encoders.image.input.channels": "channels",
    "data.max_pixels": "max_pixels",
    "encoder.image_size": "side",
    "encoder.input.side": "side",
    "encoders.image.input.side": "side",
    **dict.fromkeys(_NAMES, "name"),
}
"""Settings that matter before a recipe sees the data."""


def _before_looking(given: Mapping[str, Any]) -> dict[str, Any]:
    """The few settings that matter before a recipe sees the data."""
    found = dict[str, Any]()
    for name, value in given.items():
        key = _BEFORE.get(name.replace("-", "_"))
        if key is not None:
            wanted, words = (str, "a name") if key == "name" else (int, "a whole number")
            if type(value) is not wanted:
                raise UsageError(f"{name} should be {words}; got {value!r}.")
            found[key] = value
    return found


@dataclass(frozen=True)
class _Begun:
    """A recipe, and the settings of the encoders that its start holds.

    Attributes:
        recipe: its name.
        start: what training begins from; "" for nothing.
        early: settings that matter before the recipe sees the data.
        encoders: name -> settings, of the start.
        named: the start does not say what network it holds, and the encoder's name said it.
    """

    recipe: str
    start: str
    early: Mapping[str, Any]
    encoders: Mapping[str, Any]
    named: bool

    @classmethod
    def of(cls, recipe: str, start: str, early: Mapping[str, Any]) -> "_Begun":
        """Look at a start.

        Raises:
            UsageError: it cannot be used, or the recipe wants one and there is none.
        """
        from manyviews.recipes import needs_start

        if not start:
            if needs_start(recipe):
                raise UsageError(
                    f"{recipe} goes on from weights that are there: add --start RUN, a file or "
                    "timm:NAME."
                )
            return cls(recipe, start, early, {}, named=False)
        from manyviews.runs import start as starts

        side = int(early.get("side", 0))
        named = starts.wants_name(start)
        name = str(early.get("name", "")) if named else ""
        found = starts.configs_of(start, name=name, image_size=side)
        if side and len(found) == 1:  # sizes of views can follow from it
            [(own, config)] = found.items()
            found = {own: replace(config, input=replace(config.input, side=side))}
        return cls(recipe, start, early, found, named=named)

    def facts(self, data: str) -> "Facts":
        """What the recipe looks at, in as many channels as the start is fed."""
        from manyviews.core.inputs import Pixels
        from manyviews.encoders.settings import ImageConfig
        from manyviews.recipes import streams_of
        from manyviews.runs.facts import facts

        asked = {k: v for k, v in self.early.items() if k in ("channels", "max_pixels")}
        only = next(iter(self.encoders.values())) if len(self.encoders) == 1 else None
        if only is not None and isinstance(only.input, Pixels):
            asked.setdefault("channels", only.input.channels)
        seen = facts(data, streams_of(self.recipe), **asked)
        return replace(seen, encoder=only) if isinstance(only, ImageConfig) else seen

    def default(self, facts: "Facts") -> "AnyRun":
        """The recipe's run, its encoders those of the start."""
        from manyviews.core.settings import parts, struct
        from manyviews.runs.start import paired

        run = recipe_of(self.recipe)(facts)
        if not self.encoders:
            return run
        own = parts(run.encoders)
        for name, config in paired(self.encoders, own, self.start).items():
            if type(config.input) is not type(own[name].input):
                raise UsageError(
                    f"--start {self.start} holds an encoder that is fed "
                    f"{type(config.input).__name__}, and {self.recipe} trains one that is fed "
                    f"{type(own[name].input).__name__}. Give another start."
                )
            own[name] = config
        return replace(run, encoders=struct("Encoders", own), start=self.start)


def command(args: list[str]) -> int:
    """`manyviews train RECIPE --data DATA ...`: every setting of the recipe is a flag."""
    wants_help = "--help" in args or "-h" in args
    if not args or args[0].startswith("-"):
        return _without_a_recipe(wants_help=wants_help)
    recipe, rest = args[0], args[1:]
    recipe_of(recipe)
    data, out = pop(rest, "--data") or pop(rest, "--data.source"), pop(rest, "--out")
    start = pop(rest, "--start") or ""
    as_json = pop_switch(rest, "--json")
    prog = f"manyviews train {recipe} [--data DATA] [--start START] [--out RUN] [--json]"
    if not wants_help and data is None:
        raise UsageError(f"train wants data: manyviews train {recipe} --data DIR.")
    from manyviews.runs.facts import typical_facts

    if wants_help and not start:
        from manyviews.recipes import streams_of
        from manyviews.runs.facts import facts

        seen = facts(data, streams_of(recipe)) if data else typical_facts()
        _parsed(recipe, seen, [*rest, "--help"], prog, _about(recipe, data))
    begun = _Begun.of(recipe, start, _flags_before_looking(rest))
    if begun.named:
        for name in _NAMES:
            pop(rest, f"--{name}")
    default = begun.default(begun.facts(data) if data else typical_facts())
    run = _flagged(default, [*rest, *["--help"] * wants_help], prog, _about(recipe, data))
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


def _flags_before_looking(rest: list[str]) -> dict[str, Any]:
    """The few flags that matter before a recipe sees the data."""
    copy, found = list(rest), dict[str, Any]()
    for name, key in _BEFORE.items():
        for flag in {f"--{name}", f"--{name.replace('_', '-')}"}:
            value = pop(copy, flag)
            if value is not None:
                try:
                    found[key] = value if key == "name" else int(value)
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
    return _flagged(recipe_of(recipe)(facts), rest, prog, about)


def _flagged(default: "AnyRun", rest: list[str], prog: str, about: str = "") -> "AnyRun":
    """A recipe's run with the flags that were given."""
    from manyviews.recipes import one_duration
    from manyviews.runs.settings import Run
    from manyviews.verbs.flags import lengthen

    default, flags = lengthen(rest, default)
    kind = Run[type(default.method), type(default.encoders), type(default.views)]
    run = parse(kind, flags, prog=prog, default=default, about=about)
    return one_duration(run, default)
