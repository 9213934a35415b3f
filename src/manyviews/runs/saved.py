"""A run as YAML and back. Only here does a saved name become a class of settings."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_type_hints

from manyviews.core import UsageError, settings
from manyviews.data.settings import Positives
from manyviews.encoders.catalog import KINDS
from manyviews.methods.catalog import METHODS
from manyviews.runs import earlier
from manyviews.runs.settings import AnyRun, Run, Teacher
from manyviews.views.catalog import FAMILIES

VERSION = 2
"""Of config.yaml; what version 1 wrote is read by `runs.earlier`."""


def _encoders() -> Mapping[str, type[Any]]:
    return {name: kind.config for name, kind in KINDS.items()}


def _methods() -> Mapping[str, type[Any]]:
    return {name: entry.config for name, entry in METHODS.items()}


def to_yaml(run: AnyRun) -> str:
    """The run as YAML that `from_yaml` reads back exactly."""
    tree = settings.dump(run)
    for key, kinds in (("encoders", _encoders()), ("views", FAMILIES)):
        made = settings.parts(getattr(run, key))
        tree[key] = {name: _named(value, kinds) for name, value in made.items()}
    tree["method"] = _named_method(run.method)
    if not tree["teachers"]:
        del tree["teachers"]
    if run.positives == Positives():
        del tree["positives"]
    return settings.to_yaml({"version": VERSION} | tree)


def from_yaml(text: str, *, name: str) -> AnyRun:
    """Read a run strictly.

    Raises:
        UsageError: not YAML, a kind or key that there is not, or a value of another type.
    """
    tree = settings.from_yaml(text, name=name)
    if not isinstance(tree, dict) or not isinstance(tree.get("method"), dict):
        raise UsageError(
            f"{name} holds no run: wanted a mapping with a 'method'. Correct the file."
        )
    version = tree.pop("version", 1)
    if version not in (1, VERSION):
        raise UsageError(
            f"{name} has version {version!r}, and this manyviews reads up to {VERSION}. "
            "Use the version that wrote it."
        )
    if version == 1:
        earlier.settings(tree)
    known = [f.name for f in fields(Run)]
    for key in tree:
        if key not in known:
            raise UsageError(f"{name} has no field '{key}'. {settings.nearest(key, known)}")
    found = {key: _part(key, value) for key, value in tree.items()}
    later = ("start", "teachers", "positives")  # what files of this version may lack
    missing = [key for key in known if key not in found and key not in later]
    if missing:
        raise UsageError(f"{name} lacks '{missing[0]}'. Add it.")
    return Run(**found)


def _part(key: str, value: Any) -> Any:
    if key == "method":
        return _method(value, f"config.{key}")
    if key in ("encoders", "views"):
        return _struct(value, _encoders() if key == "encoders" else FAMILIES, key)
    if key == "teachers":
        return _teachers(value)
    return settings.build(get_type_hints(Run)[key], value, f"config.{key}")


def _named_method(config: Any) -> dict[str, Any]:
    """Settings of a method as a tree, and of those that it mixes."""
    tree = _named(config, _methods())
    for key in _open(type(config)):
        inner = settings.parts(getattr(config, key))
        tree[key] = {name: _named_method(one) for name, one in inner.items()}
    return tree


def _method(tree: Any, path: str) -> Any:
    whole: dict[str, Any] = tree if isinstance(tree, dict) else {}
    keys = _open(_methods().get(str(whole.get("is"))))
    own = {key: value for key, value in whole.items() if key not in keys}
    made = _build(own if whole else tree, _methods(), path)
    inner = {
        key: {n: _method(one, f"{path}.{key}.{n}") for n, one in whole[key].items()}
        for key in keys
        if isinstance(whole.get(key), dict)
    }
    return replace(made, **{k: settings.struct(k.capitalize(), v) for k, v in inner.items()})


def _open(kind: type[Any] | None) -> tuple[str, ...]:
    """Fields of a method's settings that hold those of others."""
    return getattr(kind, "OPEN", ())


def _teachers(tree: Any) -> Any:
    if not isinstance(tree, dict):
        raise UsageError(f"config.teachers should be a mapping; got {tree!r}.")
    made = {
        name: settings.build(Teacher, value, f"config.teachers.{name}")
        for name, value in tree.items()
    }
    return settings.struct("Teachers", made)


def _named(value: Any, kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    [kind] = [name for name, known in kinds.items() if type(value) is known]
    return {"is": kind, **settings.dump(value)}


def _build(tree: Any, kinds: Mapping[str, type[Any]], path: str) -> Any:
    if not isinstance(tree, dict):
        raise UsageError(f"{path} should be a mapping; got {tree!r}.")
    kind = str(tree.get("is"))
    if kind not in kinds:
        hint = settings.nearest(kind, list(kinds))
        raise UsageError(f"{path} is of the kind {kind!r}. {hint}")
    return settings.build(kinds[kind], {k: v for k, v in tree.items() if k != "is"}, path)


def _struct(tree: Any, kinds: Mapping[str, type[Any]], key: str) -> Any:
    path = f"config.{key}"
    if not isinstance(tree, dict):
        raise UsageError(f"{path} should be a mapping; got {tree!r}.")
    made = {name: _build(value, kinds, f"{path}.{name}") for name, value in tree.items()}
    return settings.struct(key.capitalize(), made)
