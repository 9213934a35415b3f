"""Backbones: pixels in, `Features` out."""

from manyviews.encoders.catalog import build, names
from manyviews.encoders.choice import choose
from manyviews.encoders.settings import EncoderConfig
from manyviews.encoders.weights import load_weights

__all__ = ["EncoderConfig", "build", "choose", "load_weights", "names"]
