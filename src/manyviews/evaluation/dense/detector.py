"""torchvision's two-stage detector on an encoder's last map."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from manyviews.core import Encoder
from manyviews.evaluation.dense.precision import FoundBoxes
from manyviews.evaluation.dense.settings import Detection

SIDES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of anchors, as shares of the image's side: ViTDet's 32 to 512 of 1024 pixels."""
RATIOS = (0.5, 1.0, 2.0)
_LEAST = 2.0
"""Pixels; torchvision rounds half of it, and a side of 0 has no logarithm."""
_BEFORE, _KEPT = 1000, 0.7
"""Proposals of each level before they are thinned out, and the overlap at which one is dropped."""
_ROI, _C4_ROI = 7, 14
"""Cells a side that are cut out for a proposal (detectron2's of the pyramid and of C4)."""


@dataclass(frozen=True)
class Trunk:
    """An encoder as a detector takes it.

    Attributes:
        body: normalised images [B, C, S, S] -> maps [B, D, h, w], which can be kept.
        tail: of a residual network its last stage, which sees what is cut out of the maps; None
            where a pyramid is made of them.
    """

    body: nn.Module
    tail: nn.Module | None = None


class Places(nn.Module):
    """An encoder's tokens as a map: images [B, C, S, S] -> [B, D, h, w]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        return self.encoder(x).tokens.transpose(1, 2).unflatten(2, self.encoder.grid)


class Pyramid(nn.Module):
    """Maps of 4, 2, 1 and 1/2 times the side, and of every second place of the last.

    [B, D, h, w] -> "0" to "3" and "pool", each [B, width, ...].

    Source: Li et al., "Exploring plain vision transformer backbones for object detection"
    (2203.16527), section 3; detectron2@02b5c4e modeling/backbone/vit.py.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        half, quarter = max(1, dim // 2), max(1, dim // 4)
        up = nn.ConvTranspose2d
        ways = [
            (quarter, [up(dim, half, 2, 2), LayerNorm2d(half), nn.GELU(), up(half, quarter, 2, 2)]),
            (half, [up(dim, half, 2, 2)]),
            (dim, []),
            (dim, [nn.MaxPool2d(2, ceil_mode=True)]),
        ]
        self.levels = nn.ModuleList(
            nn.Sequential(
                *resize,
                nn.Conv2d(channels, width, 1, bias=False),
                LayerNorm2d(width),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                LayerNorm2d(width),
            )
            for channels, resize in ways
        )

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        """The levels, the finest first."""
        levels = [level(maps) for level in self.levels]
        return {**{str(i): x for i, x in enumerate(levels)}, "pool": levels[-1][..., ::2, ::2]}


class Detector(nn.Module):
    """Proposals, then a kind and a finer box for each; Faster R-CNN by torchvision's modules.

    Of a map the pyramid, or of a residual network's C4 the map as it is and its last stage as
    the head (He et al. 2020, MoCo, section 4.2).
    """

    def __init__(
        self, trunk: Trunk, maps: Tensor, *, kinds: int, side: int, settings: Detection
    ) -> None:
        """Build with random weights, but for the trunk's tail.

        Args:
            trunk: the encoder.
            maps: [1, D, h, w], what its body makes of an image.
            kinds: of things.
            side: S, of images.
            settings: widths and how many proposals.
        """
        super().__init__()
        self.side, dim = side, maps.shape[1]
        lengths = [max(_LEAST, share * side) for share in SIDES]
        if trunk.tail is None:
            self.neck: nn.Module | None = Pyramid(dim, settings.width)
            sizes = tuple((length,) for length in lengths)
            names, cells, width = ["0", "1", "2", "3"], _ROI, 4 * settings.width
            head: nn.Module = TwoMLPHead(settings.width * _ROI**2, width)
        else:
            self.neck = None
            sizes = (tuple(lengths),)
            names, cells = ["0"], _C4_ROI
            head = nn.Sequential(trunk.tail, nn.AdaptiveAvgPool2d(1), nn.Flatten())
            with torch.no_grad():
                width = head(maps.new_zeros(1, dim, cells, cells)).shape[1]
        anchors = AnchorGenerator(_floats(sizes), (RATIOS,) * len(sizes))
        keep = {"training": settings.proposals, "testing": settings.proposals}
        self.proposals: Any = RegionProposalNetwork(
            anchors,
            RPNHead(settings.width if self.neck else dim, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
            pre_nms_top_n={"training": _BEFORE, "testing": _BEFORE}, post_nms_top_n=keep,
            nms_thresh=_KEPT,
        )  # fmt: skip
        self.heads: Any = RoIHeads(
            MultiScaleRoIAlign(names, cells, sampling_ratio=2), head,
            FastRCNNPredictor(width, kinds + 1),
            fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=128, positive_fraction=0.25,
            bbox_reg_weights=None, score_thresh=0.05, nms_thresh=0.5, detections_per_img=100,
        )  # fmt: skip

    def loss(self, maps: Tensor, boxes: Sequence[Tensor], kinds: Sequence[Tensor]) -> Tensor:
        """Of proposals and of what is said of them, summed.

        Args:
            maps: [B, D, h, w].
            boxes: of each image [n, 4] in its S x S pixels.
            kinds: of each, [n] int64 from 0 on.
        """
        targets = [
            {"boxes": box.float(), "labels": kind + 1}  # 0 is the ground
            for box, kind in zip(boxes, kinds, strict=True)
        ]
        _, first, second = self._seen(maps, targets)
        return torch.stack([*first.values(), *second.values()]).sum()

    @torch.inference_mode()
    def found(self, maps: Tensor) -> list[FoundBoxes]:
        """Of each of the maps [B, D, h, w], in pixels of the S x S image."""
        found, _, _ = self._seen(maps, None)
        return [
            FoundBoxes(one["boxes"].cpu().double(), one["labels"].cpu() - 1, one["scores"].cpu())
            for one in found
        ]

    def _seen(
        self, maps: Tensor, targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor], dict[str, Tensor]]:
        levels = OrderedDict({"0": maps} if self.neck is None else self.neck(maps))
        size = (self.side, self.side)
        images = ImageList(maps.new_zeros(1, 1, 1, 1).expand(len(maps), 1, *size),
                           [size] * len(maps))  # fmt: skip
        boxes, first = self.proposals(images, levels, targets)
        found, second = self.heads(levels, boxes, images.image_sizes, targets)
        return found, first, second


def _floats(sizes: Any) -> Any:
    """Sides of anchors, of which torchvision's annotation says that they are whole."""
    return sizes
