"""A run as YAML and back. Only here does a saved name become a method's config class."""

from dataclasses import fields
from typing import Any, get_type_hints

from manyviews.core import UsageError, settings
from manyviews.methods.catalog import METHODS, name_of
from manyviews.runs import earlier
from manyviews.runs.settings import AnyRun, Run


def to_yaml(run: AnyRun) -> str:
    """The run as YAML that `from_yaml` reads back exactly."""
    tree = settings.dump(run)
    tree["method"] = {"name": name_of(run.method)} | tree["method"]
    return settings.to_yaml(tree)


def from_yaml(text: str, *, name: str) -> AnyRun:
    """Read a run strictly.

    Raises:
        UsageError: not YAML, an unknown method, an unknown key, or a value of another type.
    """
    tree = settings.from_yaml(text, name=name)
    if not isinstance(tree, dict) or not isinstance(tree.get("method"), dict):
        raise UsageError(f"{name} holds no run: it wants a mapping with a 'method'. Mend the file.")
    earlier.settings(tree)
    method: dict[str, Any] = dict(tree["method"])
    known = method.pop("name", None)
    if known not in METHODS:
        hint = settings.nearest(str(known), list(METHODS))
        raise UsageError(f"{name} names the method {known!r}. {hint}")
    hints = get_type_hints(Run)
    known_fields = [f.name for f in fields(Run)]
    for key in tree:
        if key not in known_fields:
            raise UsageError(f"{name} has no field '{key}'. {settings.nearest(key, known_fields)}")
    parts = {
        key: settings.build(METHODS[known].config, method, "config.method")
        if key == "method"
        else settings.build(hints[key], value, f"config.{key}")
        for key, value in tree.items()
    }
    missing = [key for key in known_fields if key not in parts]
    if missing:
        raise UsageError(f"{name} lacks '{missing[0]}'. Add it.")
    return Run(**parts)
