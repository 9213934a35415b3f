"""Gathers what a run's report shows, from the run directory and its data."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Encoder, Unsupported
from manyviews.core.files import atomic
from manyviews.core.sample import Bytes
from manyviews.core.settings import parts
from manyviews.data import loader
from manyviews.diagnosis import spectrum
from manyviews.diagnosis.verdict import Verdict, verdict
from manyviews.encoders.vit import ViT, attention
from manyviews.reports.content import Content, Embedded, Strip, attempt
from manyviews.reports.figures import attention_heads
from manyviews.reports.maps import MapKind
from manyviews.reports.page import render
from manyviews.reports.pictures import principal_colours
from manyviews.runs.against import read_against, sentences
from manyviews.runs.assemble import Assembly, embed_with
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.training import checkpoint

SAMPLE = 1000
"""Images that are embedded for the spectrum, the map and the gallery."""
SHOWN = 6
"""Images whose views, attention and reconstructions are shown."""
PATCHES = "What patches have in common, and where each head of the class token looks"
PACKAGES = ("manyviews", "torch", "torchvision", "timm", "numpy")


@runtime_checkable
class Reconstructs(Protocol):
    """A method that can show what it predicts of the family that has masks."""

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """As of `core.Method`."""
        ...

    def reconstruct(self, batch: Batch) -> Tensor:
        """[B, *shape], that family's first views, normalised as the input."""
        ...


def write(assembly: Assembly, directory: Path, *, how: MapKind = "pca") -> Path:
    """Write `report.html` of a run whose method is at its last checkpoint.

    Args:
        assembly: the run.
        directory: where it lies.
        how: features become points of the map.
    """
    page = Paths(directory).report
    text = render(gather(assembly, directory, how=how))
    with atomic(page) as draft:
        draft.write_text(text, encoding="utf-8")
    return page


def gather(assembly: Assembly, directory: Path, *, how: MapKind = "pca") -> Content:
    """Everything that the page shows."""
    names = list(assembly.method.encoders)
    diagnosis, diagnosed = _diagnosis(directory, names[0] if len(names) > 1 else "")
    records = read.read_metrics(directory)
    embedded = attempt("what needs features", lambda: _embed(assembly), None)
    features = torch.from_numpy(embedded.features) if embedded else None
    state = None if features is None else attempt("a verdict", lambda: verdict(features), None)
    values = None
    if features is not None:
        values = attempt("its spectrum", lambda: spectrum.singular_values(features), None)
    alarms = sorted({str(r.get("message")) for r in records if r.get("kind") == "alarm"})
    lights = {
        state.light if state else "warn",
        *(one["light"] for one in read_against(directory).values()),
    }
    light = "bad" if "bad" in lights else "warn" if alarms or "warn" in lights else "ok"
    return Content(
        title=f"{assembly.run.recipe} on {assembly.run.data.source}",
        light=light,
        verdict=state.sentence if state else "The features could not be looked at; see log.txt.",
        against=sentences(directory),
        figures=_figures(directory, records, state),
        facts=_facts(assembly),
        records=records,
        embedded=embedded,
        spectrum=[] if values is None else values.tolist(),
        views=attempt("views", lambda: _views(assembly), []),
        insight=_insight(assembly),
        diagnosis=diagnosis,
        diagnosed=diagnosed,
        map=how,
        alarms=alarms,
        quarantine=read.read_quarantine(directory),
        command=read.read_began(directory)["command"],
        config=read.config_text(directory),
        versions={p: importlib.metadata.version(p) for p in PACKAGES}
        | {"Python": platform.python_version()},
    )


def _diagnosis(directory: Path, encoder: str) -> tuple[dict[str, Any], int]:
    """What was found of the first encoder, and the step seen where that is not the newest."""
    found = read.read_diagnosis(directory, encoder)
    seen = max((int(step) for step in found.get("checkpoints", {})), default=0)
    newest = checkpoint.latest(Paths(directory).checkpoints)
    old = newest is not None and seen and seen != checkpoint.step_of(newest)
    return found, seen if old else 0


def _embed(assembly: Assembly) -> Embedded:
    """Features of the first encoder, and a picture of each sample."""
    source = assembly.source
    count = min(SAMPLE, len(source))
    index = np.linspace(0, len(source) - 1, count).astype(int).tolist()
    first = next(iter(assembly.method.encoders))
    embed = embed_with(assembly.method.encoders[first], assembly.device)
    features: list[NDArray[np.float32]] = []
    images: list[Bytes] = []
    names: list[str] = []
    for start in range(0, count, 128):
        where, seen = assembly.look(index[start : start + 128])
        if not where:
            continue
        views = seen[first][:, 0]
        features.append(embed(views).cpu().numpy())
        images += [_thumbnail(assembly.fixed.inputs()[first].picture(view)) for view in views]
        names += [source.name(i) for i in where]
    return Embedded(features=np.concatenate(features), images=images, names=names)


