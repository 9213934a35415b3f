"""Views made in batch on an accelerator, from the draws of the CPU engine.

The workers decode (`stage.Stage`); everything else happens here, on float planes [n, C, S, S] in
[0, 255]. Which rows want hue, grey or blur is known on the processor, so nothing waits for the
device. Resizing is the CPU engine's with coarser weights, exact in float32, and so a level apart
where a value lies between two; colours are torchvision's on float images, not rounded between
operations; the hue is exact in HSV. Within 1 level of `reference.apply` for an operation.

A view depends on (seed, epoch, index, view) and not on its batch, but for the last bit of float
arithmetic, which can move a level by one between devices, or batch sizes: a run that is resumed
with the same settings on the same device and versions repeats its views exactly.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from manyviews.views.colour import LUMA, WRAP_FREE_HUE
from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION
from manyviews.views.plan import Crops, Views
from manyviews.views.stage import DRAWS, FIELDS, IMAGES

_CHUNK = 1 << 27
"""Bytes of float sources that are resampled at once."""

_FINE, _FAR = float(1 << 17), float(1 << 25)
"""As in `resample`: positions are whole numbers of 2^-17."""


class DeviceViews:
    """Makes the views that an `Engine` of the same plan would, on any device.

    Attributes:
        views: the plan.
    """

    def __init__(self, views: Views) -> None:
        """Keep the plan; `stage.Stage` has checked it."""
        self.views = views

    @torch.no_grad()
    def __call__(
        self, images: Mapping[str, Tensor], cues: Mapping[str, Tensor], device: torch.device
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Make a batch from what `Stage` gave.

        Args:
            images: {"images": [M, H, W, C] uint8}, on the processor (pinned or not) or the device.
            cues: "draws.*" [B, V, F] float64 on the processor, and others.
            device: where the views are made.

        Returns:
            name -> [B, V, S, S, C] uint8 on the device; and the other cues, where they were.
        """
        sources = images[IMAGES].to(device, non_blocking=True)
        made: dict[str, Tensor] = {}
        with torch.autocast(device.type, enabled=False):
            for name, crops in (("global", self.views.global_), ("local", self.views.local)):
                if crops.count:
                    made[name] = _family(sources, cues[DRAWS + name], crops)
        return made, {name: cue for name, cue in cues.items() if not name.startswith(DRAWS)}


