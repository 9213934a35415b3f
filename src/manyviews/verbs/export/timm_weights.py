"""The encoder as weights that timm loads."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import manyviews
from manyviews.core import UsageError
from manyviews.core.files import write_json
from manyviews.encoders import file
from manyviews.encoders.settings import ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.weights import network
from manyviews.runs.embedder import Embedder, load_encoder, resize_rule, resized

WRITER = "manyviews"
"""Key of a config.json that says that this program wrote it."""


def export_timm(path_in: str | Path, path_out: str | Path) -> str:
    """Write weights that timm loads with strict=True.

    What the network is and what it is fed go with them: into the file's metadata, and into a
    config.json beside it, with which `timm.create_model("local-dir:DIR")` needs no more words.

    Args:
        path_in: an encoder file.
        path_out: a .safetensors file.

    Returns:
        The lines of Python that load it; the model then gives the same embeddings.

    Raises:
        UsageError: the encoder is none of timm's.
    """
    embedder = load_encoder(path_in)
    config = _known(embedder.config)
    fed = embedder.pixels
    from manyviews.encoders.timm_model import arguments  # imports timm, which takes two seconds

    name, given = arguments(dataclasses.replace(config, drop_path=0.0))
    described = _described(embedder, name, given)
    words = {key: json.dumps(value) for key, value in described["pretrained_cfg"].items()}
    words |= {"architecture": name, "model_args": json.dumps(given), "format": "pt"}
    file.write_tensors(Path(path_out), embedder.encoder, words)
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
    if (
        not isinstance(config, TimmConfig) or config.stem != "small"
    ):  # which timm has no argument for
        lines += _write_beside(Path(path_out), described)
    return "\n".join(lines) + "\n"


def export_folder(path_in: str | Path, path_out: str | Path) -> str:
    """Write a folder as the Hugging Face hub has models of timm: config.json, model.safetensors.

    Args:
        path_in: an encoder file.
        path_out: the folder; it may be there.

    Returns:
        The lines of Python that read it, offline.

    Raises:
        UsageError: the encoder is none of timm's, or has the small stem, which no config.json can
            ask for; or the folder holds another program's config.json.
    """
    config, folder = _known(load_encoder(path_in).config), Path(path_out)
    if isinstance(config, TimmConfig) and config.stem == "small":
        raise UsageError(
            f"A folder cannot ask for {config.name} with the small stem. Use --format timm, which "
            "says what to change, or safetensors, onnx or torch."
        )
    if (folder / "config.json").exists() and not _is_ours(folder / "config.json"):
        raise UsageError(f"{folder} holds another program's model. Give another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{folder} is a file. Give a folder as --out.") from None
    export_timm(path_in, folder / "model.safetensors")
    return "\n".join(
        [
            f'timm.create_model("local-dir:{folder}", pretrained=True)',
            f"transformers.AutoModel.from_pretrained({str(folder)!r})",
            f"transformers.AutoImageProcessor.from_pretrained({str(folder)!r})",
        ]
    )


def _known(config: Any) -> ViTConfig | TimmConfig:
    """The same, of an encoder that timm has; others are refused before anything is written."""
    if not isinstance(config, ViTConfig | TimmConfig):
        again = ", or train with --encoder.name resnet18"
        raise UsageError(
            f"timm has no {config.name}. Use --format safetensors, onnx or torch"
            f"{again if isinstance(config, ResNetSmallConfig) else ''}."
        )
    if isinstance(config, TimmConfig) and config.variant != "timm":
        raise UsageError(
            f"timm cannot be asked for {config.name} with {config.variant}, which these weights "
            "want. Use --format safetensors, onnx or torch."
        )
    return config


def _described(embedder: Embedder, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What timm's config.json says of a model; its keys are timm's."""
    given_pixels = embedder.pixels
    side, channels = given_pixels.side, given_pixels.channels
    mean, std = given_pixels.mean, given_pixels.std
    whole = resized(side)
    fed = {
        "input_size": [channels, side, side],
        "mean": list(mean) if len(mean) == channels else list(mean) * channels,
        "std": list(std) if len(std) == channels else list(std) * channels,
        "interpolation": "bilinear",
        "crop_pct": side / whole,
        "crop_mode": "center" if whole > side else "squash",
        "num_classes": 0,
    }
    told = {"architecture": name, "num_classes": 0, "num_features": embedder.dim}
    # transformers gives num_classes by itself; timm takes it from what the model is fed
    args = {key: value for key, value in given.items() if key != "num_classes"}
    return told | {"model_args": args, "pretrained_cfg": fed, WRITER: manyviews.__version__}


def _write_beside(path: Path, described: dict[str, Any]) -> list[str]:
    """The config.json, unless another program's is there; lines that say how to use it."""
    beside = path.with_name("config.json")
    if beside.exists() and not _is_ours(beside):
        return [f"# {beside} is another program's and stays, so timm cannot find these sizes."]
    write_json(beside, described)
    others = [p.name for p in path.parent.glob("*.safetensors") if p != path]
    if others and path.name != "model.safetensors":
        return [f"# timm may take {others[0]} for these weights; give them their own folder."]
    return [f'# Or: timm.create_model("local-dir:{path.parent}", pretrained=True)']


def _is_ours(path: Path) -> bool:
    try:
        return WRITER in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
