"""The encoder as a program of torch.export, which runs without this package."""

import warnings
from pathlib import Path

import torch
from torch import nn

from manyviews.core import Failure
from manyviews.core.files import atomic
from manyviews.runs.embedder import load_encoder
from manyviews.verbs.export.from_pixels import FromPixels

TOLERANCE = 1e-5
"""Largest difference to the encoder that the program may have."""


def export_torch(path_in: str | Path, path_out: str | Path, *, normalise: bool = False) -> float:
    """Write a .pt2 file: [batch, C, S, S] -> [batch, D], for any number of images.

    Args:
        path_in: an encoder file.
        path_out: a .pt2 file.
        normalise: it takes pixels in [0, 1] and normalises them itself.

    Returns:
        Largest absolute difference to the encoder on random images.

    Raises:
        UsageError: the encoder has no pixels to normalise.
        Failure: the encoder cannot be exported, or its program gives something else.
    """
    embedder = load_encoder(path_in)
    module: nn.Module = FromPixels(embedder) if normalise else embedder
    generator = torch.Generator().manual_seed(0)
    views = torch.rand(3, *embedder.input.shape, generator=generator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own internals
            batch = torch.export.Dim("batch")
            program = torch.export.export(module, (views[:2],), dynamic_shapes=({0: batch},))
            with torch.inference_mode():
                worst = float((program.module()(views) - module(views)).abs().max())
    except Exception as error:  # a compiler's: of any kind; the user gets one line
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Failure(
            f"torch cannot export the encoder {embedder.config.name} ({line[:200]}). "
            "Use --format safetensors."
        ) from None
    if not worst <= TOLERANCE:
        raise Failure(
            f"The exported program differs from the encoder by {worst:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written. Use --format safetensors."
        )
    with atomic(Path(path_out)) as partial, partial.open("wb") as file:
        torch.export.save(program, file)
    return worst
