"""Tasks on your own videos: order, direction and speed of time, and turns."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.pretext.clip_order import ClipOrderConfig
from manyviews.methods.pretext.playback import PlaybackConfig
from manyviews.methods.pretext.rotation import RotationConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, MethodConfig, Run

STREAMS = ("video",)
"""What these recipes take of a sample."""

_SHORT = {"rate": 16.0}
"""Half a second a clip: several in order, or one played fast, fit into a short video."""


def clip_order(facts: Facts) -> Run[ClipOrderConfig, Any, Any]:
    """Your own videos: tell in which of six orders three clips of a video are shown.

    Command: `manyviews train clip-order --data DIR`; `--method.answer verify` asks whether the
    order is that of time, in either direction.
    """
    method = ClipOrderConfig(hidden=256)
    return _run(facts, "clip-order", method, count=3, times="in-order")


def verify(facts: Facts) -> Run[ClipOrderConfig, Any, Any]:
    """Your own videos: tell whether three clips of a video are in the order of time, either way.

    Command: `manyviews train order-verify --data DIR`.
    """
    method = ClipOrderConfig(hidden=256, answer="verify")
    return _run(facts, "order-verify", method, count=3, times="in-order")


def rotation(facts: Facts) -> Run[RotationConfig, Any, Any]:
    """Your own videos: tell by how many quarter turns a clip was turned.

    Command: `manyviews train rotation-video --data DIR`. Jing et al. 2018, arXiv:1811.11387.
    """
    return own.run(facts, name="rotation-video", method=RotationConfig(), count=1)


def arrow(facts: Facts) -> Run[PlaybackConfig, Any, Any]:
    """Your own videos: tell whether a clip runs forwards or backwards.

    Command: `manyviews train arrow --data DIR`.
    """
    return _run(facts, "arrow", PlaybackConfig(classes=2), count=2, speeds=(1.0, -1.0))


def speednet(facts: Facts) -> Run[PlaybackConfig, Any, Any]:
    """Your own videos: tell whether a clip is played at its own speed or twice as fast.

    Command: `manyviews train speednet --data DIR`.
    """
    return _run(facts, "speednet", PlaybackConfig(classes=2), count=2, speeds=(1.0, 2.0))


def playback(facts: Facts) -> Run[PlaybackConfig, Any, Any]:
    """Your own videos: tell at which of four speeds a clip is played.

    Command: `manyviews train playback --data DIR`.
    """
    return _run(facts, "playback", PlaybackConfig(), count=4, speeds=(1.0, 2.0, 3.0, 4.0))


def _run(
    facts: Facts, name: str, method: MethodConfig, *, count: int, **change: Any
) -> Run[MethodConfig, Any, Any]:
    """Clips of half a second, of one colour each."""
    run = own.run(facts, name=name, method=method, count=count)
    encoder, clips = parts(run.encoders)["video"], parts(run.views)["global"]
    encoder = replace(encoder, input=replace(encoder.input, **_SHORT))
    return replace(
        run,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": replace(clips, **change)}),
    )
