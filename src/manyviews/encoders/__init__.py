"""Backbones: what their input says in, `Features` out."""

from manyviews.encoders.catalog import KINDS, build, named, names
from manyviews.encoders.choice import choose
from manyviews.encoders.settings import ImageConfig, ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.weights import load_weights

__all__ = [
    "KINDS",
    "ImageConfig",
    "ResNetSmallConfig",
    "TimmConfig",
    "ViTConfig",
    "build",
    "choose",
    "load_weights",
    "named",
    "names",
]
