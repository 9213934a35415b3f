"""Batch normalisation whose statistics do not depend on how many ranks share the batch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Unsupported, UsageError, comm


class BatchNorm(nn.Module):
    """Batch norm over the global batch of all ranks, or over `groups` equal parts of it.

    Takes [B, C] and [B, C, ...]; has the parameter and buffer names of `nn.BatchNorm*`. Unlike
    torch's SyncBatchNorm it works on the CPU. With `groups` the global batch is cut into that many
    contiguous parts, each normalised by its own statistics, as if each part lived on its own
    device (MoCo); the running statistics move by the average over the parts.

    Args:
        dim: C.
        scale: has a learnt factor ("weight").
        shift: has a learnt offset ("bias").
        eps: added to the variance.
        momentum: share of the new batch in the running statistics; None takes their plain average.
        groups: parts of the global batch; a multiple or a divisor of the number of ranks.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        dim: int,
        *,
        scale: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.dim, self.eps, self.momentum, self.groups = dim, eps, momentum, groups
        self.register_parameter("weight", nn.Parameter(torch.ones(dim)) if scale else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(dim)) if shift else None)
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def extra_repr(self) -> str:
        """Shown by `print(module)`."""
        return f"{self.dim}, eps={self.eps}, momentum={self.momentum}, groups={self.groups}"

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape and dtype."""
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        ranks = comm.world_size()
        if self.groups % ranks == 0:
            return self._by_parts(x, self.groups // ranks, share)
        if ranks % self.groups == 0:
            return self._over_ranks(x, ranks // self.groups, share)
        raise UsageError(
            f"{self.groups} batch-norm groups cannot be spread over {ranks} ranks; set the number "
            f"of groups to a multiple or a divisor of {ranks}."
        )

    def _by_parts(self, x: Tensor, parts: int, share: float) -> Tensor:
        """Each of this rank's parts by its own statistics."""
        if parts == 1 and comm.world_size() == 1:
            return self._plain(x, self.running_mean, self.running_var, share)
        if len(x) % parts:
            raise UsageError(
                f"A batch of {len(x)} images on this rank cannot be cut into {parts} equal "
                f"batch-norm groups; set a batch size divisible by {self.groups}."
            )
        # Backward still needs what batch_norm was given, so only copies of it may be averaged.
        means, variances = self.running_mean.repeat(parts, 1), self.running_var.repeat(parts, 1)
        pieces = zip(x.chunk(parts), means, variances, strict=True)
        out = torch.cat([self._plain(piece, m, v, share) for piece, m, v in pieces])
        with torch.no_grad():
            self.running_mean.copy_(comm.mean(means.mean(dim=0)))
            self.running_var.copy_(comm.mean(variances.mean(dim=0)))
        return out

    def _plain(self, x: Tensor, mean: Tensor, var: Tensor, share: float) -> Tensor:
        if x.numel() == x.shape[1]:
            raise UsageError(
                f"Batch norm needs more than one value per channel and got a batch of {len(x)}; "
                "set a larger batch size or fewer batch-norm groups."
            )
        return F.batch_norm(
            x, mean, var, self.weight, self.bias, training=True, momentum=share, eps=self.eps
        )

    def _over_ranks(self, x: Tensor, span: int, share: float) -> Tensor:
        """By statistics that `span` neighbouring ranks share, in fp32 or wider."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        reduced = [d for d in range(x.ndim) if d != 1]
        count = x.numel() // x.shape[1] * span
        local = torch.stack([wide.mean(dim=reduced), wide.var(dim=reduced, unbiased=False)])
        mean, var = comm.gather(local[None]).unflatten(0, (-1, span)).unbind(2)  # [groups, span, C]
        var = var.mean(dim=1) + mean.var(dim=1, unbiased=False)
        mean = mean.mean(dim=1)
        with torch.no_grad():
            self.running_mean.lerp_(mean.mean(dim=0).to(self.running_mean.dtype), share)
            unbiased = var.mean(dim=0) * (count / max(1, count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        mine = comm.rank() // span
        factor = (var[mine] + self.eps).rsqrt()
        if self.weight is not None:
            factor = factor * self.weight
        offset = -mean[mine] * factor
        if self.bias is not None:
            offset = offset + self.bias
        shape = [1, -1] + [1] * (x.ndim - 2)
        return torch.addcmul(offset.view(shape), wide, factor.view(shape)).to(x.dtype)


class BatchNormAct(BatchNorm):
    """A `BatchNorm` followed by timm's dropout and activation, as `timm.layers.BatchNormAct2d`."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape."""
        return self.act(self.drop(super().forward(x)))


