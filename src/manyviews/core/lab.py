"""Colours as CIE Lab: lightness, and how red (not green) and how yellow (not blue)."""

import torch
from torch import Tensor

_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Of linear red, green and blue with sRGB's primaries."""
_WHITE = (0.95047, 1.0, 1.08883)
"""D65, seen at 2 degrees."""
_DARK, _SLOPE, _OFFSET = 0.008856, 7.787, 16 / 116
"""Below the first the cube root gives way to a line."""

CHANNELS: dict[str, slice] = {
    "L": slice(0, 1),
    "ab": slice(1, 3),
    "a": slice(1, 2),
    "b": slice(2, 3),
}
"""Part of a colour -> its channels."""

CENTER = (50.0, (98.233 - 86.183) / 2, (94.478 - 107.857) / 2)
REACH = (50.0, (98.233 + 86.183) / 2, (94.478 + 107.857) / 2)
"""The middle of L, a and b over all colours of sRGB, and how far they go from there."""


def to_lab(images: Tensor) -> Tensor:
    """Lab of sRGB images, on whatever device they are.

    Args:
        images: [..., 3, H, W] in [0, 1].

    Returns:
        [..., 3, H, W], float32 even under autocast (float64 stays): L in [0, 100], a in
        [-86.2, 98.3], b in [-107.9, 94.5].

    Source: scikit-image color/colorconv.py, rgb2lab with illuminant D65 and observer 2.
    """
    with torch.autocast(images.device.type, enabled=False):
        x = images.to(torch.promote_types(images.dtype, torch.float32))
        linear = torch.where(x > 0.04045, ((x.clamp(min=0) + 0.055) / 1.055) ** 2.4, x / 12.92)
        red, green, blue = linear.unbind(-3)
        xyz = [
            (r * red + g * green + b * blue) / white
            for (r, g, b), white in zip(_TO_XYZ, _WHITE, strict=True)
        ]
        fx, fy, fz = (
            torch.where(t > _DARK, t.clamp(min=_DARK) ** (1 / 3), _SLOPE * t + _OFFSET) for t in xyz
        )
        return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=-3)


def from_lab(lab: Tensor) -> Tensor:
    """The inverse: [..., 3, H, W] Lab to sRGB, below 0 or above 1 where no such colour is.

    Source: scikit-image color/colorconv.py, lab2rgb, which clips.
    """
    light, a, b = lab.unbind(-3)
    fy = (light + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], dim=-3)
    t = torch.where(f > _DARK ** (1 / 3), f**3, (f - _OFFSET) / _SLOPE)
    xyz = t * t.new_tensor(_WHITE).view(3, 1, 1)
    back = torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).to(t)
    linear = torch.einsum("ij,...jhw->...ihw", back, xyz)
    bright = 1.055 * linear.clamp(min=0) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, bright, 12.92 * linear)


def lab_part(images: Tensor, part: str) -> Tensor:
    """Some channels of Lab, scaled to about [-1, 1] by what sRGB's colours reach.

    Args:
        images: [..., 3, H, W] sRGB in [0, 1].
        part: one of `CHANNELS`.

    Returns:
        [..., C, H, W]; C is 2 of "ab" and 1 of the others.

    Source: HobbitLong/CMC train_CMC.py, get_train_loader.
    """
    lab = to_lab(images)
    center, reach = (lab.new_tensor(x).view(3, 1, 1) for x in (CENTER, REACH))
    return ((lab - center) / reach)[..., CHANNELS[part], :, :]
