"""MAViL, both stages. Huang et al. 2023, arXiv:2212.08071."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Features, Given, Method, Step, UsageError, wide
from manyviews.core.ranges import Count, Natural, NotNegative, Positive
from manyviews.losses.contrastive import batch_info_nce, unit
from manyviews.losses.reconstruction import masked_mse, normalise_patches, prediction_std
from manyviews.parts.decoder import Decoder
from manyviews.parts.fusion import TOGETHER, JointBlocks
from manyviews.parts.masking import check_views, patch_of, patchify, visible


@dataclass(frozen=True, kw_only=True)
class MAViLConfig:
    """Settings of MAViL, whose authors published no code: where they are from, its page says.

    Attributes:
        joint: blocks that the tokens of both modalities go through together before they are
            decoded; 0 for none, so that each modality is decoded from its own tokens.
        inter: weight of the contrast between a sound and its clip.
        intra: weight of the contrast between two views of a sound, and of a clip.
        temperature: of both.
        target: what is predicted of hidden patches: their values, or the features that a whole run
            of MAViL, the teacher "earlier", makes of all of the sound and the clip.
        width: of the decoders, one for each modality.
        depth: of the decoders, in blocks.
        heads: of the decoders.
        normalise_patches: predict each patch less its mean over its deviation.
    """

    joint: Natural = 2
    inter: NotNegative = 0.1
    intra: NotNegative = 0.01
    temperature: Positive = 0.1
    target: Literal["patches", "features"] = "patches"
    width: Count = 512
    depth: Count = 8
    heads: Count = 16
    normalise_patches: bool = True


class MAViL(Method):
    """Predict what is hidden of a sound and a clip from what shows of both.

    What shows of one also has to be found by what shows of the other, and by another view of
    itself. Only the first views are decoded.
    """

    needs: Mapping[str, int] = {"audio": 2, "audio.mask": 2, "video": 2, "video.mask": 2}
    most: Mapping[str, int] = {"audio": 2, "video": 2}
    trains = ("audio", "video")
    tokens = True

    def __init__(self, given: Given, config: MAViLConfig) -> None:
        super().__init__(given)
        self.config = config
        encoders = {name: given.encoders[name] for name in self.trains}
        self.networks = nn.ModuleDict(encoders)
        self.patches = {name: patch_of(net, "MAViL") for name, net in encoders.items()}
        self.widths = {name: net.dim for name, net in encoders.items()}
        self.joint = None
        if config.joint:
            self.joint = JointBlocks(self.widths, depth=config.joint, alone=False)
            self.widths = dict.fromkeys(self.widths, self.joint.dim)
        elif config.inter and len(set(self.widths.values())) > 1:
            raise UsageError(
                f"MAViL compares sounds of {self.widths['audio']} numbers with clips of "
                f"{self.widths['video']}. Set --method.inter 0, --method.joint 1 or more, or "
                "encoders of equal widths."
            )
        outs = {k: math.prod(p) * encoders[k].input.shape[0] for k, p in self.patches.items()}
        if config.target == "features":
            teacher = _earlier(given)
            # A function of the teacher, which so is no part of this method.
            self.features, outs = teacher.contextual, teacher.widths
        self.decoders = nn.ModuleDict(
            {
                name: Decoder(
                    self.widths[name],
                    grid=net.grid,
                    width=config.width,
                    depth=config.depth,
                    heads=config.heads,
                    out=outs[name],
                )
                for name, net in encoders.items()
            }
        )

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both modalities' errors at hidden places, and the contrasts between and within them."""
        config = self.config
        views = {name: batch.views[name][:, 0] for name in self.trains}
        hidden = {name: batch.cues[f"{name}.mask"][:, 0] for name in self.trains}
        keep = {name: visible(where) for name, where in hidden.items()}
        made = {name: self._shown(batch, name, 0) for name in self.trains}
        fused = self._fused({name: f.tokens for name, f in made.items()})
        target = self._targets(views)
        losses, spread = dict[str, Tensor](), list[Tensor]()
        for name, tokens in fused.items():
            predicted = self.decoders[name](tokens, keep[name], class_token=None)
            losses[name] = masked_mse(predicted, target[name], hidden[name])
            spread.append(prediction_std(predicted, hidden[name]))
        z = {name: self._compared(name, f) for name, f in made.items()}
        if config.inter:
            losses["inter"] = config.inter * self._contrast(z["audio"], z["video"])
        if config.intra:
            again = {name: self._shown(batch, name, 1) for name in self.trains}
            within = [self._contrast(z[n], self._compared(n, f)) for n, f in again.items()]
            losses["intra"] = config.intra * torch.stack(within).mean()
        return Step(
            losses,
            embedding={name: f.pooled[:, None].detach() for name, f in made.items()},
            projection=torch.stack(list(z.values()), dim=1) if config.inter else None,
            watch={"prediction_std": torch.stack(spread).mean()},
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors [B, D] of plain views of each, of which nothing is hidden."""
        return {name: self._compared(name, net(views[name])) for name, net in self.networks.items()}

    @torch.no_grad()
    def contextual(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a whole sound and a whole clip are in the light of each other.

        Args:
            views: "audio" and "video" -> [B, *input.shape], of which nothing is hidden.

        Returns:
            Likewise [B, N, D], each token less its mean over its deviation.
        """
        tokens = {name: net(views[name]).tokens for name, net in self.networks.items()}
        fused = {name: wide(x) for name, x in self._fused(tokens).items()}
        return {name: F.layer_norm(x, x.shape[-1:]) for name, x in fused.items()}

    def _targets(self, views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """[B, N, P] of each modality, of all places."""
        if self.config.target == "features":
            return self.features(views)
        patches = {name: patchify(x, self.patches[name]) for name, x in views.items()}
        if not self.config.normalise_patches:
            return patches
        return {name: normalise_patches(x) for name, x in patches.items()}

    def _shown(self, batch: Batch, name: str, view: int) -> Features:
        """Of what shows of a modality's view."""
        x, hidden = batch.views[name][:, view], batch.cues[f"{name}.mask"][:, view]
        check_views(self.encoders[name], x, hidden, "MAViL")
        return self.networks[name](x, keep=visible(hidden))

    def _fused(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's tokens [B, K, D] after those of both have gone through joint blocks."""
        if self.joint is None:
            return dict(tokens)
        together = self.joint(tokens)[TOGETHER]
        parts = together.split([x.shape[1] for x in tokens.values()], dim=1)
        return dict(zip(tokens, parts, strict=True))

    def _compared(self, name: str, features: Features) -> Tensor:
        """[B, D] unit vectors: the mean of what shows, in the width of both modalities."""
        mean = features.tokens.mean(dim=1)
        return unit(mean if self.joint is None else self.joint.entry[name](mean))

    def _contrast(self, one: Tensor, other: Tensor) -> Tensor:
        """InfoNCE of unit vectors [B, D] both ways."""
        pairs, temperature = ((one, other), (other, one)), self.config.temperature
        both = [batch_info_nce(q, k, temperature=temperature) for q, k in pairs]
        return torch.stack(both).mean()


def _earlier(given: Given) -> MAViL:
    """The teacher, a run of the same method that is fed the same.

    Raises:
        UsageError: there is none, or it is something else.
    """
    teacher = given.teachers.get("earlier")
    if not isinstance(teacher, MAViL):
        raise UsageError(
            "The second stage of MAViL learns from a whole run of MAViL. Take a recipe that names "
            "one and give it: --teachers.earlier RUN."
        )
    for name, net in teacher.encoders.items():
        ours = given.encoders[name]
        if (net.input, net.grid) != (ours.input, ours.grid):
            raise UsageError(
                f"The teacher 'earlier' is fed other {name} than the encoder, or has other tokens "
                f"of it ({net.grid} and {ours.grid}). Give --encoders.{name} the settings of that "
                "run, or another run."
            )
    return teacher
