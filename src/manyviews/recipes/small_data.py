"""What the recipes for one's own data share: sizes from the images, time from the hardware."""

import math
import re
from dataclasses import replace
from typing import Any, Literal

from manyviews.core.errors import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import parts, struct
from manyviews.data.settings import Data
from manyviews.encoders import ImageConfig, ResNetSmallConfig, ViTConfig, choose
from manyviews.encoders.choice import Time
from manyviews.encoders.lab import LabConfig
from manyviews.runs.settings import Facts, MethodConfig, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.masked import masked as masked_crops
from manyviews.views.image.tiles import Tiles
from manyviews.views.plan import Crops, Mask

LARGEST_BATCH = 256


def run(
    facts: Facts,
    *,
    name: str,
    method: MethodConfig,
    local: int = 0,
    tokens: bool = False,
    light: bool = False,
    optim: Optim | None = None,
) -> Run[MethodConfig, Any, Any]:
    """A joint-embedding run sized to the data and the machine.

    Args:
        facts: what is known of both.
        name: of the recipe and the method.
        method: its config.
        local: local crops a sample, at half the resolution.
        tokens: the method wants a ViT.
        light: without a GPU, a ViT and batches so small that the time suffices for many steps.
        optim: the optimiser; None takes AdamW as below.
    """
    light = light and facts.device == "cpu"
    lighter = light and facts.encoder is None
    encoder = encoder_of(replace(facts, say=str) if lighter else facts, tokens=tokens)
    if lighter and isinstance(encoder, ViTConfig):
        encoder = replace(encoder, patch=encoder.input.side // 4, width=96, depth=4)
        facts.say(
            f"encoder: a ViT of width 96, depth 4 and patch {encoder.patch} at {encoder.input}: no "
            "GPU, and each step of this method costs much."
        )
    size = encoder.input.side
    views = {"global": crops(facts, size=size)}
    if local:
        views["local"] = crops(facts, size=size, side=_half(encoder), scale=(0.1, 0.4), count=local)
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", views),
        data=data(facts, largest=64 if light else LARGEST_BATCH),
        optim=optim or Optim(name="adamw", lr=4e-3, weight_decay=0.05, warmup=0.05),
        train=duration(facts),
    )


def of_banks() -> Optim:
    """The optimiser where a sample is compared with what the network made of it one pass ago.

    At four times this rate own rows are found less often than by chance (docs/methods/npid.md).
    """
    return Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05)


def masked(
    facts: Facts,
    *,
    name: str,
    method: MethodConfig,
    mask: Mask,
    scale: tuple[float, float] = (0.5, 1.0),
    optim: Optim | None = None,
) -> Run[MethodConfig, Any, Any]:
    """A run that predicts hidden patches, sized to the data and the machine.

    Args:
        facts: what is known of both.
        name: of the recipe and the method.
        method: its config.
        mask: what is hidden.
        scale: area of a crop as a share of the image.
        optim: the optimiser; None takes AdamW as below.
    """
    encoder = encoder_of(facts, tokens=True, masked=True)
    views = Crops(count=1, scale=scale, jitter=0.0, grey=0.0, blur=(0.0,), mask=mask)
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": views}),
        data=data(facts),
        optim=optim
        or Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05),
        train=duration(facts),
    )


def half_masked(run: Run[MethodConfig, Any, Any]) -> Run[MethodConfig, Any, Any]:
    """A run of which half the global views have masks in blocks, of a tenth to half the tokens."""
    views = parts(run.views)
    return replace(run, views=struct("Views", views | {"global": masked_crops(views["global"])}))


def encoder_of(facts: Facts, *, tokens: bool = False, masked: bool = False) -> ImageConfig:
    """The encoder that training begins from, or one that suits images and machine."""
    if facts.encoder is not None:
        return facts.encoder
    minutes = duration(facts).minutes  # 0 on a GPU, which is not short of time
    if minutes and 0 < facts.minutes < math.inf:
        minutes = facts.minutes
    time = Time(facts.count, 60 * minutes, facts.speed) if minutes and facts.speed else None
    chosen = choose(
        fed(facts),
        side=facts.side,
        device=facts.device,
        tokens=tokens,
        masked=masked,
        time=time,
    )
    facts.say(f"encoder: {chosen.why}")
    return chosen.config


