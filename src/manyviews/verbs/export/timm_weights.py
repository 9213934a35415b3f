"""The encoder as weights that timm loads."""

import dataclasses
from pathlib import Path
from typing import Any, cast

from manyviews.core import UsageError
from manyviews.encoders import file
from manyviews.encoders.settings import TimmConfig, ViTConfig
from manyviews.encoders.weights import network
from manyviews.runs.embedder import load_encoder, resize_rule


def export_timm(path_in: str | Path, path_out: str | Path) -> str:
    """Write weights that timm loads with strict=True.

    Args:
        path_in: an encoder file.
        path_out: a .safetensors file.

    Returns:
        The lines of Python that load it; the model then gives the same embeddings.

    Raises:
        UsageError: the encoder is none of timm's.
    """
    embedder = load_encoder(path_in)
    config, fed = embedder.config, embedder.pixels
    if not isinstance(config, ViTConfig | TimmConfig):
        raise UsageError(f"timm has no {config.name}. Use --format safetensors or --format onnx.")
    from manyviews.encoders.timm_model import arguments  # imports timm, which takes two seconds

    file.write_tensors(Path(path_out), embedder.encoder, {"format": "pt"})
    name, given = arguments(dataclasses.replace(config, drop_path=0.0))
    listed = ", ".join(f"{key}={value!r}" for key, value in given.items())
    lines = [
        "import timm",
        "from safetensors.torch import load_file",
        "",
        f'model = timm.create_model("{name}", pretrained=False, {listed})',
    ]
    if isinstance(config, TimmConfig) and config.stem == "small":
        width = cast("Any", network(embedder.encoder)).conv1.out_channels
        lines.insert(1, "import torch")
        lines += [
            f"model.conv1 = torch.nn.Conv2d({fed.channels}, {width}, 3, 1, 1, bias=False)",
            "model.maxpool = torch.nn.Identity()",
        ]
    side = fed.side
    lines += [
        f"model.load_state_dict(load_file({str(path_out)!r}))",
        "model.eval()",
        f"# Input [B, {fed.channels}, {side}, {side}]: pixels in [0, 1], minus "
        f"{list(fed.mean)}, divided by {list(fed.std)}.",
        f"# Resize: {resize_rule(fed)}.",
    ]
    return "\n".join(lines) + "\n"
