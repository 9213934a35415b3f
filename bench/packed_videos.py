"""Clips/s of videos as they are and as `manyviews pack --videos` writes them, beside bare decoders.

    python bench/packed_videos.py

Videos that it makes itself: 10 s of 640x360 at 30 frames/s, H.264, a key frame each 250 frames.
Clips of 8 frames over a second at random times, a file opened for each, one thread. PyAV, OpenCV
and, where it is installed, torchcodec alone open, seek, decode and convert the same windows of the
files; PyAV's pixels and the reader's are the same, which is checked. "to views" is the whole way to
cropped and coloured clips of 112 pixels. Clips a second of processor time, so that other work on
the machine counts less; medians of interleaved repeats, and of ratios within a repeat.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from streams import bare as by_pyav

from manyviews.core.inputs import Frames
from manyviews.core.sample import Window
from manyviews.data.pack.videos import pack_videos
from manyviews.data.sources import open_media
from manyviews.data.streams import video
from manyviews.views.video.clips import Clips

COUNT = 8
MAKER = Clips().maker("video", Frames(side=112, frames=COUNT, rate=8.0), (), seed=0)
Read = Callable[[int, Window], np.ndarray]


def make(path: Path, *, seed: int, seconds: int, height: int, width: int) -> None:
    """A scene of smooth noise that drifts."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8, width // 4, 3), dtype=np.uint8)
    scene = np.kron(small, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = 250
        for k in range(seconds * 30):
            frame = np.ascontiguousarray(scene[:, k : k + width])
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        out.mux(video.encode())


def times_of(window: Window) -> list[float]:
    return [window.start + k * (window.stop - window.start) / COUNT for k in range(COUNT)]


def by_opencv(path: str, window: Window) -> np.ndarray:
    """The same by nothing but OpenCV, which counts frames at a constant rate."""
    file = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    rate = file.get(cv2.CAP_PROP_FPS)
    numbers = [int(time * rate + 0.015) for time in times_of(window)]
    file.set(cv2.CAP_PROP_POS_FRAMES, numbers[0])
    out, at = [], numbers[0] - 1
    for number in numbers:
        while at < number:
            file.grab()
            at += 1
        out.append(cv2.cvtColor(file.retrieve()[1], cv2.COLOR_BGR2RGB))
    file.release()
    return np.stack(out)


def by_torchcodec(path: str, window: Window) -> np.ndarray:
    """The same by nothing but torchcodec, asked for half a millisecond later."""
    from torchcodec.decoders import VideoDecoder

    file = VideoDecoder(path, dimension_order="NHWC")
    return file.get_frames_played_at([time + 0.0005 for time in times_of(window)]).data.numpy()


def to_views(read: Read) -> Read:
    def views(k: int, window: Window) -> np.ndarray:
        out = np.empty((1, COUNT, 112, 112, 3), np.uint8)
        MAKER([read(k, window)], [window], 0, 0, out)
        return out

    return views


def sides(files: Path, packs: dict[str, Path]) -> dict[str, Read]:
    """Name -> what reads a window of the video of that number."""
    paths = sorted(map(str, files.iterdir()))
    alone = {"PyAV alone": by_pyav, "OpenCV alone": by_opencv}
    if video.why_not() is None:
        alone["torchcodec alone"] = by_torchcodec
    found: dict[str, Read] = {
        name: lambda k, window, read=read: read(paths[k], window) for name, read in alone.items()
    }
    opened = {"files": open_media(str(files), ("video",))}
    opened |= {name: open_media(str(path), ("video",)) for name, path in packs.items()}
    for name, source in opened.items():
        found[name] = lambda k, window, source=source: source.open(k)["video"].read(window)
        found[f"{name}, to views"] = to_views(found[name])
    if video.why_not() is None:
        found["files, by PyAV"] = without_torchcodec(found["files"])
    return found


def without_torchcodec(read: Read) -> Read:
    def plain(k: int, window: Window) -> np.ndarray:
        loads, video.why_not = video.why_not, lambda: ""
        try:
            return read(k, window)
        finally:
            video.why_not = loads

    return plain


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs=2, default=(360, 640))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    height, width = asked.sizes
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        for k in range(asked.videos):
            make(files / f"{k}.mp4", seed=k, seconds=asked.seconds, height=height, width=width)
        megabytes = {"files": sum(p.stat().st_size for p in files.iterdir()) / 1e6}
        packs: dict[str, Path] = {}
        for gop in (8, 1):
            name = f"packed, 128 px, gop {gop}"
            done = pack_videos(str(files), Path(folder) / str(gop), gop=gop, workers=0)
            packs[name], megabytes[name] = done.path, done.bytes / 1e6
        reads = sides(files, packs)
        starts = np.random.default_rng(0).uniform(0, asked.seconds - 1, asked.clips).tolist()
        windows = [(k % asked.videos, Window(at, at + 1, COUNT)) for k, at in enumerate(starts)]
        for each in windows[: asked.videos]:
            assert np.array_equal(reads["PyAV alone"](*each), reads["files"](*each))
        taken: dict[str, list[float]] = {name: [] for name in reads}
        for read in reads.values():  # the first call compiles, or imports
            read(*windows[0])
        for _ in range(asked.repeats):
            for name, read in reads.items():
                begun = time.process_time()
                for each in windows:
                    read(*each)
                taken[name].append(asked.clips / (time.process_time() - begun))
    ratios = {
        name: statistics.median(a / b for a, b in zip(t, taken["PyAV alone"], strict=True))
        for name, t in taken.items()
    }
    found: dict[str, object] = {
        "clips_per_second": {name: round(statistics.median(t), 1) for name, t in taken.items()},
        "of_pyav_alone": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "megabytes": {name: round(size, 2) for name, size in megabytes.items()},
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
