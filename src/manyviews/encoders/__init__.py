"""Backbones: what their input says in, `Features` out."""

from manyviews.encoders.catalog import KINDS, build, kinds, named, names, timms
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
    "kinds",
    "load_weights",
    "named",
    "names",
    "timms",
]
