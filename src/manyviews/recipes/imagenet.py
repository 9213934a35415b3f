"""What the authors' ImageNet recipes share: the data side, and epochs turned into shares."""

from manyviews.data.settings import Data
from manyviews.encoders.settings import EncoderConfig
from manyviews.runs.settings import Facts

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def data(facts: Facts, *, batch_size: int) -> Data:
    """RGB with ImageNet's mean and standard deviation."""
    return Data(source=facts.source, batch_size=batch_size, channels=3, mean=MEAN, std=STD)


def resnet50(*, zero_init: bool = True) -> EncoderConfig:
    """The ResNet-50 of all joint-embedding papers, at the view size."""
    return EncoderConfig(name="resnet50", image_size=0, channels=0, zero_init=zero_init)
