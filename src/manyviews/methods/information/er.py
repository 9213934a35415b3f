"""ER: entropy and reconstruction. Rodriguez-Galvez et al. 2023, arXiv:2307.10907."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Concentration, Count, NotNegative, Positive, Several
from manyviews.losses.contrastive import unit
from manyviews.losses.entropy import (
    Estimator,
    discrete_entropy,
    discrete_reconstruction,
    vmf_entropy,
    vmf_reconstruction,
)
from manyviews.parts.assign import entropies
from manyviews.parts.heads import mlp
from manyviews.parts.prototypes import Prototypes


@dataclass(frozen=True, kw_only=True)
class ERConfig:
    """Settings of ER; concentration and estimators: apple/ml-entropy-reconstruction.

    Attributes:
        space: where views meet, the unit "sphere" or a distribution over "prototypes".
        concentration: kappa of the kernels and of the reconstruction on the sphere.
        estimator: of the entropy on the sphere; see `losses.entropy.vmf_entropy`. The authors'
            default is "plug-in", whose gradient is 15 to 219 times smaller on a batch that is
            spread out (docs/methods/er.md).
        temperature: of the distribution over prototypes.
        prototypes: K.
        entropy: weight of the entropy; 1 makes the sum of both terms a bound on the information.
        hidden: width of the projector's hidden layer.
        out: width of its output.
    """

    space: Literal["sphere", "prototypes"] = "sphere"
    concentration: Concentration = 10.0
    estimator: Estimator = "joe"
    temperature: Positive = 0.1
    prototypes: Several = 300
    entropy: NotNegative = 1.0
    hidden: Count = 2048
    out: Count = 128


class ER(Method):
    """Let each view tell the other, and let views of different images differ; one network."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: ERConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config, self.backbone = config, encoder
        self.projector = mlp([encoder.dim, config.hidden, config.out])
        discrete = config.space == "prototypes"
        self.prototypes = Prototypes(config.out, config.prototypes) if discrete else None

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Minus both terms of the bound; batch norms see both views at once."""
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, batch.views["global"][:, :2])
        z = unit(flat(self.projector, h))
        watch: dict[str, Tensor] = {}
        if self.prototypes is None:
            entropy, reconstruction = self._on_sphere(z)
        else:
            log_p = (self.prototypes(z) / self.config.temperature).log_softmax(dim=-1)
            entropy = torch.stack([discrete_entropy(p) for p in log_p.exp().unbind(1)]).mean()
            reconstruction = discrete_reconstruction(log_p[:, 0], log_p[:, 1])
            watch = entropies(log_p.detach().exp())
        losses = {"reconstruction": -reconstruction, "entropy": -self.config.entropy * entropy}
        return Step(losses, self.embedded(h), projection=z, watch=watch)

    def _on_sphere(self, z: Tensor) -> tuple[Tensor, Tensor]:
        kappa = self.config.concentration
        estimates = [
            vmf_entropy(view, kappa=kappa, estimator=self.config.estimator) for view in z.unbind(1)
        ]
        return torch.stack(estimates).mean(), vmf_reconstruction(z[:, 0], z[:, 1], kappa=kappa)

    def assign(self, images: Tensor) -> Tensor:
        """Share [B, K] of each prototype in images [B, C, H, W]; K = 0 on the sphere."""
        if self.prototypes is None:
            return images.new_zeros(len(images), 0)
        z = unit(self.projector(self.backbone(images).pooled))
        return (self.prototypes(z) / self.config.temperature).softmax(dim=-1)

    def after_step(self, clock: Clock) -> None:
        """Put the prototypes back on the sphere."""
        if self.prototypes is not None:
            self.prototypes.normalise_()
