"""What features have to beat: the pixels themselves."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def pixels(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """An `embed` for `extract` that returns the image itself, [B, C*H*W], pixels in [0, 1].

    Args:
        mean: that the transform took away, one for each channel or one for all.
        std: that it divided by.
    """

    def embed(x: Tensor) -> Tensor:
        shift = torch.tensor(tuple(mean), device=x.device).view(1, -1, 1, 1)
        scale = torch.tensor(tuple(std), device=x.device).view(1, -1, 1, 1)
        return (x.float() * scale + shift).flatten(1)

    return embed


def centred(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both less the training mean: what a fair cosine on pixels looks at.

    Args:
        train: [N, D].
        test: [Q, D].
    """
    mean = train.double().mean(dim=0).to(train.dtype)
    return train - mean, test - mean