def _family(sources: Tensor, draws: Tensor, crops: Crops) -> Tensor:
    """[B, V, S, S, C] uint8 of sources [M, H, W, C] uint8 and draws [B, V, F]."""
    rows = draws.flatten(0, 1)
    values = sources[0].numel() + 2 * crops.size * max(sources.shape[1:3])
    step = max(1, _CHUNK // (4 * values))
    out = torch.cat([_views(sources, part, crops) for part in rows.split(step)])
    return out.unflatten(0, draws.shape[:2])


class _Drawn:
    """Draws of n views: on the processor to decide by, on the device to compute with."""

    def __init__(self, draws: Tensor, device: torch.device) -> None:
        # Copied once, as one tensor.
        self._here, self._there = draws, draws.to(device, non_blocking=True)

    def decides(self, name: str) -> Tensor:
        """[n] float64 on the processor."""
        return self._here[:, FIELDS.index(name)]

    def __getitem__(self, name: str) -> Tensor:
        """[n] float64 on the device."""
        return self._there[:, FIELDS.index(name)]

    def rows(self, wanted: Tensor) -> Tensor:
        """[k] int64 on the device, of a condition [n] bool on the processor."""
        return wanted.nonzero().flatten().to(self._there.device, non_blocking=True)


def _views(sources: Tensor, draws: Tensor, crops: Crops) -> Tensor:
    drawn = _Drawn(draws, sources.device)
    x = _resized(sources, drawn, crops)
    rgb = x.shape[1] == 3
    if draws[:, FIELDS.index("jitter")].any():
        for place in range(ORDERS.shape[1]):
            x = _adjusted(x, drawn, crops, place=place)
    rows = drawn.rows(drawn.decides("grey") > 0)
    if rgb and len(rows):
        x[rows] = grey(x[rows]).expand(-1, 3, -1, -1)
    rows = drawn.rows(drawn.decides("blur") > 0)
    if len(rows):
        x[rows] = blurred(x[rows], drawn["sigma"][rows], largest=crops.sigma[1])
    levels = (x + 0.5).floor_()
    inverted = torch.minimum(levels, 255 - levels)
    levels = torch.where(_column(drawn["solarize"]) > 0, inverted, levels)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _resized(sources: Tensor, drawn: _Drawn, crops: Crops) -> Tensor:
    """[n, C, S, S] float32, whole levels: cropped, resized, flipped; rounded between directions."""
    height, width = sources.shape[1:3]
    across = resize_weights(drawn["left"], drawn["width"], extent=width, crops=crops)
    down = resize_weights(drawn["top"], drawn["height"], extent=height, crops=crops)
    across = torch.where(_column(drawn["flip"])[..., 0] > 0, across.flip(1), across)
    planes = sources[drawn["source"].long()].permute(0, 3, 1, 2).float()
    rows = planes.flatten(1, 2) @ across.transpose(1, 2)
    rows = _whole(rows).unflatten(1, planes.shape[1:3])
    return _whole(down[:, None] @ rows)


def _whole(x: Tensor) -> Tensor:
    return (x + 0.5).floor_().clamp_(0, 255)


def resize_weights(start: Tensor, length: Tensor, *, extent: int, crops: Crops) -> Tensor:
    """[n, S, extent] float32: the weights of `resample.taps` in whole numbers of 2^-16 or 2^-15.

    Args:
        start: [n] float64, first pixel of the crop.
        length: [n] float64, pixels in the crop.
        extent: pixels in the input.
        crops: side S and interpolation.
    """
    device = start.device
    scale = length / crops.size
    narrow = (1 / scale.clamp(min=1))[:, None] * _FINE
    inputs = torch.arange(extent, dtype=torch.float64, device=device)
    outputs = torch.arange(crops.size, dtype=torch.float64, device=device) + 0.5
    outside = (inputs < start[:, None]) | (inputs >= (start + length)[:, None])
    at = ((inputs + 0.5) * narrow).round().masked_fill(outside, _FAR).float()
    centers = ((start[:, None] + scale[:, None] * outputs) * narrow).round().float()
    distance = (at[:, None, :] - centers[:, :, None]).abs()
    if crops.interpolation == "bilinear":
        weights, unit = (_FINE - distance).clamp_(min=0), 2.0**16
    else:
        weights, unit = (_cubic(distance / _FINE) * _FINE).round_(), 2.0**15
    weights *= unit / weights.sum(dim=-1, keepdim=True)
    return weights.round_().mul_(1 / unit)


def _cubic(t: Tensor) -> Tensor:
    """Keys' cubic, a = -0.5, of distances t >= 0."""
    near = (1.5 * t - 2.5) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * -0.5
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


_FACTORS = {BRIGHTNESS: "brightness", CONTRAST: "contrast", SATURATION: "saturation"}


def _adjusted(x: Tensor, drawn: _Drawn, crops: Crops, *, place: int) -> Tensor:
    """The part of colour jitter that is at this place of each view's order.

    Brightness, contrast and saturation are one formula, factor * x + (1 - factor) * other, with
    black, the mean of grey and grey for `other`; so they run together whatever the orders are.
    """
    orders = torch.from_numpy(ORDERS)[drawn.decides("order").long()][:, place]
    parts = torch.where(drawn.decides("jitter") > 0, orders, -1)
    rgb = x.shape[1] == 3
    factor = torch.ones(len(x), dtype=torch.float64)
    for part, name in _FACTORS.items():
        if getattr(crops, name) and (rgb or part != SATURATION):
            factor = torch.where(parts == part, drawn.decides(name), factor)
    kind = _column(parts.to(x.device, non_blocking=True))
    factor = _column(factor.to(x.device, torch.float32, non_blocking=True))
    shade = grey(x)
    mean = shade.round().mean(dim=(2, 3), keepdim=True)
    other = torch.where(kind == CONTRAST, mean, torch.where(kind == SATURATION, shade, 0.0))
    x = (factor * x + (1 - factor) * other).clamp_(0, 255)
    rows = drawn.rows(parts == HUE)
    if rgb and crops.hue and len(rows):
        turns = _column(drawn["hue"][rows].float())
        x[rows] = turned(x[rows], turns, wrap=crops.hue > WRAP_FREE_HUE)
    return x


def grey(x: Tensor) -> Tensor:
    """[n, 1, S, S]: the luma of red, green and blue, the plain mean of other planes."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def turned(x: Tensor, turns: Tensor, *, wrap: bool) -> Tensor:
    """Turn the hue of HSV of [n, 3, S, S], keeping S and V; `colour.turn` without its rounding.

    Args:
        x: red, green and blue.
        turns: [n, 1, 1, 1], within [-0.5, 0.5].
        wrap: needed when some |turns| exceed `colour.WRAP_FREE_HUE`.
    """
    red, green, blue = x.split(1, dim=1)
    low, high = x.aminmax(dim=1, keepdim=True)
    chroma = high - low
    angle = chroma + green + blue - red - low
    angle = torch.where(green < blue, -angle, angle) + 6 * turns * chroma
    shifts = torch.tensor([0.0, -2.0, 2.0], device=x.device).view(1, 3, 1, 1)
    away = (angle + shifts * chroma).abs()
    height = (away - 3 * chroma).abs()
    if wrap:
        height = torch.minimum(height, 9 * chroma - away)
    return low - chroma + torch.minimum(torch.maximum(height, chroma), 2 * chroma)


def blurred(x: Tensor, sigma: Tensor, *, largest: float) -> Tensor:
    """Gaussian blur of [n, C, S, S], cut at three deviations, mirrored at the borders.

    Both directions are products with [S, S] matrices: exact, and quick on an accelerator.

    Args:
        x: planes.
        sigma: [n] float64, standard deviations in pixels.
        largest: of all sigma.
    """
    size, device = x.shape[-1], x.device
    reach = min(-int(-3 * largest // 1), size - 1)
    offsets = torch.arange(-reach, reach + 1, device=device)
    taps = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    taps = taps.masked_fill(offsets.abs() > (3 * sigma).ceil()[:, None], 0.0)
    taps = (taps / taps.sum(dim=1, keepdim=True)).float()
    mirrored = (torch.arange(size, device=device) + offsets[:, None]).abs()
    mirrored = torch.minimum(mirrored, 2 * (size - 1) - mirrored)
    spread = torch.nn.functional.one_hot(mirrored, size).float()
    weights = torch.einsum("nk,koi->noi", taps, spread)[:, None]
    return (weights @ (x @ weights.transpose(2, 3))).clamp_(0, 255)


def _column(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)
