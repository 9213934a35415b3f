"""`manyviews doctor`: look at data, and at what bounds this machine, before training."""

import shlex
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.verbs.parse import Flag, Positional
from manyviews.verbs.train import recipe_of

if TYPE_CHECKING:
    from manyviews.runs.settings import AnyRun
    from manyviews.verbs.bench import Bench


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What `doctor` found, and the recipe that it would use.

    Attributes:
        report: prints as lines and is a dataclass.
        advice: what to do next, a line each.
    """

    report: Any
    advice: list[str]

    def lines(self) -> list[str]:
        """For people."""
        return [*self.report.lines(), *self.advice]


def doctor(
    data: Positional[str],
    recipe: Positional[str] = "simclr",
    *,
    bench: Flag = False,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    sample: int = 0,
) -> "Examined | Bench":
    """Look at DATA: unreadable files, sizes, channels, duplicates, mean and std.

    Of videos and sounds, for a recipe that takes them: unreadable files, lengths and sizes.

    With --bench: what bounds training on this machine, and what to change.

    Args:
        data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
        recipe: what to recommend, or to measure.
        bench: measure decoding, views, copies and steps, in less than a minute.
        channels: bring images to this many; 0 takes what most have.
        max_pixels: larger images are refused from their header.
        sample: examine only this many images, evenly spread; 0 examines all.
    """
    make = recipe_of(recipe)
    from manyviews.core.settings import override
    from manyviews.data import doctor as doctoring
    from manyviews.recipes import streams_of
    from manyviews.runs.facts import facts

    if bench:
        from manyviews.verbs import bench as benching

        seen = facts(data, streams_of(recipe), channels=channels, max_pixels=max_pixels)
        return benching.bench(override(make(seen), {"data.max_pixels": max_pixels}))
    streams = streams_of(recipe)
    if streams != ("image",):
        from manyviews.data.doctor_media import media_doctor

        seen = facts(data, streams)
        found = media_doctor(data, streams, sample=sample)
        return Examined(report=found, advice=_advice(recipe, data, make(seen), seen.device))
    examine = partial(doctoring.doctor, data, max_pixels=max_pixels, sample=sample)
    try:
        seen = facts(data, channels=channels, max_pixels=max_pixels)
    except UsageError:
        # No image of a sample can be read. The report says why, unless there are no files at all.
        found = examine(channels=channels or 3)
        return Examined(report=found, advice=["too few readable images to train on"])
    found = examine(channels=seen.channels)
    advice = _advice(recipe, data, make(seen), seen.device, channels=channels)
    return Examined(report=found, advice=advice)


def _advice(recipe: str, data: str, run: "AnyRun", device: str, *, channels: int = 0) -> list[str]:
    """What to type, and what that would train."""
    from manyviews.core.inputs import LogMel
    from manyviews.core.settings import parts

    flag = f" --data.channels {channels}" if channels else ""
    encoders = [
        f"{e.name} on {e.input.seconds:g} s"
        if isinstance(e.input, LogMel)
        else f"{e.name} at {e.input.shape[-1]} px"
        for e in parts(run.encoders).values()
    ]
    return [
        f"train: manyviews train {recipe} --data {shlex.quote(data)}{flag}",
        f"that takes {' + '.join(encoders)}, batch {run.data.batch_size}, on {device}",
    ]
