"""The encoder as an ONNX model, held against torch before it is given out."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from manyviews.core import Failure
from manyviews.core.extras import lacking
from manyviews.core.files import atomic
from manyviews.runs.embedder import Embedder, load_encoder, resize_rule
from manyviews.verbs.export.from_pixels import FromPixels

log = logging.getLogger("manyviews")

TOLERANCE = 1e-4
"""Largest difference to torch that a model may have."""


def export_onnx(
    path_in: str | Path, path_out: str | Path, *, normalise: bool = False
) -> float | None:
    """Write an ONNX model: "image" [batch, C, S, S] normalised -> "embedding" [batch, D].

    Encoders of video and of sound take "video" [batch, C, T, S, S] and "audio" [batch, 1, F, bins].
    Mean, std and the resize rule are in the model's metadata.

    Args:
        path_in: an encoder file.
        path_out: an .onnx file.
        normalise: the model takes pixels in [0, 1] and normalises them itself, as "normalised" in
            its metadata says.

    Returns:
        Largest absolute difference to torch on random images, or None where onnxruntime is not
        installed to compare.

    Raises:
        UsageError: the packages for ONNX are missing.
        Failure: the model cannot be expressed, its output differs by more than 1e-4, or the file
            cannot be written there.
    """
    try:
        import onnx
        import onnxscript as _  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise lacking("ONNX export", str(error.name), "onnx") from None
    embedder = load_encoder(path_in)
    with atomic(Path(path_out)) as partial:
        module = FromPixels(embedder) if normalise else embedder
        _trace(embedder, module, partial)
        model = onnx.load(partial)
        fed: Any = embedder.input  # all that there are have a mean and a deviation
        words = {"mean": json.dumps(fed.mean), "std": json.dumps(fed.std)}
        words |= {"resize": resize_rule(fed), "normalised": "inside" if normalise else "outside"}
        onnx.helper.set_model_props(model, embedder.info | words)
        onnx.save(model, partial)
        difference = _difference(embedder, module, partial)
        if difference is not None and not difference <= TOLERANCE:
            raise Failure(
                f"The ONNX model's output differs from torch by {difference:.2g}, more than "
                f"{TOLERANCE:g}; nothing was written. Use --format timm or safetensors."
            )
    return difference


def _trace(embedder: Embedder, module: nn.Module, path: Path) -> None:
    views = torch.zeros(2, *embedder.input.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own internals
            torch.onnx.export(
                module,
                (views,),
                path,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[_stream(embedder)],
                output_names=["embedding"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:  # a compiler's: of any kind; the user gets one line
        if disk := _refusal(error, path):
            raise disk from error
        raise _no_onnx(embedder, error) from None


def _stream(embedder: Embedder) -> str:
    """What the model's input is called."""
    return embedder.fixed.streams[0]


def _refusal(error: BaseException | None, path: Path) -> OSError | None:
    """What the disk said to writing there, beneath whatever the compiler made of it."""
    while error is not None:
        if isinstance(error, OSError) and str(error.filename or path) == str(path):
            return error
        error = error.__cause__ or error.__context__
    return None


def _no_onnx(embedder: Embedder, error: Exception) -> Failure:
    log.debug("ONNX export failed", exc_info=error)
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return Failure(
        f"The encoder {embedder.config.name} cannot be had in ONNX ({line[:200]}). "
        "Use --format timm or safetensors."
    )


def _difference(embedder: Embedder, module: nn.Module, path: Path) -> float | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for batch in (1, 3):  # neither is the traced one
            generator = torch.Generator().manual_seed(batch)
            views = torch.randn(batch, *embedder.input.shape, generator=generator)
            given = {_stream(embedder): views.numpy()}
            output = cast("list[NDArray[np.float32]]", session.run(None, given))
            worst = max(worst, float((module(views) - torch.from_numpy(output[0])).abs().max()))
    except Exception as error:  # onnxruntime's have no other common class
        raise _no_onnx(embedder, error) from None
    return worst
