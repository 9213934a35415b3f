"""The encoder file: safetensors that say what they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
from torch import Tensor

import manyviews
from manyviews.core import Encoder, UsageError
from manyviews.core import settings as trees
from manyviews.core.files import atomic
from manyviews.encoders import earlier
from manyviews.encoders.catalog import KINDS, kind_of
from manyviews.encoders.weights import network

KEY = "manyviews"
"""Name of the safetensors metadata entry that describes the encoder, as JSON."""

FORMAT = 2
"""Version of that entry; what 1 said is read by `encoders.earlier`."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What an encoder file says of itself, besides its weights.

    Attributes:
        encoder: how to build it, with what it is fed: settings of one of `encoders.catalog`'s
            kinds.
        resize: how an image is brought to the input's side, in words.
        info: anything else worth knowing: method, data, steps.
    """

    encoder: Any
    resize: str
    info: Mapping[str, str] = field(default_factory=dict[str, str])


def write(path: Path, encoder: Encoder, about: About) -> None:
    """Write an encoder's weights and their description, whole or not at all."""
    tree = {
        "format": FORMAT,
        "version": manyviews.__version__,
        "info": dict(about.info),
        "about": {
            "encoder": {"is": kind_of(about.encoder), **trees.dump(about.encoder)},
            "resize": about.resize,
        },
    }
    write_tensors(path, encoder, {KEY: json.dumps(tree)})


def write_tensors(path: Path, encoder: Encoder, metadata: dict[str, str]) -> None:
    """Write an encoder's weights under the names of its network (timm's, if it is timm's).

    Raises:
        Failure: the file cannot be written there.
    """
    state = network(encoder).state_dict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic(path) as draft:
        draft.write_bytes(safetensors.torch.save(tensors, metadata))


def read(path: Path) -> tuple[About, dict[str, Tensor]]:
    """Read a description and its tensors. Never unpickles.

    Raises:
        UsageError: the file is missing, broken, or says nothing sensible of itself.
    """
    if not path.is_file():
        raise UsageError(f"There is no encoder file {path}. Give a run's encoder.safetensors.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UsageError(
            f"{path} is no readable safetensors file ({error}). Export it again from its run."
        ) from None
    if text is None:
        raise UsageError(
            f"{path} does not say what encoder it holds; manyviews did not write it. "
            "Give a run's encoder.safetensors."
        )
    return _about(text, path), state


def _about(text: str, path: Path) -> About:
    broken = f"The description in {path} is broken"
    again = "Export it again from its run."
    try:
        loaded: Any = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{broken}: no JSON ({error}). {again}") from None
    tree = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
    if tree.get("format") not in (1, FORMAT):
        raise UsageError(
            f"The description in {path} has format {tree.get('format')!r}, and manyviews "
            f"{manyviews.__version__} reads formats 1 and {FORMAT}. Use the version that wrote it."
        )
    info: Any = tree.get("info")
    if not isinstance(info, dict):
        raise UsageError(f"{broken}: it has no 'info'. {again}")
    kept = {str(key): str(value) for key, value in cast("dict[str, Any]", info).items()}
    try:
        config, resize = _read(tree.get("about"), first=tree["format"] == 1)
        trees.check(config, "encoder.")
    except UsageError as error:
        raise UsageError(f"{broken}: {error} {again}") from None
    return About(encoder=config, resize=resize, info=kept)


def _read(about: Any, *, first: bool) -> tuple[Any, str]:
    """Settings of the encoder, and the rule by which images are resized."""
    whole: dict[str, Any] = about if isinstance(about, dict) else {}
    encoder: Any = whole.get("encoder")
    if not isinstance(encoder, dict) or not isinstance(whole.get("resize"), str):
        raise UsageError("about lacks 'encoder' or 'resize'.")
    tree = cast("dict[str, Any]", encoder)
    if first:
        tree = earlier.settings(tree, mean=whole.get("mean"), std=whole.get("std"))
    kind = str(tree.get("is"))
    if kind not in KINDS:
        raise UsageError(f"encoder is of the kind {kind!r}. {trees.nearest(kind, [*KINDS])}")
    own = {name: value for name, value in tree.items() if name != "is"}
    return trees.build(KINDS[kind].config, own, "about.encoder"), whole["resize"]
