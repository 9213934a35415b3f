"""Plain 8-bit JPEG, by torchvision."""

from typing import cast

import numpy as np

from manyviews.core.sample import Bytes


def decode_jpeg(data: bytearray) -> Bytes:
    """[H, W, 1 or 3] uint8 of a whole JPEG file; not contiguous.

    Args:
        data: writable, since torch warns of memory that it must not write to.

    Raises:
        RuntimeError: it is broken or cut short.
    """
    # seconds, which data without JPEGs and mistakes in a command need not wait for
    import torch
    from torchvision import io

    stored = torch.frombuffer(data, dtype=torch.uint8)
    pixels = cast("torch.Tensor", io.decode_jpeg(stored))
    return np.asarray(pixels.permute(1, 2, 0).numpy())
