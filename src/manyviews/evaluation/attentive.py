"""A probe that attends: a learned query pools an encoder's frozen tokens, a linear layer reads it.

Where a mean hides what only some places say, as in masked models, it shows what their tokens hold.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Failure, UsageError
from manyviews.core.memory import check_memory
from manyviews.evaluation.linear import hold_out
from manyviews.evaluation.protocols import Settings, classified
from manyviews.evaluation.result import Result, check_split
from manyviews.evaluation.sgd_probe import passes

RATES = (2e-4, 1e-3, 5e-3)
"""For 256 examples a step; three of the ten of facebookresearch/capi eval_classification.py."""
DECAY = 1e-3
"""One of its three."""
EPOCHS = 20
"""facebookresearch/jepa configs/evals/vitl16_in1k.yaml."""
LEAST, MOST = 500, 12_500
"""Steps, whatever the epochs; facebookresearch/capi takes the most."""
BATCH = 128

_Tell = Callable[[int, int], None]


class AttentivePool(nn.Module):
    """Cross-attention of one learned query to tokens, and a linear layer.

    Tokens are normed first, each over its D numbers, without factor and offset: so the result does
    not depend on their scale, which differs from block to block.

    Attributes:
        query: [D].
        kv: to keys and values.
        linear: to scores of classes.

    Source: facebookresearch/capi eval_classification.py (`AttnPoolClassifier`). V-JEPA's
    (Bardes et al. 2024, section 4.1) has a residual MLP behind it.
    """

    def __init__(self, dim: int, classes: int) -> None:
        """Build it with 64 numbers a head, or one head where they do not divide D."""
        super().__init__()
        self.heads = dim // 64 if dim % 64 == 0 else 1
        self.query = nn.Parameter(torch.empty(dim))
        self.kv, self.linear = nn.Linear(dim, 2 * dim), nn.Linear(dim, classes)
        for weight in (self.query, self.kv.weight, self.linear.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        for bias in (self.kv.bias, self.linear.bias):
            nn.init.zeros_(bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] -> [B, C]."""
        normed = F.layer_norm(tokens, tokens.shape[-1:])
        shape = (len(tokens), tokens.shape[1], 2, self.heads, -1)
        key, value = self.kv(normed).view(shape).permute(2, 0, 3, 1, 4)
        query = self.query.view(1, self.heads, 1, -1).expand(len(tokens), -1, -1, -1)
        pooled = F.scaled_dot_product_attention(query, key, value)
        return self.linear(pooled.flatten(1))


@dataclass(frozen=True)
class AttentiveFit:
    """How a probe is trained.

    Attributes:
        rate: the peak, for 256 examples a step.
        steps: in all; the rate rises over a tenth of them and falls to 0 by a cosine.
        seed: of first weights and order.
        device: where it computes.
        progress: told (steps done, steps in all).
    """

    rate: float
    steps: int
    seed: int
    device: torch.device
    progress: _Tell | None = None


def train_pool(x: Tensor, y: Tensor, *, classes: int, how: AttentiveFit) -> AttentivePool:
    """Train a probe on tokens [N, T, D] and classes [N]: AdamW, biases without decay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        probe = AttentivePool(x.shape[2], classes).to(how.device)
    batch = min(BATCH, len(x))
    peak = how.rate * batch / 256
    named = dict(probe.named_parameters())
    groups = [
        {"params": [p for k, p in named.items() if "bias" not in k], "weight_decay": DECAY},
        {"params": [p for k, p in named.items() if "bias" in k], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(how.seed)
    epochs = math.ceil(how.steps / (len(x) // batch))
    order = passes(len(x), batch=batch, epochs=epochs, whole=True, generator=generator)
    for step, (_, rows) in zip(range(how.steps), order, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = peak * _share(step, how.steps)
        scores = probe(x[rows].to(how.device))
        loss = F.cross_entropy(scores, y[rows].to(how.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if how.progress is not None:
            how.progress(step + 1, how.steps)
    return probe.eval()


@torch.inference_mode()
def predict(probe: AttentivePool, x: Tensor) -> Tensor:
    """Class [N] int64 of tokens [N, T, D], on their device."""
    at = probe.query.device
    return torch.cat([probe(part.to(at)).argmax(dim=1).to(x.device) for part in x.split(BATCH)])


def attentive(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    *,
    rates: Sequence[float] = RATES,
    steps: int = 0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: _Tell | None = None,
) -> Result:
    """Fit the probe on training tokens and test it, at the rate that suits held-out labels best.

    Nothing is chosen on the test part: the rate that is best on training labels held out by class
    is trained with again, on all of them.

    Args:
        train_x: [N, T, D] float.
        train_y: [N] int64.
        test_x: [Q, T, D] float.
        test_y: [Q] int64.
        rates: learning rates for 256 examples; one is used as it is.
        steps: of each training; 0 for 20 epochs, but from 500 to 12,500 steps.
        seed: of the held-out part, first weights and order.
        device: where the probe computes.
        progress: told (steps done, steps in all) of each training.

    Raises:
        UsageError: no tokens, or labels that cannot be used.
        Failure: the loss is no longer a number.
    """
    for name, x in (("training", train_x), ("test", test_x)):
        if x.ndim != 3:
            raise UsageError(
                f"The {name} features have shape {tuple(x.shape)}; attentive wants tokens "
                "[N, T, D]. Take an encoder that has some."
            )
    check_split(train_x.flatten(1), train_y, test_x.flatten(1), test_y)
    began = time.perf_counter()
    classes, at = int(train_y.max()) + 1, torch.device(device)
    rate, tried = rates[0], dict[float, float]()

    def fitted(x: Tensor, y: Tensor, rate: float) -> AttentivePool:
        wanted = steps or min(MOST, max(LEAST, EPOCHS * (len(x) // min(BATCH, len(x)))))
        how = AttentiveFit(rate, wanted, seed, at, progress)
        return train_pool(x, y, classes=classes, how=how)

    if len(rates) > 1:
        held = hold_out(train_y, share=0.1, seed=seed)
        own = ~held
        judged = held if held.any() else own  # too few labels to spare any
        for one in rates:
            right = predict(fitted(train_x[own], train_y[own], one), train_x[judged])
            tried[one] = float((right == train_y[judged]).double().mean())
        rate = max(tried, key=lambda one: tried[one])
    probe = fitted(train_x, train_y, rate)
    if not all(p.isfinite().all() for p in probe.parameters()):
        raise Failure("The protocol attentive diverged. Give smaller rates.")
    settings: Settings = {"lr for 256": rate, "tokens": train_x.shape[1], "seed": seed}
    settings |= {f"held_out_accuracy_at_{one:g}": found for one, found in tried.items()}
    return classified("attentive", 1, predict(probe, test_x), train_y, test_y, began, settings)


def check_tokens(count: int, shape: Sequence[int]) -> None:
    """Refuse tokens that memory would not hold.

    Args:
        count: examples of both parts.
        shape: of one's tokens, (T, D).

    Raises:
        UsageError: they are too many, or an example has none.
    """
    if not math.prod(shape):
        raise UsageError("This encoder makes no tokens to attend to. Use --protocol linear.")
    check_memory(
        count,
        math.prod(shape),
        what="Tokens",
        advice="Give fewer examples, a smaller --image-size, or --protocol linear.",
    )


def _share(step: int, steps: int) -> float:
    """Of the peak rate: a tenth of the steps up, then a cosine down to 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
