"""An encoder's layers by depth, and learning rates that fall with the distance from the heads."""

from collections.abc import Sequence

from torch import nn

from manyviews.core.encoder import Encoder
from manyviews.core.errors import UsageError


def layers_of(encoder: Encoder, otherwise: str) -> Sequence[Sequence[nn.Parameter]]:
    """What comes before the first block, then each block (`Encoder.by_depth`).

    Args:
        encoder: asked.
        otherwise: what its user can do where it does not say: "Set --optim.layer-decay 1."

    Raises:
        UsageError: it does not say how deep it is.
    """
    layers = encoder.by_depth()
    if not layers:
        raise UsageError(f"{type(encoder).__name__} does not say which layers it has. {otherwise}")
    return layers


def depth_scales(encoder: Encoder, decay: float, otherwise: str) -> dict[int, float]:
    """Factor on the learning rate of each parameter that has one other than 1, by its `id`.

    Of L layers, layer i has decay ** (L - i), i from 0; what is in none, as a final norm, has 1.
    Source: Bao et al. 2022 (BEiT); facebookresearch/mae util/lr_decay.py.

    Args:
        encoder: asked.
        decay: above 0 and up to 1, which asks nothing of the encoder.
        otherwise: as in `layers_of`.

    Raises:
        UsageError: it does not say how deep it is.
    """
    if decay == 1:
        return {}
    layers = layers_of(encoder, otherwise)
    power = len(layers)
    return {id(p): decay ** (power - i) for i, layer in enumerate(layers) for p in layer}
