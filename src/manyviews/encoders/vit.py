"""Vision transformers: timm's modules, with tokens that a method may drop, hide or look at."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported
from manyviews.core.positions import sincos
from manyviews.encoders.blocks import check_blocks
from manyviews.encoders.resample import Interpolation, resample


class ViT(Encoder):
    """A timm `VisionTransformer` as an encoder; `model.state_dict()` is timm's.

    `pooled` is what timm returns for the same weights with `global_pool="token"` ("cls") or
    `global_pool="avg", fc_norm=False` ("mean"), also for images of other sizes, for which the
    positions are interpolated by the rule of `interpolation` (timm's own by default).
    `hidden` are block outputs before the final norm.

    Attributes:
        model: timm's network, without classifier.
        pool: "cls" or "mean".
        interpolation: the rule for the positions of other sizes. Weights are right only with the
            rule of the project that trained them, so `load_weights` sets it.
    """

    def __init__(
        self,
        model: VisionTransformer,
        *,
        positions: Literal["learned", "sincos"] = "learned",
        pool: Literal["cls", "mean"] = "cls",
        interpolation: Interpolation = "timm",
        class_token: float = 0.0,
    ) -> None:
        """Wrap a network built with `dynamic_img_size=True, num_classes=0`.

        Args:
            model: the network; it is kept, not copied.
            positions: "sincos" overwrites the table by MAE's, zeros for the class token, and
                freezes it.
            pool: what `pooled` is.
            interpolation: see `resample.Interpolation`.
            class_token: standard deviation of the initial class token, where there is one; 0 keeps
                what the network was built with (timm's is 1e-6, DINO's and MAE's 0.02).
        """
        super().__init__()
        self.model = model
        self.pool = pool
        self.interpolation: Interpolation = interpolation
        self.dim = model.embed_dim
        rows, columns = model.patch_embed.grid_size
        self.grid, self.patch = (rows, columns), tuple(model.patch_embed.patch_size)
        if positions == "sincos" and model.pos_embed is not None:
            table = sincos(self.dim, model.patch_embed.grid_size)
            with torch.no_grad():
                model.pos_embed.zero_()
                model.pos_embed[0, -self.num_tokens :] = table
            model.pos_embed.requires_grad = False
        if class_token and model.cls_token is not None:
            nn.init.normal_(model.cls_token, std=class_token)

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Pixels to features; see `Encoder`. With `keep` there are K tokens, in its order.

        Without tokens, where `pooled` is the class token, the last block makes no other.

        Raises:
            Unsupported: a size that the patch does not divide, or more blocks than there are.
        """
        check_blocks(blocks, len(self.model.blocks), of="a ViT that")
        sequence = self.embed(x, hide=hide)
        if keep is not None:
            sequence = self._select(sequence, keep)
        prefix, hidden = self.model.num_prefix_tokens, list[Tensor]()
        first = len(self.model.blocks) - blocks
        *body, last = cast("Sequence[Any]", self.model.blocks)
        for i, block in enumerate(body):
            sequence = block(sequence)
            if i >= first:
                hidden.append(sequence[:, prefix:])
        if self.pool == "cls" and not (tokens or blocks) and _plain(last):
            return self._features(_first_token(last, sequence))
        sequence = last(sequence)
        if blocks:
            hidden.append(sequence[:, prefix:])
        return self._features(sequence, tuple(hidden))

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Tokens, positions and patches; then each block (facebookresearch/mae lr_decay.py)."""
        blocks = [list(block.parameters()) for block in self.model.blocks]
        after = [self.model.norm, self.model.fc_norm]
        later = {id(p) for ps in [*blocks, *(m.parameters() for m in after)] for p in ps}
        return [[p for p in self.model.parameters() if id(p) not in later], *blocks]

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """The convolution that embeds patches."""
        return list(self.model.patch_embed.parameters())

    def extra_repr(self) -> str:
        """What neither parameters nor modules show."""
        return f"pool={self.pool}, interpolation={self.interpolation}"

    def _features(self, sequence: Tensor, hidden: tuple[Tensor, ...] = ()) -> Features:
        """From what the last block gave, [B, prefix + N, D]."""
        sequence = self.model.norm(sequence)
        tokens = sequence[:, self.model.num_prefix_tokens :]
        pooled = sequence[:, 0] if self.pool == "cls" else tokens.mean(dim=1)
        class_token = None if self.model.cls_token is None else sequence[:, 0]
        return Features(pooled, tokens, hidden, class_token)

    def embed(self, x: Tensor, *, hide: Hide | None = None) -> Tensor:
        """What enters the first block: class and register tokens, then patches, with positions.

        Args:
            x: [B, C, H, W].
            hide: patches to replace, before positions are added.

        Returns:
            [B, prefix + N, D].
        """
        model = self.model
        self._check_size(x)
        grid = model.patch_embed(x)
        tokens = grid.flatten(1, 2)
        if hide is not None:
            tokens = torch.where(hide.where[..., None], hide.token.to(tokens.dtype), tokens)
        extra = [t for t in (model.cls_token, model.reg_token) if t is not None]
        prefix = [t.expand(grid.shape[0], -1, -1) for t in extra]
        positions = self._positions((grid.shape[1], grid.shape[2]))
        if positions is None:
            tokens = torch.cat([*prefix, tokens], dim=1)
        elif model.no_embed_class:
            tokens = torch.cat([*prefix, tokens + positions], dim=1)
        else:
            tokens = torch.cat([*prefix, tokens], dim=1) + positions
        return model.norm_pre(model.pos_drop(tokens))

    def _positions(self, grid: tuple[int, int]) -> Tensor | None:
        model = self.model
        if model.pos_embed is None:
            return None
        rows, columns = model.patch_embed.grid_size
        return resample(
            model.pos_embed,
            grid,
            old=(rows, columns),
            prefix=0 if model.no_embed_class else model.num_prefix_tokens,
            rule=self.interpolation,
            registers=model.reg_token is not None,
        )

    def _select(self, sequence: Tensor, keep: Tensor) -> Tensor:
        prefix = self.model.num_prefix_tokens
        index = keep[..., None].expand(-1, -1, sequence.shape[2])
        return torch.cat([sequence[:, :prefix], sequence[:, prefix:].gather(1, index)], dim=1)

    def _check_size(self, x: Tensor) -> None:
        patch = self.model.patch_embed.patch_size
        if x.shape[2] % patch[0] or x.shape[3] % patch[1]:
            raise Unsupported(
                f"A ViT of patch {patch[0]} cannot take images of {x.shape[2]}x{x.shape[3]} "
                f"pixels. Use multiples of {patch[0]} for all view sizes."
            )


def _plain(block: nn.Module) -> bool:
    """Whether a block is timm's plain pre-norm block, of which `_first_token` knows everything."""
    if type(block) is not Block:
        return False
    return type(block.attn) is Attention and getattr(block.attn, "gate", None) is None


def _first_token(block: Any, x: Tensor) -> Tensor:
    """The first row of `block(x)` [B, 1 + N, D] -> [B, 1, D], without making the others.

    The others are asked for keys and values alone.
    """
    layer = block.attn
    heads = layer.qkv(block.norm1(x)).unflatten(2, (3, layer.num_heads, layer.head_dim))
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    out = F.scaled_dot_product_attention(
        layer.q_norm(query[:, :, :1]),
        layer.k_norm(key),
        value,
        dropout_p=layer.attn_drop.p if layer.training else 0.0,
    )
    seen = layer.proj_drop(layer.proj(layer.norm(out.transpose(1, 2).flatten(2))))
    x = x[:, :1] + block.drop_path1(block.ls1(seen))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


@torch.no_grad()
def initialise(model: VisionTransformer) -> None:
    """Give a ViT the initial weights of MAE: Xavier for linear layers and for the patch embedding.

    Source: facebookresearch/mae models_mae.py. timm's own are truncated-normal.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if "bias" in dict(module.named_parameters()):
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(model.patch_embed.proj.weight.flatten(1))
    if model.cls_token is not None:
        nn.init.normal_(model.cls_token, std=0.02)


@torch.no_grad()
def attention(encoder: Encoder, x: Tensor) -> Tensor:
    """How strongly the class token attends to each patch in the last block.

    Args:
        encoder: a `ViT` with a class token.
        x: [B, C, H, W].

    Returns:
        [B, heads, N] in [0, 1]; a row lacks only the share that goes to the class and register
        tokens.

    Raises:
        Unsupported: the encoder has no class token or no ordinary attention.
    """
    if not isinstance(encoder, ViT) or encoder.model.cls_token is None:
        raise Unsupported("Only a ViT with a class token has attention maps to show.")
    query, key, scale = _asked(encoder, x)
    weights = (query[:, :, :1] * scale @ key.transpose(2, 3)).softmax(dim=-1)
    return weights[:, :, 0, encoder.model.num_prefix_tokens :]


@torch.no_grad()
def keys(encoder: Encoder, x: Tensor) -> Tensor:
    """What patches are found by in the last block: their keys, all heads side by side.

    Args:
        encoder: a `ViT`.
        x: [B, C, H, W].

    Returns:
        [B, N, D].

    Raises:
        Unsupported: the encoder has no ordinary attention.
    """
    if not isinstance(encoder, ViT):
        raise Unsupported("Only a ViT has keys of patches.")
    _, key, _ = _asked(encoder, x)
    return key.transpose(1, 2).flatten(2)[:, encoder.model.num_prefix_tokens :]


def _asked(encoder: ViT, x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Queries and keys of the last block [B, heads, prefix + N, D / heads], and their scale."""
    *body, last = cast("Sequence[Any]", encoder.model.blocks)
    layer = last.attn
    if type(layer) is not Attention:
        raise Unsupported(f"Attention of type {type(layer).__name__} has no map to show.")
    sequence = encoder.embed(x)
    for block in body:
        sequence = block(sequence)
    shape = (*sequence.shape[:2], 3, layer.num_heads, layer.head_dim)
    query, key, _ = layer.qkv(last.norm1(sequence)).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
    return layer.q_norm(query), layer.k_norm(key), layer.scale
