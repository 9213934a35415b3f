"""torchcodec, asked by number: the same frames as PyAV's. Without it one stands in for it."""

import importlib.util
import sys
from fractions import Fraction
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch

from manyviews.core.sample import Window
from manyviews.data.streams import numbered, video
from manyviews.data.streams.files import open_streams
from media import bars, clicks, number, write

COUNT = 72
EVEN = [k / 25 for k in range(COUNT)]
UNEVEN = list(np.cumsum([0, *np.random.default_rng(0).integers(1, 9, COUNT - 1)]) / 50)


def ordered(path, *, times, begins=0.0, **options):
    """As `write`, with pictures that are stored in another order than shown (B-frames).

    What begins before 0 is cut by an edit list.
    """
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream("libx264", rate=25, options={"x264-params": "bframes=3:keyint=12"})
        stream.height, stream.width, stream.pix_fmt = 36, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(bars(k, height=36, width=48))
            frame.pts, frame.time_base = round((time + begins) * 90000), Fraction(1, 90000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


AS_IT_IS = {"avoid_negative_ts": "disabled"}
FILES = {
    "constant": lambda at: write(at / "a.mp4", times=EVEN),
    "29.97 a second": lambda at: write(
        at / "a.mp4", times=[k * 1001 / 30000 for k in range(COUNT)], clock=30000
    ),
    "variable": lambda at: write(at / "a.mp4", times=UNEVEN),
    "milliseconds": lambda at: write(
        at / "a.mkv", times=[k / 30 for k in range(COUNT)], clock=1000
    ),
    "avi": lambda at: write(at / "a.avi", times=EVEN, codec="mpeg4", clock=25),
    "b-frames": lambda at: ordered(at / "a.mp4", times=UNEVEN),
    "edit list": lambda at: ordered(at / "a.mp4", times=EVEN, begins=-0.4, **AS_IT_IS),
    "before 0": lambda at: ordered(at / "a.mkv", times=EVEN, begins=-0.4, **AS_IT_IS),
    "late": lambda at: write(
        at / "a.mov", times=[0.5 + t for t in EVEN], wave=clicks([1.0], seconds=3, rate=16000)
    ),
    "stream": lambda at: ordered(at / "a.ts", times=EVEN),
    "turned": lambda at: write(at / "a.mp4", times=EVEN, rotation=90),
}


LEFT = ("before 0", "stream")
"""What torchcodec does not decode, or not from anywhere: PyAV reads it."""


class StandIn:
    """What of torchcodec's decoder is used, made of PyAV; `late` frames are others."""

    late = 0

    def __init__(self, path, *, stream_index, dimension_order):
        assert dimension_order == "NHWC"
        with av.open(path) as file:
            shown = [f for f in file.decode(file.streams[stream_index]) if not f.is_corrupt]
        if any(f.pts is None for f in shown):
            raise RuntimeError("no more frames left to decode")  # as torchcodec says of these
        self.all = [(f.pts * f.time_base, video._pixels(f)) for f in shown]

    def get_frames_at(self, indices):
        found = [self.all[k + self.late] for k in indices]
        times = torch.tensor([float(time) for time, _ in found], dtype=torch.float64)
        data = torch.from_numpy(np.stack([pixels for _, pixels in found]))
        return SimpleNamespace(pts_seconds=times, data=data)


def stand_in(monkeypatch, decoder):
    module = ModuleType("torchcodec.decoders")
    module.VideoDecoder = decoder
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    monkeypatch.setattr(video, "why_not", lambda: None)


@pytest.fixture(params=["stand-in", "torchcodec"])
def decoder(request, monkeypatch):
    if request.param == "stand-in":
        stand_in(monkeypatch, StandIn)
    elif numbered.why_not() is not None:
        pytest.skip("torchcodec is not installed, or does not load")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", FILES)
def test_every_frame_is_the_one_that_pyav_gives(kind, tmp_path, monkeypatch):
    path = FILES[kind](tmp_path)
    found = open_streams(path)["video"]
    times = found.timing().times
    frames = np.diff(times, append=times[-1] + 0.1)
    windows = [
        Window(at + part * step, at + part * step + 0.3, 5)
        for at, step in zip(times, frames, strict=True)
        for part in (0.0, 0.5, 0.999)  # a frame's own time, its middle, just before the next
    ]
    by_number = [found.read(window) for window in windows]
    monkeypatch.setattr(video, "why_not", lambda: "")
    plain = open_streams(path)["video"]
    for window, clip in zip(windows, by_number, strict=True):
        expected = plain.read(window)
        assert [number(f) for f in clip] == [number(f) for f in expected], window
        assert np.abs(clip.astype(int) - expected).max() <= 1


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", [kind for kind in FILES if kind not in LEFT])
def test_it_is_asked_and_not_passed_over(kind, tmp_path):
    found = open_streams(FILES[kind](tmp_path))["video"]
    assert found._by_number([0.2, 0.6, 1.0]) is not None


def test_a_decoder_that_sees_other_frames_is_left(tmp_path, monkeypatch):
    stand_in(monkeypatch, type("Late", (StandIn,), {"late": 1}))
    found = open_streams(write(tmp_path / "a.mp4", times=EVEN))["video"]
    assert found._by_number([0.2, 0.6]) is None
    assert [number(f) for f in found.read(Window(0.2, 0.6, 2))] == [5, 10]


def test_what_decodes_is_said(monkeypatch, caplog):
    caplog.set_level("INFO", "manyviews")
    for reason, said in ((None, "torchcodec"), ("", "PyAV"), ("it is old", "PyAV (it is old)")):
        monkeypatch.setattr(numbered, "why_not", lambda reason=reason: reason)
        numbered.say_decoder.cache_clear()
        numbered.say_decoder()
        assert caplog.messages[-1] == f"videos are decoded by {said}"
    numbered.say_decoder.cache_clear()
    monkeypatch.setattr(numbered.multiprocessing, "parent_process", lambda: "a worker has one")
    numbered.say_decoder()
    assert len(caplog.messages) == 3


def test_one_that_does_not_load_is_not_asked(monkeypatch):
    numbered.why_not.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    try:
        assert "does not load" in (numbered.why_not() or "")
    finally:
        numbered.why_not.cache_clear()
