"""The encoder file: safetensors that say what they are."""

import json
import math
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
from manyviews.encoders.settings import EncoderConfig
from manyviews.encoders.weights import network

KEY = "manyviews"
"""Name of the safetensors metadata entry that describes the encoder, as JSON."""

FORMAT = 1
"""Version of that entry. Read what older versions wrote before raising it."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What an encoder file says of itself, besides its weights.

    Attributes:
        encoder: how to build it.
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
        resize: how an image is brought to `encoder.image_size`, in words.
        info: anything else worth knowing: method, data, steps.
    """

    encoder: EncoderConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    info: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The part of `About` whose types the strict reader checks."""

    encoder: EncoderConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str


def write(path: Path, encoder: Encoder, about: About) -> None:
    """Write an encoder's weights and their description, whole or not at all."""
    stored = _Stored(encoder=about.encoder, mean=about.mean, std=about.std, resize=about.resize)
    tree = {
        "format": FORMAT,
        "version": manyviews.__version__,
        "info": dict(about.info),
        "about": trees.dump(stored),
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
    if tree.get("format") != FORMAT:
        raise UsageError(
            f"The description in {path} has format {tree.get('format')!r}, and manyviews "
            f"{manyviews.__version__} reads format {FORMAT}. Use the version that wrote it."
        )
    info: Any = tree.get("info")
    if not isinstance(info, dict):
        raise UsageError(f"{broken}: it has no 'info'. {again}")
    kept = {str(key): str(value) for key, value in cast("dict[str, Any]", info).items()}
    try:
        stored = cast("_Stored", trees.build(_Stored, tree.get("about"), "about"))
    except UsageError as error:
        raise UsageError(f"{broken}: {error} {again}") from None
    allowed = (1, stored.encoder.channels)
    for name, values in (("mean", stored.mean), ("std", stored.std)):
        low = 0.0 if name == "std" else -math.inf
        if len(values) not in allowed or not all(low < v < math.inf for v in values):
            raise UsageError(f"{broken}: about.{name} is {list(values)}. {again}")
    return About(
        encoder=stored.encoder, mean=stored.mean, std=stored.std, resize=stored.resize, info=kept
    )
