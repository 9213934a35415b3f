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


def narrowing(dim: int, *, hidden: int, out: int, norm: bool) -> nn.Sequential:
    """Three linear layers with GELU, and perhaps batch norm, between them.

    They start truncated-normal with deviation 0.02, and their biases at 0.

    Source: facebookresearch/dino vision_transformer.py; facebookresearch/msn src/msn_train.py.
    """
    layers: list[nn.Module] = []
    for width in (dim, hidden):
        layers += [nn.Linear(width, hidden), *[BatchNorm(hidden)] * norm, nn.GELU()]
    mlp = nn.Sequential(*layers, nn.Linear(hidden, out))
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return mlp


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
        self.norm = norm
        self.mlp = narrowing(dim, hidden=hidden, out=bottleneck, norm=norm)
        self.last_layer = UnitLinear(bottleneck, prototypes, fixed=fixed)

    def embed(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., P] unit vectors, the last layer's input; [B, D] with batch norm."""
        return F.normalize(self.mlp(x), dim=-1)

    def embed_some(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Tokens [B, N, D] at chosen [B, N] bool -> [M, P], in the order of `tokens[chosen]`.

        Batch norms see all tokens, as ranks may choose different numbers of them.
        """
        if not self.norm:
            return self.embed(tokens[chosen])
        return self.embed(tokens.flatten(0, 1)).unflatten(0, chosen.shape)[chosen]

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, K] logits."""
        return self.last_layer(self.embed(x))


class IBOTHead(DINOHead):
    """A `DINOHead` for whole views that scores their patches too.

    Patches go through the same layers but for the last, which may be their own.

    Attributes:
        last_layer2: the last layer of patches, where they have one of their own.

    Source: Zhou et al. 2022 (iBOT), section 3.2; bytedance/ibot models/head.py. Names as in its
    checkpoints.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        bottleneck: int,
        prototypes: int,
        patch_prototypes: int,
        fixed: bool,
        norm: bool,
    ) -> None:
        """Build it; with `patch_prototypes` 0 the last layer is one for both."""
        super().__init__(
            dim,
            hidden=hidden,
            bottleneck=bottleneck,
            prototypes=prototypes,
            fixed=fixed,
            norm=norm,
        )
        own = UnitLinear(bottleneck, patch_prototypes, fixed=fixed) if patch_prototypes else None
        self.last_layer2 = own

    def patches(self, z: Tensor) -> Tensor:
        """[..., P] embedded patches -> [..., K] logits."""
        return (self.last_layer2 or self.last_layer)(z)

    def score_patches(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Tokens [B, N, D] at chosen [B, N] bool -> [M, K] logits, as `DINOHead.embed_some`."""
        return self.patches(self.embed_some(tokens, chosen))


class TwoHeads(nn.Module):
    """A head for whole views and one for their patches, which may be the same.

    Attributes:
        views: of views.
        own: of patches, where they have one of their own.
    """

    def __init__(self, views: DINOHead, own: DINOHead | None) -> None:
        super().__init__()
        self.views, self.own = views, own

    def embed(self, x: Tensor) -> Tensor:
        """[..., D] of views -> [..., P] unit vectors, what `last_layer` is given."""
        return self.views.embed(x)

    @property
    def last_layer(self) -> UnitLinear:
        """The prototypes of views."""
        return self.views.last_layer

    def score_patches(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Tokens [B, N, D] at chosen [B, N] bool -> [M, K] logits, as `DINOHead.embed_some`."""
        head = self.own or self.views
        return head.last_layer(head.embed_some(tokens, chosen))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] of views -> [B, K] logits."""
        return self.views(x)

    def last_layers(self) -> list[nn.Parameter]:
        """The prototypes that train."""
        heads = [head for head in (self.views, self.own) if head is not None]
        return [p for head in heads for p in head.last_layer.parameters() if p.requires_grad]
