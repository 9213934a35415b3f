"""The fifteen corruptions of ImageNet-C, at five severities, and images that have them."""

from manyviews.evaluation.corruptions.catalog import CORRUPTIONS, Corruption, corrupt
from manyviews.evaluation.corruptions.source import Corrupted

__all__ = ["CORRUPTIONS", "Corrupted", "Corruption", "corrupt"]
