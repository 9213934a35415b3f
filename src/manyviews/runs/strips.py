"""Rows of pictures of a run's report: views, reconstructions, patches and where heads look."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Encoder, Unsupported
from manyviews.core.sample import Bytes
from manyviews.core.settings import parts
from manyviews.data import direct, packet
from manyviews.encoders.vit import ViT, attention
from manyviews.reports.content import Strip, attempt
from manyviews.reports.figures import attention_heads
from manyviews.reports.pictures import principal_colours
from manyviews.runs.assemble import Assembly

SHOWN = 6
"""Samples whose views, attention and reconstructions are shown."""
PATCHES = "What patches have in common, and where each head of the class token looks"


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


def _training_views(assembly: Assembly) -> Batch:
    """Training views of a few samples, of the first epoch."""
    index = range(min(SHOWN, len(assembly.source)))
    where, views, cues = direct.seen(
        assembly.source, assembly.pipeline, index, pairs=assembly.pairs
    )
    tensors = {name: torch.from_numpy(v) for name, v in views.items()}
    hints = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in cues.items()}
    return assembly.to_batch(packet.Raw(tensors, hints, torch.tensor(where)))


def views(assembly: Assembly) -> list[Strip]:
    """A row a sample: what is fed of it as it is, then its views of the first epoch."""
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
        name = assembly.source.name(where[row])
        strips.append(Strip(pictures=pictures, captions=captions, name=name))
    return strips


def insight(assembly: Assembly) -> dict[str, Sequence[Strip]]:
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
        name = assembly.source.name(int(batch.index[row]))
        strips.append(Strip(pictures=list(shown.values()), captions=list(shown), name=name))
    return strips


def _patches(assembly: Assembly, name: str, encoder: ViT) -> list[Strip]:
    where, fixed = assembly.look(range(min(SHOWN, len(assembly.source))))
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
            name=assembly.source.name(row),
        )
        for row, image, colour, heads in zip(where, seen, colours, looks, strict=True)
    ]


def _enlarge(cells: NDArray[Any], image: Bytes) -> NDArray[Any]:
    """[h, w, ...], a value a token -> [H, W, ...] as the image."""
    down, right = (image.shape[axis] // cells.shape[axis] for axis in (0, 1))
    return cells.repeat(down, 0).repeat(right, 1)
