"""What the authors' ImageNet recipes share: the data side, and the network of most."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import ImageConfig, TimmConfig
from manyviews.runs.settings import Facts


def data(facts: Facts, *, batch_size: int) -> Data:
    """The images that were given, in the authors' batches."""
    return Data(source=facts.source, batch_size=batch_size)


def image(config: ImageConfig) -> Any:
    """The one encoder of a run, fed 224 pixels less ImageNet's mean over its deviation."""
    return struct("Encoders", {"image": config})


def resnet50(*, zero_init: bool = True) -> Any:
    """The ResNet-50 of all joint-embedding papers."""
    return image(TimmConfig(name="resnet50", zero_init=zero_init))
