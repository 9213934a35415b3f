"""Clips/s of videos as they are and as `manyviews pack --videos` writes them.

    python bench/packed_videos.py

Videos that it makes itself: 10 s of 640x360 at 30 frames/s, H.264, a key frame each 250 frames.
Clips of 8 frames over a second at random times, a file opened for each, one thread. Medians of
interleaved repeats.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from manyviews.core.sample import Window
from manyviews.data.pack.videos import pack_videos
from manyviews.data.sources import open_media


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


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs=2, default=(360, 640))
    asked = parser.parse_args(arguments)
    height, width = asked.sizes
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        for k in range(asked.videos):
            make(files / f"{k}.mp4", seed=k, seconds=asked.seconds, height=height, width=width)
        sources = {"files": open_media(str(files), ("video",))}
        megabytes = {"files": sum(p.stat().st_size for p in files.iterdir()) / 1e6}
        for gop in (8, 1):
            name = f"packed, 128 px, gop {gop}"
            done = pack_videos(str(files), Path(folder) / str(gop), gop=gop, workers=0)
            sources[name] = open_media(str(done.path), ("video",))
            megabytes[name] = done.bytes / 1e6
        random = np.random.default_rng(0)
        starts = random.uniform(0, asked.seconds - 1, asked.clips).tolist()
        taken: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(asked.repeats):
            for name, source in sources.items():
                begun = time.perf_counter()
                for k, start in enumerate(starts):
                    source.open(k % asked.videos)["video"].read(Window(start, start + 1, 8))
                taken[name].append(asked.clips / (time.perf_counter() - begun))
    found: dict[str, object] = {
        "clips_per_second": {name: round(statistics.median(t), 1) for name, t in taken.items()},
        "megabytes": {name: round(size, 2) for name, size in megabytes.items()},
    }
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
