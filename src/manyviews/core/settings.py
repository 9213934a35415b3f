"""Frozen dataclasses <-> plain trees and YAML, strictly.

Unknown keys and wrong types are errors that name the dotted path, the value and what was wanted.
Field names that Python reserves end in an underscore (`global_`); their keys do not.
"""

import dataclasses
import difflib
import keyword
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

import yaml

from manyviews.core.errors import UsageError
from manyviews.core.ranges import Range


def struct(name: str, parts: Mapping[str, Any]) -> Any:
    """A frozen dataclass with a field for each part, and its value: an open mapping that is typed.

    What the command line shows as flags, `dump` as a mapping. Equal names and types of parts give
    the same class.

    Args:
        name: of the class.
        parts: field -> settings, a dataclass each.
    """
    kinds = tuple((key, type(value)) for key, value in parts.items())
    return _struct(name, kinds)(**{_field(key): value for key, value in parts.items()})


@lru_cache(maxsize=256)
def _struct(name: str, kinds: tuple[tuple[str, type[Any]], ...]) -> type[Any]:
    import tyro  # only here; settings are read and written without it

    fields = [(_field(key), Annotated[kind, tyro.conf.arg(name=key)]) for key, kind in kinds]
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)


def _field(key: str) -> str:
    return f"{key}_" if keyword.iskeyword(key) else key


def parts(value: Any) -> dict[str, Any]:
    """The inverse of `struct`: field -> settings."""
    return {f.name.rstrip("_"): getattr(value, f.name) for f in dataclasses.fields(value)}


def dump(value: Any) -> Any:
    """Turn a dataclass into a tree of dicts, lists and scalars that `build` reads back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name.rstrip("_"): dump(getattr(value, f.name)) for f in fields}
    if isinstance(value, tuple | list):
        return [dump(v) for v in cast("list[Any]", value)]
    return value


def build(kind: Any, tree: Any, path: str = "config") -> Any:
    """Turn a plain tree into `kind`: a dataclass, Literal, union, tuple or scalar.

    Raises:
        UsageError: an unknown key (with the nearest name), or a value of another type.
    """
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast("type[Any]", kind), tree, path)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _check(tree in args, tree, path, f"one of {', '.join(map(str, args))}")
    if origin in (Union, types.UnionType):
        return _union(args, tree, path)
    if origin is tuple:
        return _tuple(args, tree, path)
    if kind is float and type(tree) is int:
        return float(tree)
    return _check(type(tree) is kind, tree, path, f"a value of type {kind.__name__}")


def override(value: Any, given: Mapping[str, Any]) -> Any:
    """A copy of a dataclass with some settings changed.

    Args:
        value: the dataclass.
        given: dotted names -> values of the fields' types: {"train.minutes": 5}.

    Raises:
        UsageError: an unknown name, or a value of another type.
    """
    for name, wanted in given.items():
        value = _override(value, name.split("."), wanted, name)
    return value


def _override(value: Any, keys: Sequence[str], wanted: Any, path: str) -> Any:
    fields = {f.name.rstrip("_"): f.name for f in dataclasses.fields(value)}
    key = keys[0].replace("-", "_")
    if key not in fields:
        raise UsageError(f"there is no setting '{path}'. {nearest(key, list(fields))}")
    field = fields[key]
    if len(keys) > 1:
        inner = getattr(value, field)
        if not dataclasses.is_dataclass(inner):
            raise UsageError(f"there is no setting '{path}': '{key}' has no parts.")
        return dataclasses.replace(value, **{field: _override(inner, keys[1:], wanted, path)})
    kind = get_type_hints(type(value))[field]
    return dataclasses.replace(value, **{field: build(kind, wanted, path)})


@runtime_checkable
class Demanding(Protocol):
    """Settings that want more than each number by itself can say."""

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """What is wrong: the field, its value, and what was wanted."""
        ...


def check(value: Any, path: str = "") -> None:
    """Refuse numbers that mean nothing, by the ranges that the fields' types give.

    Args:
        value: a dataclass of settings.
        path: before the names of its flags: "method.".

    Raises:
        UsageError: names the flag, the value and what was wanted.
    """
    for name, found, own in numbers(value, path):
        for number in found if isinstance(found, tuple) else (found,):
            if own is not None and not own.holds(number):
                _refuse(name, found, own.wanted)
            if not math.isfinite(number):
                _refuse(name, found, "finite numbers")
    _ask(value, path)


def _ask(value: Any, path: str) -> None:
    """What settings want of several numbers together."""
    if isinstance(value, Demanding):
        for name, found, wanted in value.wrong():
            _refuse(f"{path}{name}", found, wanted)
    for field in dataclasses.fields(cast(Any, value)):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            _ask(inner, f"{path}{field.name.rstrip('_')}.")


def _refuse(path: str, value: object, wanted: str) -> None:
    if isinstance(value, tuple):
        several = cast("tuple[float | str, ...]", value)
        value = " ".join(x if isinstance(x, str) else f"{x:g}" for x in several) or "empty"
    raise UsageError(f"--{path.replace('_', '-')} is {value}; wanted {wanted}.")


def numbers(
    value: Any, path: str = "", outer: Range | None = None
) -> Iterator[tuple[str, float | tuple[float, ...], Range | None]]:
    """Every setting that is a number or several, by the name of its flag, with its range."""
    hints = get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        inner, name = getattr(value, field.name), f"{path}{field.name.rstrip('_')}"
        own = _range(hints[field.name]) or outer
        if dataclasses.is_dataclass(inner):
            yield from numbers(inner, f"{name}.", own)
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield name, inner, own
        elif isinstance(inner, tuple) and not any(isinstance(x, str) for x in inner):
            yield name, cast("tuple[float, ...]", inner), own


def _range(hint: Any) -> Range | None:
    """The range in a type: `Annotated[float, Range]`, or `tuple` of it."""
    if get_origin(hint) is Annotated:
        found = [x for x in get_args(hint)[1:] if isinstance(x, Range)]
        return found[0] if found else _range(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return _range(get_args(hint)[0])
    return None


def to_yaml(tree: Any) -> str:
    """Write a tree as YAML, in the order of the dataclass."""
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, allow_unicode=True)


def from_yaml(text: str, *, name: str) -> Any:
    """Read YAML with the safe loader; `1e-3` is a number, as everywhere else but in YAML 1.1.

    Raises:
        UsageError: the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"{name} is not valid YAML: {problem}. Correct the file.") from None


