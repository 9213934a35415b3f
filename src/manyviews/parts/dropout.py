"""Noise inside networks."""

from torch import nn


def without_dropout(module: nn.Module) -> None:
    """Turn off dropout and stochastic depth in a module for good, in train mode too.

    For teachers, which run in train mode for the sake of their batch norm
    (facebookresearch/dino main_dino.py builds its teacher without stochastic depth).
    """
    from timm.layers.drop import DropPath  # slow to import; most runs never need it

    for part in module.modules():
        if isinstance(part, DropPath):
            part.drop_prob = 0.0
        elif isinstance(part, nn.Dropout):
            part.p = 0.0
