"""The arithmetic of views made in batch, on float planes [n, C, S, S] in [0, 255].

Resizing is the CPU engine's with coarser weights, exact in float32, and so a level apart where a
value lies between two; colours are torchvision's on float images, not rounded between operations;
the hue is exact in HSV. Within 1 level of `reference.apply` for an operation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.views.colour import LUMA, WRAP_FREE_HUE
from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION
from manyviews.views.plan import Crops
from manyviews.views.stage import FIELDS

_PLACES = ORDERS.shape[1]

_FINE, _FAR = float(1 << 17), float(1 << 25)
"""As in `resample`: positions are whole numbers of 2^-17."""

_FACTORS = {BRIGHTNESS: "brightness", CONTRAST: "contrast", SATURATION: "saturation"}


def numbers(draws: Tensor) -> Tensor:
    """[n, F + 4] float64: draws [n, F], then the part of colour jitter at each place of its order.

    A part is `draw.BRIGHTNESS` ..., or -1 in a view without jitter.
    """
    order = torch.from_numpy(ORDERS)[draws[:, FIELDS.index("order")].long()]
    jitter = draws[:, FIELDS.index("jitter"), None] > 0
    return torch.cat([draws, torch.where(jitter, order, -1).double()], dim=1)


@dataclass(frozen=True)
class Drawn:
    """The `numbers` of n views.

    Attributes:
        there: [n, F + 4] float64, on the device to compute with.
        here: the same on the processor to decide by; or None, if nothing may depend on the values.
    """

    there: Tensor
    here: Tensor | None

    def __getitem__(self, name: str) -> Tensor:
        """[n] float64 on the device: one of `FIELDS`."""
        return self.there[:, FIELDS.index(name)]

    def only(
        self, x: Tensor, column: int, value: float, change: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """`change(x, there)` of those rows only whose number in `column` is `value`; may write x.

        Without `here`, all rows are changed and those that should not be are put back: a graph's
        shapes cannot depend on values.
        """
        if self.here is None:
            wanted = _column(self.there[:, column] == value)
            return torch.where(wanted, change(x, self.there), x)
        rows = (self.here[:, column] == value).nonzero().flatten()
        if len(rows):
            rows = rows.to(x.device, non_blocking=True)
            x[rows] = change(x[rows], self.there[rows])
        return x


def views(pictures: Tensor, drawn: Drawn, crops: Crops) -> Tensor:
    """Make one view of each picture.

    Args:
        pictures: [n, H, W, C] uint8, at the top left of their canvases.
        drawn: of n views.
        crops: the plan; what it never asks for is left out.

    Returns:
        [n, S, S, C] uint8.
    """
    x = _resized(pictures, drawn, crops)
    rgb = x.shape[1] == 3
    if crops.jitter:
        for place in range(_PLACES):
            x = _adjusted(x, drawn, crops, column=len(FIELDS) + place)
    if crops.grey and rgb:
        x = drawn.only(x, FIELDS.index("grey"), 1, lambda x, _: grey(x).expand(-1, 3, -1, -1))
    if any(crops.blur):
        sigma = FIELDS.index("sigma")
        x = drawn.only(x, FIELDS.index("blur"), 1, lambda x, rows: blurred(x, rows[:, sigma]))
    levels = (x + 0.5).floor_()
    if any(crops.solarize):
        inverted = torch.minimum(levels, 255 - levels)
        levels = torch.where(_column(drawn["solarize"]) > 0, inverted, levels)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _column(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)


def _resized(pictures: Tensor, drawn: Drawn, crops: Crops) -> Tensor:
    """[n, C, S, S] float32, whole levels: cropped, resized, flipped; rounded between directions."""
    height, width = pictures.shape[1:3]
    across = resize_weights(drawn["left"], drawn["width"], extent=width, crops=crops)
    down = resize_weights(drawn["top"], drawn["height"], extent=height, crops=crops)
    across = torch.where(drawn["flip"][:, None, None] > 0, across.flip(1), across)
    planes = pictures.permute(0, 3, 1, 2).float()
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


def _adjusted(x: Tensor, drawn: Drawn, crops: Crops, *, column: int) -> Tensor:
    """The part of colour jitter that `column` of the numbers names for each view.

    Brightness, contrast and saturation are one formula, factor * x + (1 - factor) * other, with
    black, the mean of grey and grey for `other`; so they run together whatever the orders are.
    """
    rgb = x.shape[1] == 3
    part = _column(drawn.there[:, column])
    factor = torch.ones_like(part, dtype=torch.float32)
    for kind, name in _FACTORS.items():
        if getattr(crops, name) and (rgb or kind != SATURATION):
            factor = torch.where(part == kind, _column(drawn[name].float()), factor)
    shade = grey(x)
    mean = shade.round().mean(dim=(2, 3), keepdim=True)
    other = torch.where(part == CONTRAST, mean, torch.where(part == SATURATION, shade, 0.0))
    x = (factor * x + (1 - factor) * other).clamp_(0, 255)
    if rgb and crops.hue:
        hue, wrap = FIELDS.index("hue"), crops.hue > WRAP_FREE_HUE
        x = drawn.only(
            x, column, HUE, lambda x, rows: turned(x, _column(rows[:, hue].float()), wrap=wrap)
        )
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
    away = torch.cat([angle, angle - 2 * chroma, angle + 2 * chroma], dim=1).abs()
    height = (away - 3 * chroma).abs()
    if wrap:
        height = torch.minimum(height, 9 * chroma - away)
    return low - chroma + torch.minimum(torch.maximum(height, chroma), 2 * chroma)


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of [n, C, S, S], cut at three deviations, mirrored at the borders.

    Both directions are products with [S, S] matrices: exact, and quick on an accelerator.

    Args:
        x: planes.
        sigma: [n] float64, standard deviations in pixels.
    """
    weights = blur_weights(sigma, size=x.shape[-1])[:, None]
    return (weights @ (x @ weights.transpose(2, 3))).clamp_(0, 255)


def blur_weights(sigma: Tensor, *, size: int) -> Tensor:
    """[n, S, S] float32: what each output (rows) takes of each input.

    A mirror at either border shows each input once more, but for the one at the border itself.
    """
    device, last = sigma.device, size - 1
    distance = torch.arange(2 * last + 1, device=device)
    reach = (3 * sigma).ceil().clamp(max=last)[:, None]
    taps = torch.exp(-0.5 * (distance / sigma.float()[:, None]) ** 2)
    taps = torch.where(distance <= reach, taps, 0.0)
    taps = taps / (2 * taps.sum(dim=1, keepdim=True) - taps[:, :1])
    inputs = torch.arange(size, device=device)
    outputs = inputs[:, None]
    near, far = inputs + outputs, 2 * last - inputs - outputs
    weights = taps[:, (inputs - outputs).abs()]
    weights = weights + torch.where(inputs > 0, taps[:, near], 0.0)
    return weights + torch.where(inputs < last, taps[:, far], 0.0)