def nearest(name: str, known: list[str]) -> str:
    """A hint for a misspelt name: the closest known one, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with floats such as 1e-3."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _dataclass(kind: type[Any], tree: Any, path: str) -> Any:
    _check(isinstance(tree, dict), tree, path, "a mapping")
    hints = get_type_hints(kind)
    keys = {f.name.rstrip("_"): f.name for f in dataclasses.fields(kind)}
    for key in tree:
        if key not in keys:
            raise UsageError(f"{path} has no field '{key}'. {nearest(str(key), list(keys))}")
    values = {keys[k]: build(hints[keys[k]], v, f"{path}.{k}") for k, v in tree.items()}
    missing = [
        f.name.rstrip("_")
        for f in dataclasses.fields(kind)
        if f.name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{path} lacks '{missing[0]}'. Add it.")
    return kind(**values)


def _union(args: tuple[Any, ...], tree: Any, path: str) -> Any:
    if tree is None and type(None) in args:
        return None
    errors: list[UsageError] = []
    for kind in args:
        if kind is type(None):
            continue
        try:
            return build(kind, tree, path)
        except UsageError as error:
            errors.append(error)
    raise errors[0]


def _tuple(args: tuple[Any, ...], tree: Any, path: str) -> Any:
    _check(isinstance(tree, list | tuple), tree, path, "a list")
    values = list(tree)
    kinds = [args[0]] * len(values) if args[-1] is Ellipsis else list(args)
    _check(len(kinds) == len(values), values, path, f"{len(kinds)} values")
    items = enumerate(zip(kinds, values, strict=True))
    return tuple(build(kind, value, f"{path}[{i}]") for i, (kind, value) in items)


def _check(ok: bool, value: Any, path: str, wanted: str) -> Any:  # noqa: FBT001 - the condition
    if not ok:
        raise UsageError(f"{path} should be {wanted}; got {value!r}.")
    return value
