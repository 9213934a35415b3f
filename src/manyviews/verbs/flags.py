"""The short names of a run's settings, and what they stand for in a run with one encoder."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from manyviews.core.errors import UsageError
from manyviews.core.settings import override, parts, struct
from manyviews.runs.settings import AnyRun
from manyviews.verbs.parse import pop

_INPUT = {"image_size": "side", "channels": "channels", "mean": "mean", "std": "std"}
_MOVED = {
    "views.group": "positives.group",
    "views.differ": "positives.differ",
    "views.mask.ratio": "views.global.mask.ratio",
    "method.entropy_weight": "entropy.weight",
    "method.entropy_concentration": "entropy.concentration",
    "on_collapse": "train.on_collapse",
}


def long(name: str, run: AnyRun) -> str:
    """The whole name of a setting: `encoder.patch` is `encoders.image.patch`.

    Args:
        name: dotted, with underscores.
        run: with one encoder, or the name is left as it is but for what has moved.
    """
    if name in _MOVED:
        return _MOVED[name]
    if re.fullmatch(r"teachers\.\w+", name):
        return f"{name}.source"
    encoders = parts(run.encoders)
    if len(encoders) != 1:
        return name
    [only] = encoders
    room, _, rest = name.partition(".")
    if room == "encoder":
        inner = f"input.{_INPUT[rest]}" if rest in _INPUT else rest
        return f"encoders.{only}.{inner}"
    if room == "data" and rest in ("channels", "mean", "std"):
        return f"encoders.{only}.input.{rest}"
    view = parts(run.views).get("global")
    if name == "views.global.size" and view is not None and not view.size:
        return f"encoders.{only}.input.side"
    return name


def told(run: AnyRun) -> str:
    """What help says of the short names, since it lists whole ones; "" of several encoders."""
    from manyviews.encoders.catalog import sees_images

    encoders = parts(run.encoders)
    if len(encoders) != 1:
        return ""
    [(name, encoder)] = encoders.items()
    said = f"--encoder.X is short for --encoders.{name}.X"
    if not sees_images(encoder):
        return f"{said}."
    return (
        f"{said}, --encoder.image-size for --encoders.{name}.input.side.\n"
        "--encoder.name NAME takes another encoder (`manyviews list encoders`)."
    )


def settle(run: AnyRun, given: Mapping[str, Any]) -> AnyRun:
    """A recipe's run with some settings changed, from Python.

    Raises:
        UsageError: there is no such setting, it is given twice, or a value is of another type.
    """
    named = [(name, long(name.replace("-", "_"), run), value) for name, value in given.items()]
    _once(named)
    whole = {name: value for _, name, value in named}
    for name in list(parts(run.encoders)):
        side = f"encoders.{name}.input.side"
        if side in whole:  # an encoder's sizes can follow from its input's
            run = override(run, {side: whole[side]})
        wanted = whole.pop(f"encoders.{name}.name", None)
        if wanted is not None:
            run = _with_encoder(run, name, wanted)
    return override(run, whole)


def lengthen(args: list[str], run: AnyRun) -> tuple[AnyRun, list[str]]:
    """The same from the command line: the run with its encoder chosen, and flags by whole names."""
    flags: list[str] = []
    named: list[tuple[str, str, list[str]]] = []
    for arg in args:
        found = re.fullmatch(r"--([A-Za-z][\w.-]*)(=.*)?", arg, re.DOTALL)
        if found is None:
            flags.append(arg)
            if named:
                named[-1][2].append(arg)
            continue
        name, value = found[1], found[2] or ""
        whole = long(name.replace("-", "_"), run)
        flags.append(f"--{whole.replace('_', '-')}{value}")
        named.append((name, whole, [value[1:]] if value else []))
    _once(named)
    for name in list(parts(run.encoders)):
        side = f"encoders.{name}.input.side"
        given = [values[0] for _, whole, values in named if whole == side and values]
        if given and given[-1].isdecimal():  # or it is refused when flags are parsed
            run = override(run, {side: int(given[-1])})
        wanted = pop(flags, f"--encoders.{name}.name")
        if wanted is not None:
            run = _with_encoder(run, name, wanted)
    return run, flags


def _once(named: Iterable[tuple[str, str, object]]) -> None:
    """Refuse two values of one setting under two names.

    Args:
        named: a setting as it was said, its whole name, and its value.
    """
    said: dict[str, tuple[str, object]] = {}
    for name, whole, value in named:
        other, before = said.setdefault(whole, (name, value))
        if before != value and other.replace("-", "_") != name.replace("-", "_"):
            raise UsageError(f"--{name} contradicts --{other}: both are --{whole}. Leave one out.")


def _with_encoder(run: AnyRun, name: str, wanted: object) -> AnyRun:
    """The run with an encoder of images exchanged for another."""
    from manyviews.encoders.catalog import instead, sees_images

    encoders = parts(run.encoders)
    old = encoders[name]
    if not sees_images(old):
        raise UsageError(
            f"The encoder {name!r} is {old.name}, and only encoders of images have names to choose "
            f"from. Change its sizes: --encoders.{name}.*."
        )
    if not isinstance(wanted, str):
        raise UsageError(f"encoder.name should be a name; got {wanted!r}.")
    new = instead(old, wanted)
    return replace(run, encoders=struct("Encoders", encoders | {name: new}))
