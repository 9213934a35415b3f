"""Learned directions that embeddings are scored against."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.parts.norm import BatchNorm


class Prototypes(nn.Module):
    """K unit vectors; scores are dot products, cosines where the input has unit length.

    The optimiser moves the vectors off the sphere; `normalise_` puts them back, so call it after
    every step. Scores are float32 even under autocast: they are divided by 0.05 and
    exponentiated, which bfloat16 cannot bear.

    Attributes:
        weight: [K, D] parameter, rows of unit length.

    Source: facebookresearch/swav main_swav.py, src/resnet50.py.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        # The values that nn.Linear would start with, then put on the sphere.
        self.weight = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach().clone())
        self.normalise_()

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., K] scores."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(self.weight.dtype), self.weight)

    @torch.no_grad()
    def normalise_(self) -> None:
        """Give every prototype unit length, in place."""
        self.weight.copy_(F.normalize(self.weight, dim=1))


class UnitLinear(nn.Module):
    """A linear layer without bias, its rows reparametrised as length times direction.

    With `fixed` the length stays 1 for ever, and logits of unit inputs are cosines.

    Attributes:
        weight_v: [K, D] parameter, the directions before normalisation.
        weight_g: [K, 1] parameter, the lengths; starts at 1, has no gradient if `fixed`.

    Source: Salimans and Kingma 2016; the last layer of DINO's head. Names as in its checkpoints.
    """

    def __init__(self, dim: int, count: int, *, fixed: bool = True) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach().clone())
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=not fixed)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., K]."""
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1))


class DINOHead(nn.Module):
    """Three linear layers with GELU, a unit-length bottleneck, then `UnitLinear` prototypes.

    Linear layers start truncated-normal with deviation 0.02 and no bias; the last layer keeps
    PyTorch's initialisation (the authors initialise before they add it).

    Source: Caron et al. 2021, section 3.1 and appendix C; facebookresearch/dino
    vision_transformer.py. Names as in its checkpoints.
    """

    def __init__(
        self, dim: int, *, hidden: int, bottleneck: int, prototypes: int, fixed: bool, norm: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (dim, hidden):
            layers += [nn.Linear(width, hidden), *[BatchNorm(hidden)] * norm, nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = UnitLinear(bottleneck, prototypes, fixed=fixed)

    def embed(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, P] unit vectors, the last layer's input."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, K] logits."""
        return self.last_layer(self.embed(x))
