"""Residual networks in two parts, where detectors divide them: before the last stage."""

from typing import Any

from timm.models.resnet import ResNet
from torch import nn

from manyviews.core import Encoder
from manyviews.encoders.resnet_small import ResNetSmall
from manyviews.encoders.timm_model import TimmEncoder


def parted(encoder: Encoder) -> tuple[nn.Module, nn.Module] | None:
    """What makes the map before the last stage ("C4" of a ResNet), and the last stage.

    Both share their parameters with the encoder: images [B, C, H, W] -> maps -> maps of half the
    side. None for an encoder that is no residual network.
    """
    if isinstance(encoder, ResNetSmall):
        *first, last = encoder.stages
        return nn.Sequential(encoder.stem, *first), last
    if isinstance(encoder, TimmEncoder) and isinstance(encoder.model, ResNet):
        model: Any = encoder.model
        stem = (model.conv1, model.bn1, model.act1, model.maxpool)
        return nn.Sequential(*stem, model.layer1, model.layer2, model.layer3), model.layer4
    return None
