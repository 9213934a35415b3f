"""`manyviews train`: a recipe on unlabelled data."""

import inspect
import logging
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.core.progress import say_loading
from manyviews.data.there import check_there
from manyviews.verbs.parse import finish, parse, pop, pop_switch

if TYPE_CHECKING:
    from manyviews.runs.settings import AnyRun, Facts
    from manyviews.runs.train import Trained

log = logging.getLogger("manyviews")


def train(
    recipe: str = "",
    *,
    data: str | Path = "",
    config: str | Path = "",
    start: str | Path = "",
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> "Trained":
    """Train a recipe on unlabelled data.

    Args:
        recipe: a name from `manyviews list recipes`; not with `config`.
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`; with
            `config` the file's own if not given.
        config: a run's config.yaml, or the run: its settings in place of a recipe's.
        start: weights to begin from: a run directory (whole where the method is the same), an
            encoder.safetensors, timm:NAME, or with "encoder.name" another project's checkpoint.
        out: the run directory to make; runs/RECIPE-DATE-TIME if not given.
        overrides: dotted names of settings -> values, as on the command line without the dashes:
            `{"train.minutes": 5, "data.batch_size": 128}`.
    """
    data = str(data)
    from manyviews.recipes import one_duration
    from manyviews.verbs.flags import settle

    given = dict(overrides or {})
    if config:
        default = _from_file(config, recipe, data, str(start))
        default = _prepared(default, given.pop(_PRESET, ""))
        run = one_duration(settle(default, given), default)
        return execute(run, out=Path(out) if out else None)
    check_recipe(recipe)
    check_there(data)
    begun = _Begun.of(recipe, str(start), _before_looking(given))
    if begun.named:
        given = {k: v for k, v in given.items() if k.replace("-", "_") not in _NAMES}
    chosen: list[str] = []
    seen = replace(begun.facts(data), say=chosen.append)
    default = _prepared(begun.default(seen), given.pop(_PRESET, ""))
    run = one_duration(settle(default, given), default)
    _say_encoders(run, default, chosen)
    _say_scaling(run, default)
    return execute(run, out=Path(out) if out else None)


def _from_file(config: str | Path, recipe: str, data: str, start: str) -> "AnyRun":
    """The settings of a run's config.yaml, on other data or from another start where given.

    Raises:
        UsageError: there is no such file, it is damaged, or a recipe was named too.
    """
    from manyviews.runs.folder.paths import Paths
    from manyviews.runs.saved import from_yaml

    if recipe:
        raise UsageError(f"--config has all settings of a run; leave out the recipe {recipe}.")
    path = Path(config)
    path = Paths(path).config if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            f"--config {config} cannot be read. Give a run's config.yaml, or the run."
        ) from None
    run = from_yaml(text, name=str(path))
    run = replace(run, start=start or run.start)
    run = replace(run, data=replace(run.data, source=data or run.data.source))
    check_there(run.data.source)
    return run


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
    from manyviews.recipes import RECIPES

    check_recipe(name)
    return RECIPES[name]


def check_recipe(name: str) -> None:
    """Refuse a name that no recipe has, without importing any.

    Raises:
        UsageError: with the nearest name.
    """
    from manyviews.core.settings import nearest
    from manyviews.recipes import RECIPES

    if name not in RECIPES:
        raise UsageError(f"no recipe '{name}'. {nearest(name, list(RECIPES))}")


_PRESET = "views.preset"
_NAMES = ("encoder.name", "encoders.image.name")
_BEFORE = {
    "data.channels": "channels",
    "encoder.channels": "channels",
    "encoders.image.input.channels": "channels",
    "data.max_pixels": "max_pixels",
    "encoder.image_size": "side",
    "encoder.input.side": "side",
    "encoders.image.input.side": "side",
    "train.minutes": "minutes",
    **dict.fromkeys(_NAMES, "name"),
}
"""Settings that matter before a recipe sees the data."""
_KINDS: Mapping[str, tuple[type, str]] = {"name": (str, "a name"), "minutes": (float, "a number")}
"""What such a setting is, where it is not a whole number."""


