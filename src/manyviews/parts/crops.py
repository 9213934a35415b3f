"""Multi-crop: global and local views of one image through one encoder."""

from collections.abc import Mapping

import torch
from torch import Tensor

from manyviews.core import Encoder, flat


def encode_crops(encoder: Encoder, views: Mapping[str, Tensor]) -> Tensor:
    """Encode global, then local views; crops of one resolution share one forward pass.

    Batch norm in the encoder thus sees one resolution at a time; give the result to a head in one
    call, whose batch norm then sees all crops.

    Args:
        encoder: any encoder that takes both resolutions.
        views: "global" [B, V, C, H, W] and perhaps "local" [B, L, C, h, w].

    Returns:
        [B, V + L, D] pooled features, global views first.

    Source: facebookresearch/swav src/resnet50.py, facebookresearch/dino utils.py.
    """
    crops = [views[name] for name in ("global", "local") if name in views]
    if len(crops) == 2 and crops[0].shape[2:] == crops[1].shape[2:]:
        crops = [torch.cat(crops, dim=1)]
    encoded = [flat(lambda x: encoder(x, tokens=False).pooled, x) for x in crops]
    return torch.cat(encoded, dim=1)


def encode_local(encoder: Encoder, h: Tensor, views: Mapping[str, Tensor]) -> Tensor:
    """Local views behind global ones that were encoded in a way of their own.

    Args:
        encoder: any encoder that takes their resolution.
        h: [B, V, D] pooled features of the global views.
        views: "local" [B, L, C, h, w], or none.

    Returns:
        [B, V + L, D].
    """
    if "local" not in views:
        return h
    local = flat(lambda x: encoder(x, tokens=False).pooled, views["local"])
    return torch.cat([h, local], dim=1)
