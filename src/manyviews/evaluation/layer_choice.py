"""What an encoder has made of a sample after any of its blocks, and which block says most."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError
from manyviews.core.depth import layers_of
from manyviews.evaluation.features import Embed, extract
from manyviews.evaluation.knn import knn
from manyviews.evaluation.labelled import Labelled
from manyviews.evaluation.linear import hold_out, linear_probe
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Pipeline

log = logging.getLogger("manyviews")

Pool = Literal["mean", "class"]

HELD = 0.2
"""Of the training labels, what blocks are compared on."""
CHOOSERS = 10_000
"""Training examples that a layer is chosen with, at most."""
CELLS = 2**28
"""Numbers of all layers that are held at once, 1 GB."""


@dataclass(frozen=True, order=True)
class Tap:
    """Where in an encoder features are taken.

    Attributes:
        block: from 1.
        pool: the mean of its tokens or of its map, or its class token.
    """

    block: int
    pool: Pool = "mean"

    def __str__(self) -> str:
        return f"block {self.block}, {'class token' if self.pool == 'class' else 'mean'}"


def blocks_of(encoder: Encoder) -> list[nn.Module]:
    """An encoder's blocks in their order, those of `Encoder.by_depth` behind its stem.

    Of a block that is no module by itself, as a convolution beside its norm, it is the last one.

    Raises:
        UsageError: the encoder does not say which layers it has.
    """
    names = {id(p): name for name, p in encoder.named_parameters()}
    found: list[nn.Module] = []
    for layer in layers_of(encoder, "Leave out --layer.")[1:]:
        own = [names[id(p)] for p in layer]
        whole = encoder.get_submodule(_common(own))
        alone = {id(p) for p in whole.parameters()} <= {id(p) for p in layer}
        found.append(whole if alone else encoder.get_submodule(own[-1].rpartition(".")[0]))
    return found


def taps(encoder: Encoder) -> list[Tap]:
    """All taps of an encoder: the mean of each block, then its class token where there is one.

    Raises:
        UsageError: as `blocks_of`.
    """
    numbers = range(1, len(blocks_of(encoder)) + 1)
    with torch.inference_mode():
        one = next(encoder.parameters())
        classed = encoder(one.new_zeros(1, *encoder.input.shape)).class_token is not None
    pools: tuple[Pool, ...] = ("mean", "class") if classed else ("mean",)
    return [Tap(number, pool) for pool in pools for number in numbers]


def tap_of(encoder: Encoder, block: int, pool: Pool | None = None) -> Tap:
    """One tap; its pool that of the encoder's output, if none is given.

    Raises:
        UsageError: there is no such block, or no class token.
    """
    known = taps(encoder)
    count = max(tap.block for tap in known)
    if not 1 <= block <= count:
        raise UsageError(
            f"--layer is {block} and the encoder has {count} blocks. Give 1 to {count}, or best."
        )
    own: Pool = "class" if getattr(encoder, "pool", "mean") == "cls" else "mean"
    tap = Tap(block, pool or own)
    if tap not in known:
        raise UsageError("--pool is class, and the encoder has no class token. Give mean.")
    return tap


def embed_at(encoder: Encoder, wanted: Sequence[Tap]) -> Callable[[Tensor], list[Tensor]]:
    """What the encoder is fed, [B, *shape], to the features [B, D] of each tap.

    Tokens [B, N, D] are averaged without those that stand before them (class token, registers),
    maps over all of their places. It is what the next block is given: no norm is added.
    """
    look = _outputs(encoder, {tap.block for tap in wanted})

    def embed(x: Tensor) -> list[Tensor]:
        found = look(x)
        return [
            _pooled(found.of[p.block], p.pool, extra=found.extra, at_end=found.at_end)
            for p in wanted
        ]

    return embed


def tokens_at(encoder: Encoder, tap: Tap | None) -> Embed:
    """What the encoder is fed, [B, *shape], to its tokens [B, N, D], or a block's.

    Without those that stand before them; the places of a map are its tokens, row by row.
    """
    if tap is None:
        return lambda x: encoder(x).tokens
    look = _outputs(encoder, {tap.block})

    def embed(x: Tensor) -> Tensor:
        found = look(x)
        out = found.of[tap.block]
        if out.ndim == 3:
            return out[:, found.extra :]
        return out.flatten(1, -2) if found.at_end else out.flatten(2).transpose(1, 2)

    return embed


@dataclass(frozen=True)
class _Outputs:
    """What blocks put out, by number.

    Attributes:
        of: block -> tokens or a map.
        extra: how many tokens stand before those of places.
        at_end: whether channels lie last in maps.
    """

    of: Mapping[int, Tensor]
    extra: int
    at_end: bool


def _outputs(encoder: Encoder, blocks: set[int]) -> Callable[[Tensor], _Outputs]:
    """What the encoder is fed, [B, *shape], to what these blocks and the last one put out."""
    modules = blocks_of(encoder)

    def look(x: Tensor) -> _Outputs:
        seen: dict[int, Tensor] = {}
        # the last block too: what it puts out tells the extra tokens and where channels lie
        numbers = blocks | {len(modules)}
        hooks = [modules[n - 1].register_forward_hook(_keep(seen, n)) for n in sorted(numbers)]
        try:
            tokens = encoder(x).tokens
        finally:
            for hook in hooks:
                hook.remove()
        last = seen.get(len(modules))
        if len(seen) < len(numbers) or last is None:
            raise UsageError(
                f"The blocks of {type(encoder).__name__} put out no tensors. Leave out --layer."
            )
        extra = last.shape[1] - tokens.shape[1] if last.ndim == 3 else 0
        return _Outputs(seen, extra, tuple(last.shape[1:-1]) == tuple(encoder.grid))

    return look


def only_at(encoder: Encoder, tap: Tap) -> Embed:
    """As `embed_at`, of one tap: [B, *shape] -> [B, D]."""
    embed = embed_at(encoder, [tap])
    return lambda x: embed(x)[0]


@dataclass(frozen=True, kw_only=True)
class LayerScores:
    """How taps compare on training labels that were held out.

    Attributes:
        fitted: training examples that learned.
        held: training examples that were compared on.
        scores: tap -> its kNN and its linear accuracy, in [0, 1].
    """

    fitted: int
    held: int
    scores: Mapping[Tap, tuple[float, float]]

    def best(self, *, nearest: bool) -> Tap:
        """The tap of the best kNN, or linear, accuracy; of equals the one furthest in."""
        return max(self.scores, key=lambda tap: (self.scores[tap][not nearest], tap))

    def lines(self) -> list[str]:
        """A table for people."""
        first = f"on {self.held} training labels held out of {self.fitted + self.held}"
        rows = [f"  {p!s:<22}{k:>8.4f}{linear:>8.4f}" for p, (k, linear) in self.scores.items()]
        return [f"{first:<24}", f"  {'':<22}{'kNN':>8}{'linear':>8}", *rows]

    def to_json(self) -> dict[str, object]:
        """Plain numbers and text."""
        rows = [
            {"block": p.block, "pool": p.pool, "knn": k, "linear": linear}
            for p, (k, linear) in self.scores.items()
        ]
        return {"fitted": self.fitted, "held": self.held, "taps": rows}


def compare_taps(features: Mapping[Tap, Tensor], labels: Tensor, *, seed: int = 0) -> LayerScores:
    """Compare taps on a fifth of the training labels that is held out by class.

    Args:
        features: of the same training examples, [N, D] of each tap.
        labels: [N] int64.
        seed: of what is held out.

    Raises:
        UsageError: labels that are sets, or too few to hold any out.
    """
    if labels.ndim != 1:
        raise UsageError("--layer best wants one label an image. Give a number.")
    held = hold_out(labels, share=HELD, seed=seed)
    if not held.any():
        raise UsageError(
            f"{len(labels)} training labels are too few to choose a layer by. Give a number."
        )
    fit_y, held_y = labels[~held], labels[held]

    def score(x: Tensor) -> tuple[float, float]:
        fit_x, held_x = x[~held], x[held]
        near = knn(fit_x, fit_y, held_x, k=min(20, len(fit_x)))
        linear, _ = linear_probe(fit_x, fit_y, held_x, seed=seed)
        return _share(near == held_y), _share(linear == held_y)

    scores = {tap: score(x) for tap, x in features.items()}
    return LayerScores(fitted=len(fit_y), held=len(held_y), scores=scores)


def compare_layers(
    encoder: Encoder,
    part: Labelled,
    *,
    pool: Pool | None = None,
    fixed: Pipeline | None = None,
    batch_size: int = 256,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
    warn: Callable[[str], object] = log.warning,
) -> LayerScores:
    """Compare all blocks of an encoder on a labelled part, which must be the training one.

    Args:
        encoder: frozen, on the device.
        part: of it up to `CHOOSERS` samples are taken, drawn with a fixed seed.
        pool: only such; None for all.
        fixed: makes the views whose features are averaged; None for the one of evaluation.
        batch_size: samples at a time.
        device: where the encoder is.
        progress: told (samples done, samples in all).
        workers: processes that read ahead.
        warn: told what cannot be read.

    Raises:
        UsageError: as `tap_of` and `compare_taps`.
    """
    wanted = [tap for tap in taps(encoder) if pool in (None, tap.pool)]
    wanted = wanted or [tap_of(encoder, 1, pool)]  # which says why there is none
    embed = embed_at(encoder, wanted)
    with torch.inference_mode():
        one = embed(torch.zeros(1, *encoder.input.shape, device=device))
    widths = [features.shape[1] for features in one]
    rows = min(len(part), CHOOSERS, max(2, CELLS // sum(widths)))
    drawn = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:rows]
    found = extract(
        lambda x: torch.cat(embed(x), dim=1),
        part.source,
        fixed or plain_of(encoder.input),
        rows=drawn.sort().values.tolist(),
        batch_size=batch_size,
        device=device,
        progress=progress,
        workers=workers,
        warn=warn,
    )
    apart = found.features.split(widths, dim=1)
    return compare_taps(dict(zip(wanted, apart, strict=True)), part.labels[found.index])


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _common(names: Sequence[str]) -> str:
    """The module that holds all parameters of these names; "" for none."""
    split = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _keep(seen: dict[int, Tensor], number: int) -> Callable[..., None]:
    def hook(_: nn.Module, args: object, out: object) -> None:
        if isinstance(out, Tensor):
            seen[number] = out

    return hook


def _pooled(x: Tensor, pool: Pool, *, extra: int, at_end: bool) -> Tensor:
    """Tokens [B, extra + N, D], or a map [B, D, ...] ([B, ..., D] with `at_end`), to [B, D]."""
    if pool == "class":
        return x[:, 0]
    if x.ndim == 3:
        return x[:, extra:].mean(dim=1)
    return x.mean(dim=tuple(range(1, x.ndim - 1)) if at_end else tuple(range(2, x.ndim)))
