"""The tensors of anybody's file, without running anything that lies beside them."""

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from manyviews.core import UsageError

RUNS = re.compile(
    r"^((os|posix|nt|sys|subprocess|shutil|socket|pty|runpy|importlib|ctypes|pickle|webbrowser|code"
    r"|timeit|multiprocessing)\.|(builtins|__builtin__)\."
    r"(?!(frozenset|slice|range|object|list|dict|tuple|int|float|str|bytes|bool)$))"
)
"""What a file of weights needs nothing of, and that whatever runs code is reached through."""
TRIES = 100
"""Kinds of foreign objects that a file may hold."""


class _Inert:
    """Stands for any foreign object (a date, a path): takes all and does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return object.__new__(cls)

    def __setstate__(self, _: object) -> None: ...


class _InertMapping:
    """Stands for a foreign kind of dict, whose items may be tensors."""

    def __new__(cls, *_: object, **__: object) -> Any:
        return OrderedDict[Any, Any]()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors or torch file by their place in it.

    A place is the keys on the way joined by "/", then the name: "state_dict/module.conv1.weight".
    Torch files are read with `weights_only=True`; every class that torch does not know is replaced
    by one that does nothing, so no code of the file or of an installed package runs.

    Raises:
        UsageError: there is no such file, it cannot be read, or it would run code.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Give a .safetensors or torch file.")
    try:
        tree = safetensors.torch.load_file(path) if _is_safetensors(path) else _unpickle(path)
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        safetensors.SafetensorError,
    ) as error:
        raise UsageError(_unreadable(path, error)) from None
    if not isinstance(tree, Mapping):
        what = "a pickled object" if isinstance(tree, _Inert) else f"a {type(tree).__name__}"
        raise UsageError(
            f"{path} holds {what}, not named tensors. Save the network's state_dict() instead."
        )
    return dict(_flat(cast("Mapping[Any, Any]", tree), ""))


def _is_safetensors(path: Path) -> bool:
    """By its beginning: a length of eight bytes, then JSON. A name may say anything."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _unreadable(path: Path, error: Exception) -> str:
    text = str(error)
    if "TorchScript" in text:
        return f"{path} is a TorchScript program, not tensors. Save its state_dict() instead."
    problem = (text.strip().splitlines() or [type(error).__name__])[0]
    return f"{path} cannot be read ({problem[:200]}). Download it again."


def _unpickle(path: Path) -> Any:
    known: dict[str, Any] = {}
    for _ in range(TRIES):
        # torch's list takes classes with the names that they are to answer to
        stand_ins: list[Any] = [(stand_in, name) for name, stand_in in known.items()]
        try:
            with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files that the next lines refuse anyhow
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = _foreign(str(error))
            if not name or name in known:
                raise UsageError(
                    f"{path} is no torch file of tensors. Give the file as the authors published "
                    "it, or its tensors as .safetensors."
                ) from None
            if RUNS.match(name):
                raise UsageError(
                    f"{path} holds pickled Python objects, which can run code when they are loaded "
                    f"(it asks for {name}); nothing was run. Save only its tensors as "
                    ".safetensors, on a machine that trusts it."
                ) from None
            known[name] = _InertMapping if re.search("dict", name, re.IGNORECASE) else _Inert
    raise UsageError(f"{path} holds more than {TRIES} kinds of objects. Save only its tensors.")


def _foreign(text: str) -> str:
    """The global that torch refuses to load, or nothing."""
    found = re.search(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)", text)
    name = found[1] if found else ""
    return name if "." in name or not name else f"builtins.{name}"  # as torch writes these


def _flat(tree: Mapping[Any, Any], above: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        place = f"{above}{key}"
        if isinstance(value, Tensor):
            yield place, value
        elif isinstance(value, Mapping):
            yield from _flat(cast("Mapping[Any, Any]", value), place + "/")
        elif isinstance(value, list | tuple):
            items = cast("Sequence[Any]", value)
            yield from _flat({i: v for i, v in enumerate(items) if isinstance(v, Mapping)}, place)
