"""`manyviews doctor`: look at data, and at what bounds this machine, before training."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.core.in_words import InWords
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.verbs.parse import Flag, Positional
from manyviews.verbs.train import check_recipe, recipe_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manyviews.core.sample import Window
    from manyviews.runs.settings import AnyRun, Facts
    from manyviews.verbs.bench import Bench


_RECIPES: dict[tuple[str, ...], str] = {
    ("image",): "simclr",
    ("video",): "rho-simclr",
    ("audio",): "audio-simclr",
    ("points",): "depthcontrast",
}
"""Stream that data have -> the recipe that is recommended where none is named."""


@dataclass(frozen=True, kw_only=True)
class Examined(InWords):
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
    data: Positional[str | Path],
    recipe: Positional[str] = "",
    *,
    bench: Flag = False,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    sample: int = 0,
) -> "Examined | Bench":
    """Look at DATA: unreadable files, sizes, channels, duplicates, mean and std.

    Of videos, alone or with their sound for a recipe that takes both: unreadable files, lengths,
    how many have room for the recipe's clips, rates, sizes, codecs, key frames, copies. Of sounds:
    unreadable files, lengths, rates, channels, levels, silence, clipping, copies. Of clouds of
    points: their numbers, extents, what is not finite, copies.

    With --bench: what bounds training on this machine, and what to change.

    Args:
        data: a folder, a text file of paths, frames:DIR@RATE, fashion-mnist:DIR or builtin:fashion.
        recipe: what to recommend, or to measure; left out, SimCLR for what most of the files are.
        bench: measure decoding, views, copies and steps, in less than a minute.
        channels: bring images to this many; 0 takes what most have.
        max_pixels: larger images are refused from their header.
        sample: examine only this many images, evenly spread; 0 examines all.
    """
    data = str(data)
    if recipe:
        check_recipe(recipe)  # a word that is none is said first
    check_there(data)
    from manyviews.core.settings import override
    from manyviews.data.doctor import images
    from manyviews.data.sources import kind_of
    from manyviews.recipes import streams_of
    from manyviews.runs.facts import facts

    recipe = recipe or _RECIPES[kind_of(data)]
    make = recipe_of(recipe)
    if bench:
        from manyviews.verbs import bench as benching

        seen = facts(data, streams_of(recipe), channels=channels, max_pixels=max_pixels)
        return benching.bench(override(make(seen), {"data.max_pixels": max_pixels}))
    streams = streams_of(recipe)
    if streams != ("image",):
        seen = facts(data, streams)
        run = make(seen)
        found = _look_at(data, streams, run, sample)
        return Examined(report=found, advice=_advice(recipe, data, run, seen))
    examine = partial(images.doctor, data, max_pixels=max_pixels, sample=sample)
    try:
        seen = facts(data, channels=channels, max_pixels=max_pixels)
    except UsageError:
        # No image of a sample can be read. The report says why, unless there are no files at all.
        found = examine(channels=channels or 3)
        return Examined(report=found, advice=["too few readable images to train on"])
    found = examine(channels=seen.channels)
    chosen: list[str] = []
    run = make(replace(seen, say=chosen.append))
    advice = [*chosen, *_advice(recipe, data, run, seen, channels=channels)]
    return Examined(report=found, advice=advice)


def _look_at(data: str, streams: tuple[str, ...], run: "AnyRun", sample: int) -> Any:
    """What is found of files of these streams."""
    from manyviews.data.doctor.clouds import cloud_doctor
    from manyviews.data.doctor.media import media_doctor
    from manyviews.data.doctor.sounds import sound_doctor
    from manyviews.data.doctor.videos import video_doctor

    of_one = {
        "points": partial(cloud_doctor, streams=streams),
        "audio": sound_doctor,
        "video": partial(video_doctor, streams=streams, plan=_plan(run)),
    }
    return of_one.get(streams[0], partial(media_doctor, streams=streams))(data, sample=sample)


def _plan(run: "AnyRun") -> "Callable[[float], Sequence[Window]]":
    """What the run cuts out of a video of so many seconds."""
    from manyviews.runs.assemble import pipeline_of

    pipeline = pipeline_of(run)
    return lambda span: pipeline.asks("video", span=span)


def _advice(
    recipe: str, data: str, run: "AnyRun", seen: "Facts", *, channels: int = 0
) -> list[str]:
    """What to type, what that would train, and how long that takes."""
    from manyviews.core.settings import parts
    from manyviews.runs import budget

    flag = f" --data.channels {channels}" if channels else ""
    encoders = [f"{e.name} on {e.input}" for e in parts(run.encoders).values()]
    speed = budget.estimate(run, seen.speed)
    planned = (
        budget.words(run, samples=seen.count, speed=speed, device=seen.device, estimated=True)
        if speed
        else []
    )
    measured = f"manyviews doctor --bench {shlex.quote(data)} {recipe}"
    return [
        f"train: manyviews train {recipe} --data {shlex.quote(data)}{flag}",
        f"that takes {' + '.join(encoders)}, batch {run.data.batch_size}, on {seen.device}",
        *planned,
        f"measured, in a minute: {measured}",
    ]