def convert(module: nn.Module, *, groups: int | None = None) -> nn.Module:
    """Replace every `nn.BatchNorm1d/2d/3d` by a `BatchNorm` that keeps its weights and its name.

    Works in place and returns the module (or its replacement, if it is itself a batch norm).

    Args:
        module: any module.
        groups: of every batch norm in it; None is 1 for those replaced and leaves others alone.

    Raises:
        Unsupported: for a kind of batch norm that we do not know.
    """
    return _convert(module, groups, {})


def _convert(module: nn.Module, groups: int | None, done: dict[nn.Module, nn.Module]) -> nn.Module:
    if module in done:
        return done[module]
    done[module] = module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage] - the only common parent
        done[module] = _ours(module, groups or 1)
        return done[module]
    if isinstance(module, BatchNorm) and groups is not None:
        module.groups = groups
    for name, child in module.named_children():
        replacement = _convert(child, groups, done)
        if replacement is not child:
            module.register_module(name, replacement)
    return module


def _ours(theirs: nn.modules.batchnorm._BatchNorm, groups: int) -> BatchNorm:  # pyright: ignore[reportPrivateUsage] - the only common parent
    # Importing timm takes two seconds, and whoever has one of its encoders has paid them.
    from timm.layers.norm_act import BatchNormAct2d

    plain = type(theirs) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if not (plain or isinstance(theirs, BatchNormAct2d)) or theirs.running_mean is None:
        raise Unsupported(
            f"Batch norm of type {type(theirs).__name__} (running statistics: "
            f"{theirs.running_mean is not None}) cannot be shared over ranks; use an encoder with "
            "nn.BatchNorm2d."
        )
    kind = BatchNorm if plain else BatchNormAct
    ours = kind(
        theirs.num_features,
        scale=theirs.affine,
        shift=theirs.affine,
        eps=theirs.eps,
        momentum=theirs.momentum,
        groups=groups,
    )
    # The tensors themselves, so that an optimiser or an EMA that holds them stays connected.
    for name, parameter in theirs.named_parameters(recurse=False):
        ours.register_parameter(name, parameter)
    for name, buffer in theirs.named_buffers(recurse=False):
        ours.register_buffer(name, buffer)
    for name, child in theirs.named_children():  # timm's drop and act
        ours.add_module(name, child)
    return ours.train(theirs.training)


@torch.no_grad()
def shuffled(f: Callable[[Tensor], Tensor], x: Tensor, *, seed: int) -> Tensor:
    """Apply f to the samples of all ranks in shuffled order, and put its rows back in order.

    With batch norm by groups a query and its key then rarely share statistics, so the loss cannot
    be solved by comparing statistics (He et al. 2020, section 3.3, "Shuffling BN"). No gradient.

    Args:
        f: [B, ...] -> [B, P], row by row but for its batch norms.
        x: [B, ...], this rank's samples.
        seed: what the order depends on, and nothing else; the same on all ranks.

    Returns:
        [B, P], row i for sample i of this rank.
    """
    everything = comm.gather(x)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(everything), generator=generator).to(x.device)
    out = comm.gather(f(everything[comm.share(order)]))
    return out[comm.share(order.argsort())]
