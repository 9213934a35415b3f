"""Windows/s of decoding video and sound, beside bare PyAV that decodes the same windows.

    python bench/streams.py

Clips of 8 frames over half a second, at random times of videos that it makes itself (10 s of
340x256 at 30 frames/s, H.264, key frames each 12 or 250 frames), with a file opened for each; sound
of 2 s at 16 kHz out of AAC at 44.1 kHz. One thread. Bare PyAV opens, seeks, decodes up to the last
frame that is wanted and converts those that are; both give the same pixels, which is checked.
Medians of interleaved repeats.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from manyviews.core.inputs import Frames
from manyviews.core.sample import Window
from manyviews.data.streams.files import open_streams
from manyviews.views.video.clips import Clips

SECONDS, RATE, HEIGHT, WIDTH = 10, 30, 256, 340
FRAMES = Frames(side=112, frames=8, rate=16.0)


def make(path: Path, *, gop: int) -> None:
    """A scene of smooth noise that drifts, and noise to hear."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (HEIGHT // 8, WIDTH // 4, 3), dtype=np.uint8)
    scene = np.kron(small, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = gop
        audio = out.add_stream("aac", rate=44100, layout="mono")
        for k in range(SECONDS * RATE):
            frame = np.ascontiguousarray(scene[:, k : k + WIDTH])
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame)))
        out.mux(video.encode())
        wave = 0.1 * random.standard_normal((1, SECONDS * 44100)).astype(np.float32)
        for first in range(0, wave.shape[1], 1024):
            part = av.AudioFrame.from_ndarray(wave[:, first : first + 1024], "fltp", "mono")
            part.sample_rate, part.pts, part.time_base = 44100, first, Fraction(1, 44100)
            out.mux(audio.encode(part))
        out.mux(audio.encode())


def bare(path: str, window: Window) -> np.ndarray:
    """The frames of a window, by nothing but PyAV."""
    times = [window.start + k * (window.stop - window.start) / 8 for k in range(8)]
    shown = []
    with av.open(path) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        file.seek(int(window.start / stream.time_base), stream=stream)
        held = None
        for frame in file.decode(stream):
            while len(shown) < 8 and held is not None and times[len(shown)] < frame.time - 0.0005:
                shown.append(held)
            held = frame
            if len(shown) == 8:
                break
        shown += [held] * (8 - len(shown))
        return np.stack([f.reformat(format="rgb24", threads=1).to_ndarray() for f in shown])


def ours(path: str, window: Window) -> np.ndarray:
    """The same by a stream."""
    return open_streams(path)["video"].read(window)


def sound(path: str, window: Window) -> np.ndarray:
    """Two seconds from where a window begins."""
    return open_streams(path)["audio"].read(Window(window.start, window.start + 2, 32000))


def views(path: str, window: Window) -> np.ndarray:
    """A stream's window, cropped and coloured."""
    out = np.empty((1, 8, 112, 112, 3), np.uint8)
    MAKER([ours(path, window)], [window], 0, 0, out)
    return out


MAKER = Clips().maker("video", FRAMES, (), seed=0)
SIDES: dict[str, Callable[[str, Window], np.ndarray]] = {
    "bare PyAV": bare,
    "stream": ours,
    "stream and views of 112": views,
    "sound": sound,
}


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for gop in (12, 250):
            path = str(Path(folder) / f"{gop}.mp4")
            make(Path(path), gop=gop)
            starts = np.random.default_rng(1).uniform(0, SECONDS - 2, asked.windows).tolist()
            windows = [Window(start, start + 0.5, 8) for start in starts]
            for window in windows[:10]:
                assert np.array_equal(bare(path, window), ours(path, window))
            views(path, windows[0])
            taken: dict[str, list[float]] = {name: [] for name in SIDES}
            for _ in range(asked.repeats):
                for name, side in SIDES.items():
                    begun = time.perf_counter()
                    for window in windows:
                        side(path, window)
                    taken[name].append(len(windows) / (time.perf_counter() - begun))
            per_second = {name: round(statistics.median(t), 1) for name, t in taken.items()}
            rows.append({"key_frames_each": gop, "windows_per_second": per_second})
            print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
