"""GDT. Patrick et al. 2021, arXiv:2003.04298; facebookresearch/GDT."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.versions import Relation, versioned_info_nce
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp

Version = tuple[int, bool]
"""Which clip, and whether it runs backwards."""


@dataclass(frozen=True, kw_only=True)
class GDTConfig:
    """Defaults: facebookresearch/GDT scripts/pretrain_gdt_k400.sh with hypothesis 6.

    Attributes:
        shift: what another clip of the same video is to a clip: a negative ("distinct"), a positive
            in its place ("invariant"), or neither ("none"), and then one clip is read.
        reversal: what the same clip played backwards is, likewise.
        temperature: T.
        hidden: width of the heads' hidden layer.
        out: width of their output.
    """

    shift: Relation = "distinct"
    reversal: Relation = "distinct"
    temperature: Positive = 0.07
    hidden: Count = 512
    out: Count = 256


class GDT(Method):
    """Find a clip's sound among all sounds, where changes of a clip count as others or as the same.

    A modality learns as the query alone; as keys its outputs are constants.
    """

    needs: Mapping[str, int] = {"video": 2, "audio": 2}
    of_one = ("video",)
    trains = ("video", "audio")

    def __init__(self, given: Given, config: GDTConfig) -> None:
        super().__init__(given)
        self.config = config
        self.needs = self.most = dict.fromkeys(self.trains, 1 if config.shift == "none" else 2)
        self.branches = nn.ModuleDict()
        for name in self.trains:
            encoder = given.encoders[name]
            sizes = [encoder.dim, config.hidden, config.out]
            self.branches[name] = Branch(encoder, mlp(sizes))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean over pairs of versions of the InfoNCE of either modality's queries."""
        clips, ways = range(self.needs["video"]), (False, True)[: 1 + self._reverses]
        versions = [(clip, way) for way in ways for clip in clips]
        made = {name: self._encode(name, batch.views[name], versions) for name in self.trains}
        z = {name: dict(zip(versions, unit(outs), strict=True)) for name, (_, outs) in made.items()}
        terms = [self._pair(z, *pair) for pair in self._pairs()]
        plain = len(clips)
        return Step(
            {"across": torch.stack(terms).mean()},
            embedding={k: h[:plain].transpose(0, 1).detach() for k, (h, _) in made.items()},
            projection=torch.stack([z[k][versions[0]] for k in self.trains], dim=1),
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors [B, P] of plain views of each, behind its head."""
        return {name: unit(self.branches[name](views[name])[1]) for name in self.trains}

    @property
    def _reverses(self) -> bool:
        return self.config.reversal != "none"

    def _encode(self, name: str, views: Tensor, versions: list[Version]) -> tuple[Tensor, Tensor]:
        """[versions, B, D] and [versions, B, P] of views [B, V, C, time, ...]."""
        every = [views[:, clip].flip(2) if back else views[:, clip] for clip, back in versions]
        features, out = self.branches[name](torch.cat(every))
        return tuple(x.unflatten(0, (len(versions), -1)) for x in (features.pooled, out))

    def _pairs(self) -> Iterator[tuple[Version, Version, Relation]]:
        """Two versions and what each is to the other; for what is invariant also as neither.

        As the authors' hypotheses: with both changes each is looked at in both states of the other.
        """
        shift, reversal = self.config.shift, self.config.reversal
        first, later, back, both = (0, False), (1, False), (0, True), (1, True)
        if shift == "none" == reversal:
            yield first, first, "none"
        for relation, pairs in (
            (reversal, ((first, back), (later, both))),
            (shift, ((first, later), (back, both))),
        ):
            if relation == "none":
                continue
            alone = "none" in (shift, reversal)
            for one, two in pairs[: 1 if alone else 2]:
                yield one, two, cast("Relation", relation)
            if relation == "invariant":
                one, two = pairs[0]
                yield one, two, "none"

    def _pair(
        self, z: Mapping[str, Mapping[Version, Tensor]], one: Version, two: Version, be: Relation
    ) -> Tensor:
        """The mean over both versions and both modalities as queries."""
        temperature = self.config.temperature
        orders = [(one, two)] if one == two else [(one, two), (two, one)]
        terms = [
            versioned_info_nce(
                z[query][own],
                z[key][own].detach(),
                None if one == two else z[key][other].detach(),
                be=be,
                temperature=temperature,
            )
            for own, other in orders
            for query, key in (("video", "audio"), ("audio", "video"))
        ]
        return torch.stack(terms).mean()
