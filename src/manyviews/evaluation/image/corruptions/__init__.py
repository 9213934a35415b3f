"""The fifteen corruptions of ImageNet-C, at five severities, and images that have them."""

from manyviews.evaluation.image.corruptions.catalog import CORRUPTIONS, Corruption, corrupt
from manyviews.evaluation.image.corruptions.source import Corrupted

__all__ = ["CORRUPTIONS", "Corrupted", "Corruption", "corrupt"]