def fed(facts: Facts) -> Pixels:
    """Pixels of the data set's own channels, mean and deviation."""
    std = tuple(deviation or 1.0 for deviation in facts.std)  # a channel can be empty
    return Pixels(channels=facts.channels, mean=facts.mean, std=std)


def want_colours(facts: Facts, name: str) -> None:
    """Refuse images without colours, for a recipe that is about them.

    Raises:
        UsageError: they have none.
    """
    if facts.channels != 3:
        raise UsageError(
            f"{name} learns from how an image's lightness and its colours go together, and these "
            f"images have {facts.channels} channels, not red, green and blue. Take another recipe."
        )


def lab(like: Any, part: Literal["L", "ab", "a", "b"]) -> LabConfig:
    """The network of another encoder's settings on a part of Lab."""
    sizes = {"width": like.width, "grid": like.grid} if isinstance(like, ResNetSmallConfig) else {}
    return LabConfig(
        input=like.input,
        network=like.name,
        sees=part,
        stem=like.stem,
        zero_init=like.zero_init,
        **sizes,
    )


def crops(
    facts: Facts,
    *,
    size: int,
    side: int = 0,
    scale: tuple[float, float] = (0.3, 1.0),
    count: int = 2,
) -> Crops:
    """Crops and colours for one's own data; other than RGB gets brightness and contrast only.

    Args:
        facts: what is known of it.
        size: of the encoder's input, in pixels.
        side: of the views, in pixels; 0 for the encoder's.
        scale: area of a crop as a share of the image.
        count: views of each image.
    """
    grey, rgb = facts.channels == 1, facts.channels == 3
    return Crops(
        count=count,
        size=side,
        scale=scale,
        jitter=1.0 if grey else 0.8,
        brightness=0.9 if grey else 0.4,
        contrast=0.9 if grey else 0.4,
        saturation=0.4 if rgb else 0.0,
        hue=0.1 if rgb else 0.0,
        grey=0.2 if rgb else 0.0,
        blur=(0.5,),
        sigma=(0.1, max(1.0, 2.0 * (side or size) / 224)),
    )


def tiles(crops: Crops, *, side: int) -> Tiles:
    """Nine tiles with the colours of crops, and between them the gaps of the papers.

    Args:
        crops: of the run.
        side: of the encoder's input, in pixels: what the nine together show.
    """
    cell = side // 3
    return Tiles(
        cell=cell,
        size=max(4, 4 * round(cell * 64 / 85 / 4)),
        jitter=crops.jitter,
        brightness=crops.brightness,
        contrast=crops.contrast,
        saturation=crops.saturation,
        hue=crops.hue,
        grey=crops.grey,
    )


def data(facts: Facts, *, largest: int = LARGEST_BATCH) -> Data:
    """A batch that the data can fill at least twice, and no larger than `largest`."""
    filled = 2 ** int(math.log2(max(2, facts.count // 2)))
    return Data(source=facts.source, batch_size=min(largest, filled))


def duration(facts: Facts) -> Train:
    """A wall-clock budget on a CPU, where epochs can take days; epochs on a GPU."""
    return Train(epochs=200) if facts.device != "cpu" else Train(minutes=20.0)


def _half(encoder: ImageConfig) -> int:
    """Half a view's side, to the multiple of 4 or of the encoder's patch below."""
    patch, side = 4, encoder.input.side
    if isinstance(encoder, ViTConfig):
        named = re.search(r"patch(\d+)", encoder.name)
        patch = encoder.patch or (int(named[1]) if named else 16)
    return max(8 if patch == 4 else patch, side // (2 * patch) * patch)
