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
        return about(f"{self._root}.{self._homes[name]}")

    def __getitem__(self, name: str) -> T:
        if name in self._here:
            return self._here[name]
        module, _, inside = self._homes[name].partition(":")
        return getattr(import_module(f"{self._root}.{module}"), inside)

    def __setitem__(self, name: str, thing: T) -> None:
        self._here[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._here[name]

    def __contains__(self, name: object) -> bool:
        # Mapping's own would ask for the thing, and import it
        return name in self._here or name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter({**self._homes, **self._here})

    def __len__(self) -> int:
        return len({**self._homes, **self._here})


def about(home: str) -> str:
    """The first line of the docstring of a class or function; its file is read, not imported.

    Args:
        home: "package.module:name".

    Raises:
        KeyError: there is none of that name.
    """
    module, _, name = home.partition(":")
    for node in _source(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _first_line(ast.get_docstring(node))
    raise KeyError(home)


def written(module: str, table: str) -> dict[str, tuple[str, ...]]:
    """A literal table as its file has it, which is read and not imported.

    Args:
        module: dotted.
        table: the name of a dict there whose keys are strings, and whose values are names, strings,
            tuples of these or calls with such arguments.

    Returns:
        Key -> what its value is made of: names as "package.module:name", strings as they are.

    Raises:
        KeyError: there is no such table.
    """
    tree = _source(module)
    home = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def parts(value: ast.expr) -> tuple[str, ...]:
        if isinstance(value, ast.Call):
            return tuple(part for argument in value.args for part in parts(argument))
        if isinstance(value, ast.Tuple):
            return tuple(part for item in value.elts for part in parts(item))
        if isinstance(value, ast.Attribute):
            return parts(value.value)
        if isinstance(value, ast.Name):
            return (home.get(value.id, f"{module}:{value.id}"),)
        return (str(ast.literal_eval(value)),)

    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id == table:
                items = zip(node.value.keys, node.value.values, strict=True)
                return {ast.literal_eval(key): parts(value) for key, value in items if key}
    raise KeyError(table)


def _source(module: str) -> ast.Module:
    # Not of the module itself, which would import the packages that it is in.
    root, *inside = module.split(".")
    spec = find_spec(root)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *inside)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return ast.parse(file.read_text(encoding="utf-8"))
    raise KeyError(module)


def _first_line(text: Any) -> str:
    return (text or "").strip().partition("\n")[0]
