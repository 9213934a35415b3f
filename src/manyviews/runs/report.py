"""Gathers what a run's report shows, from the run directory and its data."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Encoder, Unsupported
from manyviews.core.files import atomic
from manyviews.data.loader import Raw
from manyviews.diagnosis import spectrum
from manyviews.diagnosis.verdict import Verdict, verdict
from manyviews.encoders.vit import ViT, attention
from manyviews.reports.content import Content, Embedded, Strip
from manyviews.reports.figures import attention_heads
from manyviews.reports.maps import Kind
from manyviews.reports.page import render
from manyviews.reports.pictures import Pixels, principal_colours
from manyviews.runs.assemble import Assembly, embedder, read_many
from manyviews.runs.folder import read
from manyviews.training import checkpoint

SAMPLE = 1000
"""Images that are embedded for the spectrum, the map and the gallery."""
SHOWN = 6
"""Images whose views, attention and reconstructions are shown."""
PACKAGES = ("manyviews", "torch", "torchvision", "timm", "numpy")


@runtime_checkable
class Reconstructs(Protocol):
    """A method that can show what it predicts."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """[B, C, H, W], normalised as the input."""
        ...


def write(assembly: Assembly, directory: Path, *, how: Kind = "pca") -> Path:
    """Write `report.html` of a run whose method is at its last checkpoint.

    Args:
        assembly: the run.
        directory: where it lies.
        how: features become points of the map.
    """
    page = directory / "report.html"
    text = render(gather(assembly, directory, how=how))
    with atomic(page) as draft:
        draft.write_text(text, encoding="utf-8")
    return page


def gather(assembly: Assembly, directory: Path, *, how: Kind = "pca") -> Content:
    """Everything that the page shows."""
    diagnosis, diagnosed = _diagnosis(directory)
    records = read.read_metrics(directory)
    embedded = _embed(assembly)
    values = spectrum.singular_values(torch.from_numpy(embedded.features))
    state = verdict(torch.from_numpy(embedded.features))
    alarms = sorted({str(r.get("message")) for r in records if r.get("kind") == "alarm"})
    light = "bad" if state.light == "bad" else "warn" if alarms else state.light
    return Content(
        title=f"{assembly.run.recipe} on {assembly.run.data.source}",
        light=light,
        verdict=state.sentence,
        figures=_figures(assembly, directory, records, state),
        facts=_facts(assembly),
        records=records,
        embedded=embedded,
        spectrum=values.tolist(),
        views=_views(assembly),
        insight=_insight(assembly),
        diagnosis=diagnosis,
        diagnosed=diagnosed,
        map=how,
        alarms=alarms,
        quarantine=read.read_quarantine(directory),
        command=read.read_began(directory)["command"],
        config=(directory / "config.yaml").read_text(encoding="utf-8"),
        versions={p: importlib.metadata.version(p) for p in PACKAGES}
        | {"Python": platform.python_version()},
    )


def _diagnosis(directory: Path) -> tuple[dict[str, Any], int]:
    """diagnosis.json, and the step that it saw where that is not the newest."""
    found = read.read_diagnosis(directory)
    seen = max((int(step) for step in found.get("checkpoints", {})), default=0)
    newest = checkpoint.latest(directory / "checkpoints")
    old = newest is not None and seen and seen != checkpoint.step_of(newest)
    return found, seen if old else 0


def _embed(assembly: Assembly) -> Embedded:
    source = assembly.source
    count = min(SAMPLE, len(source))
    index = np.linspace(0, len(source) - 1, count).astype(int).tolist()
    embed = embedder(assembly.method.encoder, assembly.device)
    features: list[NDArray[np.float32]] = []
    images: list[Pixels] = []
    names: list[str] = []
    for start in range(0, count, 128):
        part = index[start : start + 128]
        read = read_many(source, part)
        if not read:
            continue
        tensors = assembly.plain([image for _, image in read])
        features.append(embed(tensors).cpu().numpy())
        images += [_thumbnail(image) for _, image in read]
        names += [source.name(i) for i, _ in read]
    return Embedded(features=np.concatenate(features), images=images, names=names)


def _thumbnail(image: Pixels, side: int = 96) -> Pixels:
    """Small enough to keep a thousand of them."""
    step = max(1, max(image.shape[:2]) // side)
    return np.ascontiguousarray(image[::step, ::step])


def _figures(
    assembly: Assembly, directory: Path, records: Sequence[Mapping[str, Any]], state: Verdict
) -> dict[str, str]:
    train = [r for r in records if r.get("kind") == "train"]
    figures = {
        "directions used (effective rank)": f"{state.directions:.0f} of {state.width}",
        "RankMe": f"{state.numbers['rankme']:.0f}",
    }
    for path in sorted((directory / "evaluation").glob("*.json")):
        result = read.read_evaluation(path)
        if result:
            figures[f"{result['protocol']}, {result['metric']}"] = f"{result['value']:.3f}"
    if train:
        if train[-1].get("loss") is not None:  # null where it was not finite
            figures["loss, at last"] = f"{train[-1]['loss']:.4f}"
        figures["steps"] = f"{train[-1]['step']:,}"
        if train[-1].get("images_per_second"):
            figures["images/s"] = f"{train[-1]['images_per_second']:,.0f}"
    return figures


def _facts(assembly: Assembly) -> dict[str, str]:
    run, encoder = assembly.run, assembly.run.encoder
    optim, crops, local = run.optim, run.views.global_, run.views.local
    parameters = sum(p.numel() for p in assembly.method.encoder.parameters()) / 1e6
    peak = optim.lr * (run.data.batch_size / optim.lr_per if optim.lr_per else 1)
    views = [f"{family.count} of {family.size} px" for family in (crops, local) if family.count]
    return {
        "method": type(assembly.method).__name__,
        "encoder": f"{encoder.name}, {parameters:.2f} M parameters",
        "features": str(assembly.method.encoder.dim),
        "images": f"{run.data.source}: {len(assembly.source):,}, {run.data.channels} channel(s)",
        "views": " + ".join(views),
        "batch": f"{run.data.batch_size}, {assembly.steps_per_epoch:,} steps an epoch",
        "optimiser": f"{optim.name}, peak lr {peak:.2g}, weight decay {optim.weight_decay:g}",
        "device": str(assembly.device),
        "seed": str(run.seed),
    }


def _raw(assembly: Assembly) -> tuple[list[Pixels], Raw]:
    """A few images and their training views of the first epoch."""
    read = read_many(assembly.source, range(min(SHOWN, len(assembly.source))))
    images = [image for _, image in read]
    index = np.array([i for i, _ in read], dtype=np.int64)
    views, cues = assembly.engine(images, index, 0)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in views.items()}
    hints = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in cues.items()}
    return images, Raw(tensors, hints, torch.from_numpy(index))


def _views(assembly: Assembly) -> list[Strip]:
    images, raw = _raw(assembly)
    strips: list[Strip] = []
    for row, image in enumerate(images):
        pictures, captions = [image], ["image"]
        for name, views in raw.views.items():
            pictures += [view.numpy() for view in views[row]]
            captions += [f"{name} {i + 1}" for i in range(views.shape[1])]
        strips.append(Strip(pictures=pictures, captions=captions))
    return strips


def _insight(assembly: Assembly) -> dict[str, Sequence[Strip]]:
    """What only some encoders and methods can show."""
    found: dict[str, Sequence[Strip]] = {}
    method = assembly.method
    was_training = method.training
    method.eval()
    with torch.inference_mode():
        if isinstance(method, Reconstructs):
            found["Reconstructions"] = _reconstructions(assembly, method)
        if isinstance(method.encoder, ViT):
            found["What patches have in common, and where each head of the class token looks"] = (
                _patches(assembly, method.encoder)
            )
    method.train(was_training)
    return found


def _reconstructions(assembly: Assembly, method: Reconstructs) -> list[Strip]:
    _, raw = _raw(assembly)
    batch = assembly.to_batch(raw)
    made = method.reconstruct(batch)
    data, patch = assembly.run.data, assembly.run.views.mask.patch
    std = torch.tensor(data.std, device=made.device).view(-1, 1, 1)
    mean = torch.tensor(data.mean, device=made.device).view(-1, 1, 1)
    pixels = ((made * std + mean) * 255).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    strips: list[Strip] = []
    for row, view in enumerate(raw.views["global"][:, 0].numpy()):
        hidden = raw.cues["mask"][row, 0].numpy().reshape(view.shape[0] // patch, -1)
        cover = hidden.repeat(patch, 0).repeat(patch, 1)
        masked = np.where(cover[..., None], np.uint8(128), view)
        captions = ["view", "what it sees", "what it makes"]
        strips.append(Strip(pictures=[view, masked, pixels[row]], captions=captions))
    return strips


def _patches(assembly: Assembly, encoder: ViT) -> list[Strip]:
    read = read_many(assembly.source, range(min(SHOWN, len(assembly.source))))
    seen = assembly.plain.uint8([image for _, image in read])
    images = assembly.plain([image for _, image in read]).to(assembly.device)
    tokens = encoder(images).tokens.float().cpu().numpy()
    side = int(tokens.shape[1] ** 0.5)
    colours = principal_colours(tokens.reshape(len(tokens), side, side, -1))
    try:
        looks = attention(cast("Encoder", encoder), images).float().cpu().numpy()
    except Unsupported:  # no class token
        looks = np.zeros((len(seen), 0, tokens.shape[1]))
    return [
        Strip(
            pictures=[image, _enlarge(colour, image), *attention_heads(image, heads)],
            captions=["image", "patches", *(f"head {i + 1}" for i in range(len(heads)))],
        )
        for image, colour, heads in zip(seen, colours, looks, strict=True)
    ]


def _enlarge(colours: Pixels, image: Pixels) -> Pixels:
    scale = image.shape[0] // colours.shape[0]
    return colours.repeat(scale, 0).repeat(scale, 1)