def _before_looking(given: Mapping[str, Any]) -> dict[str, Any]:
    """The few settings that matter before a recipe sees the data."""
    found = dict[str, Any]()
    for name, value in given.items():
        key = _BEFORE.get(name.replace("-", "_"))
        if key is not None:
            wanted, words = _KINDS.get(key, (int, "a whole number"))
            if type(value) is not wanted and (type(value), wanted) != (int, float):
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
            if hasattr(config.input, "side"):
                found = {own: replace(config, input=replace(config.input, side=side))}
        return cls(recipe, start, early, found, named=named)

    def facts(self, data: str) -> "Facts":
        """What the recipe looks at, in as many channels as the start is fed."""
        from manyviews.core.inputs import Pixels
        from manyviews.recipes import streams_of
        from manyviews.runs.facts import facts

        asked = {k: v for k, v in self.early.items() if k in ("channels", "max_pixels")}
        only = next(iter(self.encoders.values())) if len(self.encoders) == 1 else None
        pixels = only is not None and isinstance(only.input, Pixels)
        if only is not None and pixels:
            asked.setdefault("channels", only.input.channels)
        seen = facts(data, streams_of(self.recipe), **asked)
        seen = replace(seen, minutes=float(self.early.get("minutes", 0.0)))
        return replace(seen, encoder=only) if pixels else seen

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
    if any(arg == "--config" or arg.startswith("--config=") for arg in args):
        return _command_of_file(list(args))
    if not args or args[0].startswith("-"):
        return _without_a_recipe(wants_help=wants_help)
    recipe, rest = args[0], args[1:]
    check_recipe(recipe)
    data, out = pop(rest, "--data") or pop(rest, "--data.source"), pop(rest, "--out")
    start = pop(rest, "--start") or ""
    preset = pop(rest, f"--{_PRESET}") or ""
    as_json = pop_switch(rest, "--json")
    prog = f"manyviews train {recipe} [--data DATA] [--start START] [--out RUN] "
    prog += "[--views.preset PRESET] [--json]"
    if not wants_help and data is None:
        given = rest[0] if rest and not rest[0].startswith("-") else "DIR"
        raise UsageError(f"train wants data: manyviews train {recipe} --data {shlex.quote(given)}.")
    if data is not None:
        check_there(data)
    say_loading()
    from manyviews.runs.facts import typical_facts

    if wants_help and not start:
        from manyviews.recipes import streams_of
        from manyviews.runs.facts import facts

        seen = facts(data, streams_of(recipe)) if data else typical_facts()
        silent = replace(seen, say=str)  # flags among these could choose otherwise
        default = _prepared(recipe_of(recipe)(silent), preset)
        _flagged(default, [*rest, "--help"], prog, _about(recipe, data))
    begun = _Begun.of(recipe, start, _flags_before_looking(rest))
    if begun.named:
        for name in _NAMES:
            pop(rest, f"--{name}")
    chosen: list[str] = []
    seen = begun.facts(data) if data else typical_facts()
    default = _prepared(begun.default(replace(seen, say=chosen.append)), preset)
    run = _flagged(default, [*rest, *["--help"] * wants_help], prog, _about(recipe, data))
    _say_encoders(run, default, chosen)
    _say_scaling(run, default)
    return finish(execute(run, out=Path(out) if out else None), as_json)


def _say_encoders(run: "AnyRun", recipe: "AnyRun", chosen: list[str]) -> None:
    """Print which encoder is trained: why the recipe chose it, unless flags changed that."""
    from manyviews.core.settings import parts

    own, before = parts(run.encoders), parts(recipe.encoders)
    named = [
        f"encoder: {each.name} at {each.input}, by your flags."
        for key, each in own.items()
        if each != before.get(key)
    ]
    for line in named or chosen:
        log.info("%s", line)


