"""What follows from another batch size than a recipe's, by which rule, and what does not follow."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from manyviews.core.schedules import Cosine, Ramp
from manyviews.runs.settings import AnyRun


def lines(run: AnyRun, recipe: AnyRun) -> list[str]:
    """A line for each number that depends on the batch size; none where that is the recipe's.

    The learning rate follows the batch linearly (Goyal et al. 2017, arXiv:1706.02677) where the
    recipe ties it to one. A slow copy's momentum does not follow: m^k, for k times the batch, would
    keep what it remembers the same in samples (Busbridge et al. 2023, arXiv:2307.13813).

    Args:
        run: as it will be trained.
        recipe: as the recipe had it, on the same data.
    """
    now, before = run.data.batch_size, recipe.data.batch_size
    if now == before:
        return []
    return [f"batch {now} for the recipe's {before}: {line}" for line in _each(run, now, before)]


def _each(run: AnyRun, now: int, before: int) -> Iterator[str]:
    optim = run.optim
    if optim.lr_per:
        yield (
            f"peak lr {optim.lr * now / optim.lr_per:.3g} for "
            f"{optim.lr * before / optim.lr_per:.3g}, by the linear rule "
            f"(--optim.lr {optim.lr:g} x batch / {optim.lr_per})"
        )
    else:
        linear = optim.lr * now / before
        yield (
            f"peak lr {optim.lr:g} as it was (--optim.lr-per 0); the linear rule would give "
            f"--optim.lr {linear:.3g}"
        )
    for name, schedule in _schedules(run.method):
        flag, span = f"--method.{name.replace('_', '-')}", f"{schedule.start:g} to {schedule.end:g}"
        if name.endswith("momentum"):
            kept = schedule.start ** (now / before)
            yield (
                f"{flag} {span} as it was, which is per step; the same memory in samples would be "
                f"{flag}.start {kept:.5g} (m^k, for k = {now} / {before})"
            )
        else:
            yield f"{flag} {span} as it was: {_over(schedule)}, at any batch size"
    if run.optim.warmup:
        yield f"warm-up over {optim.warmup:.0%} of training, at any batch size"


def _schedules(method: Any) -> list[tuple[str, Cosine | Ramp]]:
    """Of a method's settings those that change over training."""
    found = [(field.name, getattr(method, field.name)) for field in fields(method)]
    return [(name, value) for name, value in found if isinstance(value, Cosine | Ramp)]


def _over(schedule: Cosine | Ramp) -> str:
    if isinstance(schedule, Cosine):
        return "half a cosine over training"
    return f"a ramp over the first {schedule.fraction:.0%} of training"
