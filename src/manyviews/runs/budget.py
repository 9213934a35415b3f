"""What a training's duration buys, in the words that people plan with."""

import math
from dataclasses import replace

from manyviews.core.nouns import noun_of
from manyviews.core.passes import passes, round_passes
from manyviews.core.settings import parts, struct
from manyviews.diagnosis.verdict import FEW
from manyviews.encoders.choice import QUICK, multiply_adds
from manyviews.runs.settings import AnyRun

_PASSES = 100
"""Passes over the data whose time is told."""
_STEP = 3.0
"""What a training step costs, in forward passes."""
_MUCH = 2.0
"""How much cheaper the small encoder has to be to be worth a word."""


def words(
    run: AnyRun, *, samples: int, speed: float, device: str, estimated: bool = False
) -> list[str]:
    """How far a run's duration goes, how long many passes take, and whether those are few.

    Args:
        run: with its duration.
        samples: of the data.
        speed: in samples/s.
        device: where it trains; the small encoder is named on a CPU alone.
        estimated: nobody has measured the speed.
    """
    span, batch = run.train, min(run.data.batch_size, samples)
    epoch = samples // batch  # steps: the last, smaller batch is left out
    each = samples / speed
    about = "roughly" if estimated else "about"
    noun = noun_of(plan.of for plan in parts(run.views).values())
    over = f"passes over your {samples:,} {noun.many}"
    steps = span.steps or span.epochs * epoch or 60 * span.minutes * speed / batch
    seen = passes(steps, batch=batch, samples=samples)
    if span.minutes:
        is_ = "is" if span.minutes == 1 else "are"
        said = f"{minutes_of(span.minutes)} {is_} {about} {steps:,.0f} steps, "
        said += f"{round_passes(seen)} {over}"
    else:
        said = f"{round_passes(seen)} {over} take {about} {time_of(seen * each)}"
    said += f"; {_PASSES} passes take {time_of(_PASSES * each)}"
    cost, quick = _cost(run), _cost(_with_quick(run))
    if device == "cpu" and quick and cost > _MUCH * quick:
        less = time_of(_PASSES * each * quick / cost)
        said += f", with {QUICK.name} at {QUICK.input.side} px {less}"
    if seen >= FEW:
        return [f"{said}."]
    of_epoch = passes(epoch, batch=batch, samples=samples)
    flag = f"--train.epochs {math.ceil(FEW / of_epoch)}"
    if span.minutes:
        flag = f"--train.minutes {math.ceil(FEW * each / 60)}"
    return [
        f"{said}.",
        f"That is little: below {FEW:.0f} passes, train longer first: {flag}.",
    ]


def estimate(run: AnyRun, speed: float) -> float:
    """Samples/s that a machine may train at; 0 where nothing is known of it or of the encoder.

    Args:
        run: its views and encoder.
        speed: of the machine, as in `Facts`.
    """
    cost = _cost(run)
    return speed / (_STEP * cost) if cost else 0.0


def _cost(run: AnyRun) -> float:
    """Multiply-adds of a sample's views on their way forward; 0 where that is not known."""
    encoders = parts(run.encoders)
    found = 0.0
    for family in parts(run.views).values():
        config = encoders.get(family.to)
        cost = multiply_adds(config)
        if config is None or not cost:
            return 0.0
        side = getattr(family, "size", 0) or config.input.side
        found += family.count * cost * (side / config.input.side) ** 2
    return found


def _with_quick(run: AnyRun) -> AnyRun:
    """The same run on the small encoder."""
    sides = {name: getattr(each.input, "side", 0) for name, each in parts(run.encoders).items()}
    if len(sides) != 1 or not _cost(run):
        return run
    [(name, side)] = sides.items()
    views = {
        key: replace(family, size=family.size * QUICK.input.side // side)
        if getattr(family, "size", 0)
        else family
        for key, family in parts(run.views).items()
    }
    encoders = struct("Encoders", {name: QUICK})
    return replace(run, encoders=encoders, views=struct("Views", views))


def minutes_of(minutes: float) -> str:
    """What a training may take: 1 minute, 2.5 minutes."""
    return "1 minute" if minutes == 1 else f"{minutes:g} minutes"


def time_of(seconds: float) -> str:
    """Seconds as people say them: 2 h 14 min, 12 min, 40 s; days from two on."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= 48 * 60:
        return f"{minutes / 1440:,.0f} days"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
