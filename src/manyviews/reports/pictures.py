"""Images as data URIs, so that the page is one file."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from manyviews.core.sample import Bytes


def data_uri(image: Bytes, *, side: int = 0) -> str:
    """An image [H, W, C] uint8 as a data URI.

    Args:
        image: 1 or 3 channels are shown as they are, others by their first.
        side: shrink the longer side to this many pixels; 0 leaves it.
    """
    kind, data = encoded(image, side=side)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def encoded(image: Bytes, *, side: int = 0) -> tuple[str, bytes]:
    """An image as the bytes of a file: ("png", ...) up to 64 pixels, else ("jpeg", ...).

    Args:
        image: as for `data_uri`.
        side: likewise.
    """
    picture = to_pil(image)
    if side and max(picture.size) > side:
        picture.thumbnail((side, side))
    out = io.BytesIO()
    if max(picture.size) <= 64:
        picture.save(out, "PNG")
        kind = "png"
    else:
        picture.convert("RGB").save(out, "JPEG", quality=85)
        kind = "jpeg"
    return kind, out.getvalue()


def to_pil(image: Bytes) -> Image.Image:
    """[H, W, C] uint8 as a PIL image."""
    return Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])


def sheet(images: Sequence[Bytes], *, side: int, columns: int) -> str:
    """All images, each fitted into a square of `side` pixels, as one picture's data URI.

    One sprite sheet is far smaller than as many files, and lets a map show thousands of points.
    """
    rows = -(-len(images) // columns)
    page = Image.new("RGB", (columns * side, rows * side), "white")
    for i, image in enumerate(images):
        tile = ImageOps.contain(to_pil(image).convert("RGB"), (side, side))
        left = (i % columns) * side + (side - tile.width) // 2
        top = (i // columns) * side + (side - tile.height) // 2
        page.paste(tile, (left, top))
    out = io.BytesIO()
    page.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def heat(image: Bytes, weights: NDArray[Any]) -> Bytes:
    """Lay a map of weights [h, w] over an image [H, W, C]: bright where the weight is high."""
    size = (image.shape[1], image.shape[0])
    scaled = (weights - weights.min()) / max(float(np.ptp(weights)), 1e-12)
    mask = Image.fromarray((scaled * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    strength = np.asarray(mask, np.float32)[..., None] / 255
    base = np.asarray(to_pil(image).convert("RGB"), np.float32)
    hot = np.stack(
        [255 * np.ones_like(strength[..., 0]), 200 * strength[..., 0], 0 * strength[..., 0]], -1
    )
    return (
        (base * (0.35 + 0.25 * (1 - strength)) + hot * strength * 0.6).clip(0, 255).astype(np.uint8)
    )


def boxed(image: Bytes, mask: NDArray[np.bool_], box: tuple[float, float, float, float]) -> Bytes:
    """An image [H, W, C] darkened outside a mask [h, w], with a box drawn around what is in it.

    Args:
        image: of 1 or 3 channels.
        mask: on any grid that is laid over the image.
        box: left, top, right and bottom, as shares of the image's sides.
    """
    picture = to_pil(image).convert("RGB")
    width, height = picture.size
    size = max(1, -(-192 // max(width, height)))  # a line of a thumbnail would hide it
    picture = picture.resize((width * size, height * size), Image.Resampling.NEAREST)
    cover = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
    dark = Image.blend(picture, Image.new("RGB", picture.size), 0.55)
    shown = Image.composite(picture, dark, cover.convert("L"))
    sides = (picture.width, picture.height) * 2
    ends = [round(share * side) for share, side in zip(box, sides, strict=True)]
    left, top, right, bottom = ends
    wide = max(2, max(picture.size) // 96)
    ImageDraw.Draw(shown).rectangle((left, top, right - 1, bottom - 1), outline="red", width=wide)
    return np.asarray(shown)


def principal_colours(tokens: NDArray[np.float32]) -> Bytes:
    """Patch features [n, h, w, D] as colours [n, h, w, 3] uint8: their first three components.

    One basis serves all images, so the same colour means the same thing on each.
    """
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, basis = np.linalg.eigh(centred.T @ centred)
    axes = basis[:, -3:]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    values = centred @ axes
    low, high = np.percentile(values, [2, 98], axis=0)
    colours = ((values - low) / np.maximum(high - low, 1e-12)).clip(0, 1) * 255
    return colours.astype(np.uint8).reshape(*tokens.shape[:-1], 3)