def _thumbnail(image: Bytes, side: int = 96) -> Bytes:
    """Small enough to keep a thousand of them."""
    step = max(1, max(image.shape[:2]) // side)
    return np.ascontiguousarray(image[::step, ::step])


def _figures(
    directory: Path, records: Sequence[Mapping[str, Any]], state: Verdict | None
) -> dict[str, str]:
    train = [r for r in records if r.get("kind") == "train"]
    figures: dict[str, str] = {}
    if state is not None:
        figures["directions used (effective rank)"] = f"{state.directions:.0f} of {state.width}"
        figures["RankMe"] = f"{state.numbers['rankme']:.0f}"
    for path in Paths(directory).evaluations():
        result = read.read_evaluation(path)
        if result:
            of = f"{result['which']}: " if result.get("which") else ""
            figures[f"{of}{result['protocol']}, {result['metric']}"] = f"{result['value']:.3f}"
    if train:
        if train[-1].get("loss") is not None:  # null where it was not finite
            figures["loss, at last"] = f"{train[-1]['loss']:.4f}"
        figures["steps"] = f"{train[-1]['step']:,}"
        if train[-1].get("images_per_second"):
            figures["images/s"] = f"{train[-1]['images_per_second']:,.0f}"
    return figures


def _facts(assembly: Assembly) -> dict[str, str]:
    run, kept = assembly.run, assembly.method.encoders
    optim, sizes = run.optim, parts(run.encoders)
    peak = optim.lr * (run.data.batch_size / optim.lr_per if optim.lr_per else 1)
    encoders = [
        f"{config.name}, {sum(p.numel() for p in kept[name].parameters()) / 1e6:.2f} M parameters"
        for name, config in sizes.items()
    ]
    views = [
        f"{layout.count} {name} of {' x '.join(map(str, layout.shape))}"
        for name, layout in assembly.pipeline.makes.items()
    ]
    return {
        "method": type(assembly.method).__name__,
        "encoder": " + ".join(encoders),
        "features": " + ".join(str(encoder.dim) for encoder in kept.values()),
        "samples": f"{run.data.source}: {len(assembly.source):,}",
        "views": " + ".join(views),
        "batch": f"{run.data.batch_size}, {assembly.steps_per_epoch:,} steps an epoch",
        "optimiser": f"{optim.name}, peak lr {peak:.2g}, weight decay {optim.weight_decay:g}",
        "device": str(assembly.device),
        "seed": str(run.seed),
    }


def _training_views(assembly: Assembly) -> Batch:
    """Training views of a few samples, of the first epoch."""
    index = range(min(SHOWN, len(assembly.source)))
    where, views, cues = loader.seen(assembly.source, assembly.pipeline, index)
    tensors = {name: torch.from_numpy(v) for name, v in views.items()}
    hints = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in cues.items()}
    return assembly.to_batch(loader.Raw(tensors, hints, torch.tensor(where)))


def _views(assembly: Assembly) -> list[Strip]:
    batch, inputs = _training_views(assembly), assembly.pipeline.inputs()
    where = batch.index.tolist()
    _, fixed = assembly.look(where)
    strips: list[Strip] = []
    for row in range(len(where)):
        pictures, captions = list[Bytes](), list[str]()
        for name, views in fixed.items():
            pictures.append(assembly.fixed.inputs()[name].picture(views[row, 0]))
            captions.append(name)
        for name, views in batch.views.items():
            pictures += [inputs[name].picture(view) for view in views[row]]
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
            found["Reconstructions"] = attempt(
                "reconstructions", lambda: _reconstructions(assembly, method), []
            )
        for name, encoder in method.encoders.items():
            if isinstance(encoder, ViT):
                heading = PATCHES if len(method.encoders) == 1 else f"{PATCHES}: {name}"
                make = partial(_patches, assembly, name, encoder)
                found[heading] = attempt(f"patches of '{name}'", make, [])
    method.train(was_training)
    return {heading: strips for heading, strips in found.items() if strips}


def _reconstructions(assembly: Assembly, method: Reconstructs) -> list[Strip]:
    batch = _training_views(assembly)
    made = method.reconstruct(batch)
    family = next(family for family in batch.views if f"{family}.mask" in batch.cues)
    fed = assembly.pipeline.inputs()[family]
    grid = method.encoders[parts(assembly.run.views)[family].to].grid
    strips: list[Strip] = []
    for row, seen in enumerate(batch.views[family][:, 0]):
        shown = {"view": fed.picture(seen)}
        if len(fed.shape) == 3 and len(grid) == 2:  # of others a picture is no map of the tokens
            hidden = batch.cues[f"{family}.mask"][row, 0].cpu().numpy().reshape(grid)
            cover = _enlarge(hidden[..., None], shown["view"])
            shown["what it sees"] = np.where(cover, np.uint8(128), shown["view"])
        shown["what it makes"] = fed.picture(made[row])
        strips.append(Strip(pictures=list(shown.values()), captions=list(shown)))
    return strips


def _patches(assembly: Assembly, name: str, encoder: ViT) -> list[Strip]:
    _, fixed = assembly.look(range(min(SHOWN, len(assembly.source))))
    images = fixed[name][:, 0]
    seen = [encoder.input.picture(image) for image in images]
    tokens = encoder(images).tokens.float().cpu().numpy()
    colours = principal_colours(tokens.reshape(len(tokens), *encoder.grid, -1))
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


def _enlarge(cells: NDArray[Any], image: Bytes) -> NDArray[Any]:
    """[h, w, ...], a value a token -> [H, W, ...] as the image."""
    down, right = (image.shape[axis] // cells.shape[axis] for axis in (0, 1))
    return cells.repeat(down, 0).repeat(right, 1)
