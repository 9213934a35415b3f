"""Tables of things that are imported when they are asked for, and not before."""

import ast
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazy(MutableMapping[str, T], Generic[T]):
    """Name -> a thing, imported from its home when the table is asked for it.

    Names can be listed, and said to be unknown, without importing torch.

    Args:
        root: the package that the homes are in.
        homes: name -> "module:name" below the root.
    """

    def __init__(self, root: str, homes: dict[str, str]) -> None:
        self._root, self._homes = root, homes
        self._here: dict[str, T] = {}

    def module(self, name: str) -> str:
        """The module of a name's home, below the root; "" for what was put in by hand."""
        return "" if name in self._here else self._homes[name].partition(":")[0]

    def about(self, name: str) -> str:
        """The first line of the docstring of what is there; its home is read, not imported."""
        if name in self._here:
            return _first_line(getattr(self._here[name], "__doc__", None))
        module, _, inside = self._homes[name].partition(":")
        spec = find_spec(f"{self._root}.{module}")
        if spec is None or spec.origin is None:
            raise KeyError(name)
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == inside:
                return _first_line(ast.get_docstring(node))
        raise KeyError(name)

    def __getitem__(self, name: str) -> T:
        if name in self._here:
            return self._here[name]
        module, _, inside = self._homes[name].partition(":")
        return getattr(import_module(f"{self._root}.{module}"), inside)

    def __setitem__(self, name: str, thing: T) -> None:
        self._here[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._here[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._homes, **self._here})

    def __len__(self) -> int:
        return len({**self._homes, **self._here})


def _first_line(text: Any) -> str:
    return (text or "").strip().partition("\n")[0]
