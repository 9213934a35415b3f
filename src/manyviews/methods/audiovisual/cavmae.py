"""CAV-MAE, and what Sync, its sequel, compares.

Gong et al. 2023, arXiv:2210.07839; YuanGongND/cav-mae. Araujo et al. 2025 (CAV-MAE Sync),
arXiv:2505.01237; edsonroteia/cav-mae-sync src/models/cav_mae_sync.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Features, Given, Method, Step, UsageError
from manyviews.core.ranges import Count, Natural, NotNegative, Positive
from manyviews.losses.contrastive import batch_info_nce, unit
from manyviews.losses.reconstruction import masked_mse, normalise_patches, prediction_std
from manyviews.parts.fusion import TOGETHER, JointBlocks, JointDecoder
from manyviews.parts.masking import check_views, patch_of, patchify, visible


@dataclass(frozen=True, kw_only=True)
class CAVMAEConfig:
    """Defaults: YuanGongND/cav-mae egs/audioset/run_cavmae_pretrain_scale++.sh.

    Attributes:
        joint: blocks that both modalities go through after their encoders.
        own: blocks behind the joint ones that each modality goes through by itself before it is
            compared; Sync has 2.
        compared: of each modality, the mean of what shows; or its class token, which then is not
            among what is reconstructed from (Sync).
        contrast: weight of the contrast.
        temperature: of the contrast.
        width: of the decoder.
        depth: of the decoder, in blocks.
        heads: of the decoder.
        normalise_patches: predict each patch less its mean over its deviation.
    """

    joint: Count = 1
    own: Natural = 0
    compared: Literal["mean", "class"] = "mean"
    contrast: NotNegative = 0.01
    temperature: Positive = 0.05
    width: Count = 512
    depth: Count = 8
    heads: Count = 16
    normalise_patches: bool = True


class CAVMAE(Method):
    """Reconstruct the hidden patches of a frame and a sound from those that show of both.

    What shows of a sound has to be found again from what shows of its frame.
    """

    needs: Mapping[str, int] = {"audio": 1, "audio.mask": 1, "video": 1, "video.mask": 1}
    most: Mapping[str, int] = {"audio": 1, "video": 1}
    trains = ("audio", "video")
    tokens = True

    def __init__(self, given: Given, config: CAVMAEConfig) -> None:
        super().__init__(given)
        self.config = config
        encoders = {name: given.encoders[name] for name in self.trains}
        self.networks = nn.ModuleDict(encoders)
        self.patches = {name: patch_of(net, "CAV-MAE") for name, net in encoders.items()}
        dims = {name: net.dim for name, net in encoders.items()}
        self.joint = JointBlocks(dims, depth=config.joint, own=config.own)
        self.decoder = JointDecoder(
            self.joint.dim,
            grids={name: net.grid for name, net in encoders.items()},
            outs={k: math.prod(p) * encoders[k].input.shape[0] for k, p in self.patches.items()},
            width=config.width,
            depth=config.depth,
            heads=config.heads,
        )

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both modalities' errors at hidden places, and the InfoNCE from frames to sounds."""
        views = {name: batch.views[name][:, 0] for name in self.trains}
        hidden = {name: batch.cues[f"{name}.mask"][:, 0] for name in self.trains}
        for name, where in hidden.items():
            check_views(self.encoders[name], views[name], where, "CAV-MAE")
        keep = {name: visible(where) for name, where in hidden.items()}
        made = {name: net(views[name], keep=keep[name]) for name, net in self.networks.items()}
        after = self._after(made)
        predicted = self.decoder(after[TOGETHER], keep)
        z = self._pooled(after)
        losses = {
            name: masked_mse(predicted[name], self._target(name, views[name]), hidden[name])
            for name in self.trains
        }
        contrast = batch_info_nce(z["video"], z["audio"], temperature=self.config.temperature)
        spread = [prediction_std(predicted[name], hidden[name]) for name in self.trains]
        return Step(
            losses | {"contrast": self.config.contrast * contrast},
            embedding={name: f.pooled[:, None].detach() for name, f in made.items()},
            projection=torch.stack(list(z.values()), dim=1),
            watch={"prediction_std": torch.stack(spread).mean()},
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors [B, D] of plain views of each, of which nothing is hidden."""
        return self._pooled(self._after({n: net(views[n]) for n, net in self.networks.items()}))

    def _after(self, made: Mapping[str, Features]) -> dict[str, Tensor]:
        """Tokens behind the joint blocks, of both together and of each by itself."""
        by_class = self.config.compared == "class"
        first = {name: _class_token(name, f) for name, f in made.items()} if by_class else None
        return self.joint({name: features.tokens for name, features in made.items()}, first)

    def _pooled(self, after: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the contrast compares, [B, D] unit vectors of each."""
        by_class = self.config.compared == "class"
        return {n: unit(after[n][:, 0] if by_class else after[n].mean(dim=1)) for n in self.trains}

    def _target(self, name: str, views: Tensor) -> Tensor:
        """[B, N, P] patches, normalised if so set."""
        patches = patchify(views, self.patches[name])
        return normalise_patches(patches) if self.config.normalise_patches else patches


def _class_token(name: str, features: Features) -> Tensor:
    """[B, D], or UsageError where the encoder has none."""
    if features.class_token is None:
        raise UsageError(
            f"CAV-MAE compares class tokens here, and the encoder {name!r} has none. "
            f"Set --encoders.{name}.class-token True, or --method.compared mean."
        )
    return features.class_token
