"""What features have to beat: the pixels themselves."""

from collections.abc import Callable

from torch import Tensor

from manyviews.core.inputs import Input


def pixels(input: Input) -> Callable[[Tensor], Tensor]:
    """An `embed` for `extract` that returns the image itself, [B, C*H*W], pixels in [0, 1].

    Args:
        input: whose normalisation is taken back.
    """

    def embed(x: Tensor) -> Tensor:
        return input.restore(x.float()).flatten(1)

    return embed


def centred(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both less the training mean: what a fair cosine on pixels looks at.

    Args:
        train: [N, D].
        test: [Q, D].
    """
    mean = train.double().mean(dim=0).to(train.dtype)
    return train - mean, test - mean
