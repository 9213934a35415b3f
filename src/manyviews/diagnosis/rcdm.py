"""RCDM: images that have given features, by a diffusion model that was told features.

What stays the same in many samples of one image's features is in the features, and what changes is
not: so one sees what a representation keeps and what it throws away.

Source: Bordes, Balestriero and Vincent 2022, "High fidelity visualization of what your
self-supervised representation knows about" (2112.09164), facebookresearch/RCDM@71daaf1. Here for
thumbnails on a CPU: the cosine schedule and v-prediction with a fixed variance instead of a learnt
one, standardised features, 10 % of them left out so that sampling can be guided, DDIM.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core.errors import UsageError
from manyviews.diagnosis.unet import Denoiser

DROPPED = 0.1
"""Of the features in training, for guidance."""


@dataclass(frozen=True)
class Rcdm:
    """A model that was fitted to one kind of features.

    Attributes:
        model: the moving average of what was trained.
        mean, scale: [D], what features are standardised by.
        side: of its images.
        steps: that it was trained.
        loss: mean over the last tenth of the steps; about 1 for a model that knows nothing.
    """

    model: Denoiser
    mean: Tensor
    scale: Tensor
    side: int
    steps: int
    loss: float

    @torch.inference_mode()
    def sample(
        self,
        features: Tensor,
        *,
        count: int,
        steps: int = 25,
        guidance: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """`count` images of each row of features, [N, count, C, S, S] in [0, 1].

        Every row has the same noise, so that a column differs by features alone.

        Args:
            features: [N, D], as the model was fitted to.
            count: images of each.
            steps: of DDIM.
            guidance: 1 for none; above it samples follow features more and differ less.
            seed: of the noise.
        """
        generator = torch.Generator().manual_seed(seed)
        channels = self.model.out.out_channels
        noise = torch.randn(count, channels, self.side, self.side, generator=generator)
        device = self.mean.device
        x = noise.to(device).repeat(len(features), 1, 1, 1)
        h = ((features.to(device) - self.mean) * self.scale).repeat_interleave(count, dim=0)
        told = torch.ones(len(x), dtype=torch.bool, device=device)
        times = torch.linspace(1, 0, steps + 1, device=device)
        for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            t = torch.full((len(x),), now, device=device)
            v = self.model(x, t, h, told)
            if guidance != 1:
                blind = self.model(x, t, h, ~told)
                v = blind + guidance * (v - blind)
            signal, noise_level = _levels(now)
            clean = (signal * x - noise_level * v).clamp(-1, 1)
            if noise_level > 0 and then > 0:
                left = (x - signal * clean) / noise_level
                ahead, ahead_noise = _levels(then)
                x = ahead * clean + ahead_noise * left
            else:
                x = clean
        return (x.unflatten(0, (len(features), count)) + 1).div(2).clamp(0, 1)


def fit(
    images: Tensor,
    features: Tensor,
    *,
    steps: int = 3000,
    minutes: float = 0.0,
    batch_size: int = 64,
    width: int = 32,
    lr: float = 2e-4,
    decay: float = 0.999,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Rcdm:
    """Train a model to make images from their features.

    Args:
        images: [N, C, S, S] in [0, 1]; S a multiple of 4.
        features: [N, D] of these images.
        steps: of training.
        minutes: at which training ends, if that is sooner; 0 for no such end.
        batch_size: images a step.
        width: channels of the first level.
        lr: of Adam.
        decay: of the moving average of the weights, which rises to this.
        seed: of weights, order and noise.
        tell: told (steps done, steps in all); of steps that the minutes will cut off, as many count
            as done as the share of the time that has gone.

    Raises:
        UsageError: a side that is no multiple of 4, or features that are not of these images.
    """
    side = images.shape[-1]
    if side % 4 or len(images) != len(features) or len(images) < 2:
        raise UsageError(
            f"RCDM has {len(images)} images of {side} pixels and {len(features)} rows of features; "
            "wanted as many, 2 or more, of a side that 4 divides."
        )
    mean, scale = features.mean(dim=0), 1 / features.std(dim=0).clamp_min(1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Denoiser(images.shape[1], features.shape[1], width=width).to(images.device)
    kept = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    start, limit = time.monotonic(), 60 * minutes if minutes else math.inf
    for step in range(steps):
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        x = images[rows] * 2 - 1
        h = (features[rows] - mean) * scale
        loss = _loss(model, x, h, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        _follow(kept, model, min(decay, (1 + step) / (10 + step)))
        gone = (time.monotonic() - start) / limit
        if tell is not None:
            tell(max(step + 1, int(steps * min(1.0, gone))), steps)
        if gone > 1:
            break
    last = losses[-max(1, len(losses) // 10) :]
    return Rcdm(kept.eval(), mean, scale, side, len(losses), sum(last) / len(last))


def _loss(model: Denoiser, x: Tensor, h: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of the velocity, over times drawn evenly (v-prediction, 2202.00512)."""
    drawn = torch.rand(2, len(x), generator=generator).to(x.device)
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    t, told = drawn[0], drawn[1] >= DROPPED
    angle = (0.5 * math.pi * t)[:, None, None, None]
    noisy = angle.cos() * x + angle.sin() * noise
    velocity = angle.cos() * noise - angle.sin() * x
    return F.mse_loss(model(noisy, t, h, told), velocity)