def _say_scaling(run: "AnyRun", recipe: "AnyRun") -> None:
    """Print what another batch size changes, and what it leaves."""
    from manyviews.runs.scaling import lines

    for line in lines(run, recipe):
        log.info("%s", line)


def _command_of_file(rest: list[str]) -> int:
    """`manyviews train --config run/config.yaml ...`: the settings of a run, changed by flags."""
    recipe = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    config = pop(rest, "--config") or ""
    data, out = pop(rest, "--data") or pop(rest, "--data.source"), pop(rest, "--out")
    start, preset = pop(rest, "--start") or "", pop(rest, f"--{_PRESET}") or ""
    as_json = pop_switch(rest, "--json")
    say_loading()
    default = _prepared(_from_file(config, recipe, data or "", start), preset)
    prog = f"manyviews train --config {config} [--data DATA] [--out RUN] [--json]"
    run = _flagged(default, rest, prog, f"The defaults below are those of {config}.")
    return finish(execute(run, out=Path(out) if out else None), as_json)


def _without_a_recipe(*, wants_help: bool) -> int:
    from manyviews.recipes import RECIPES

    if not wants_help:
        raise UsageError(
            "train wants a recipe first: manyviews train RECIPE. See `manyviews list recipes`."
        )
    print("usage: manyviews train RECIPE --data DATA [--out RUN] [--SETTING VALUE ...]")
    print("       manyviews train --config RUN/config.yaml [--data DATA] [--out RUN] ...\n")
    rooms: dict[str, list[str]] = {}
    for name in RECIPES:
        rooms.setdefault(RECIPES.module(name).partition(".")[0], []).append(name)
    for room, names in rooms.items():
        print(
            textwrap.fill(
                " ".join(names),
                96,
                initial_indent=f"  {room:<15}",
                subsequent_indent=" " * 17,
                break_on_hyphens=False,
            )
        )
    print("\nA plain name is for your own data; one with -imagenet or the like has the authors'")
    print("hyper-parameters. `manyviews list recipes` has a line on each recipe, and")
    print("`manyviews train RECIPE --help` has every setting with its default.")
    return 0


def _flags_before_looking(rest: list[str]) -> dict[str, Any]:
    """The few flags that matter before a recipe sees the data."""
    copy, found = list(rest), dict[str, Any]()
    for name, key in _BEFORE.items():
        for flag in {f"--{name}", f"--{name.replace('_', '-')}"}:
            value = pop(copy, flag)
            if value is not None:
                kind, words = _KINDS.get(key, (int, "a whole number"))
                try:
                    found[key] = kind(value)
                except ValueError:
                    raise UsageError(f"{flag} wants {words}; got '{value}'.") from None
    return found


def _about(recipe: str, data: str | None) -> str:
    """What the help of a recipe begins with."""
    from manyviews.core.nouns import noun_of
    from manyviews.recipes import streams_of

    told = inspect.getdoc(recipe_of(recipe)) or ""
    sized = (
        f"The defaults below are for {data} on this machine."
        if data
        else f"The defaults below are for 10,000 {noun_of(streams_of(recipe)).many} on this "
        "machine (images of 256 px); with --data DIR, for your data."
    )
    return f"{told}\n\n{sized}"


def _prepared(run: "AnyRun", name: str) -> "AnyRun":
    """The run with the views of a preset, where one was named."""
    from manyviews.recipes.presets import preset

    return preset(run, name) if name else run


def _flagged(default: "AnyRun", rest: list[str], prog: str, about: str = "") -> "AnyRun":
    """A recipe's run with the flags that were given."""
    from manyviews.recipes import one_duration
    from manyviews.runs.settings import Run
    from manyviews.verbs.flags import lengthen, told

    default, flags = lengthen(rest, default)
    kind = Run[type(default.method), type(default.encoders), type(default.views)]
    about = f"{about}\n{told(default)}".strip()
    run = parse(kind, flags, prog=prog, default=default, about=about)
    return one_duration(run, default)