def _levels(at: float) -> tuple[float, float]:
    """Of the signal and of the noise at a time: the cosine schedule."""
    return math.cos(0.5 * math.pi * at), math.sin(0.5 * math.pi * at)


@torch.no_grad()
def _follow(kept: Denoiser, model: Denoiser, decay: float) -> None:
    for mine, its in zip(kept.parameters(), model.parameters(), strict=True):
        mine.lerp_(its, 1 - decay)


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How much of an image's features its samples have, and how much they differ.

    Attributes:
        rank: mean reciprocal rank of the image itself among all, by the distance of a sample's
            features to theirs; 1 where every sample is nearest its own image.
        most: the same of real second views of the images.
        least: the same where samples are given to other images: chance.
        spread: mean distance of two samples of an image in pixels, over that of two images.
    """

    rank: float
    most: float
    least: float
    spread: float

    def __str__(self) -> str:
        return (
            f"reciprocal rank of samples {self.rank:.2f} (second views {self.most:.2f}, "
            f"chance {self.least:.2f}); samples of one image differ by {self.spread:.2f} of what "
            "two images do"
        )


def kept_of(
    samples: Tensor, found: Tensor, features: Tensor, views: Tensor, images: Tensor
) -> Fidelity:
    """Judge samples by the features that the encoder finds in them.

    Args:
        samples: [N, K, C, S, S] of N images.
        found: [N, K, D] features of the samples.
        features: [G, D] features of a gallery, of which the first N are of those images.
        views: [N, D] features of real second views of the N images.
        images: [N, C, S, S] the images.
    """
    n, k = found.shape[:2]
    own = torch.arange(n)
    flat, order = found.flatten(0, 1), own.repeat_interleave(k)
    other = own.roll(1).repeat_interleave(k)
    return Fidelity(
        rank=_reciprocal(flat, features, order),
        most=_reciprocal(views, features, own),
        least=_reciprocal(flat, features, other),
        spread=_apart(samples.flatten(2)) / _apart(images.flatten(1)[None]),
    )


def _reciprocal(queries: Tensor, gallery: Tensor, own: Tensor) -> float:
    distances = torch.cdist(queries.float(), gallery.float())
    mine = distances.gather(1, own[:, None].to(distances.device))
    return float((1 / (1 + (distances < mine).sum(dim=1)).double()).mean())


def _apart(x: Tensor) -> float:
    """Mean root of the mean squared difference of two rows of each [G, K, P]."""
    count = x.shape[1]
    distances = torch.cdist(x.float(), x.float()) / x.shape[2] ** 0.5
    return float(distances.sum() / (len(x) * count * max(1, count - 1)))
