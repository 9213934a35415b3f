"""Small clips that tests make themselves: frames that carry their number, sound that clicks."""

from fractions import Fraction

import av
import numpy as np
import soundfile

BITS = 12


def bars(number: int, *, height: int, width: int) -> np.ndarray:
    """[H, W, 3] uint8: BITS grey bars side by side, the number's bits, the lowest at the left."""
    levels = [224 if number >> bit & 1 else 32 for bit in range(BITS)]
    row = np.array(levels, dtype=np.uint8)[np.arange(width) * BITS // width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number(frame) -> int:
    """What `bars` made, of a frame [H, W, C] however it was compressed and resized."""
    middle = np.asarray(frame)[frame.shape[0] // 2 :].mean(axis=(0, 2))
    at = ((np.arange(BITS) + 0.5) * len(middle) / BITS).astype(int)
    return sum(1 << bit for bit in range(BITS) if middle[at[bit]] > 128)


def clicks(times, *, seconds: float, rate: int, levels=None) -> np.ndarray:
    """[S] float32: silence with a sample of 0.9, or of the given level, at each time."""
    wave = np.zeros(round(seconds * rate), dtype=np.float32)
    for time, level in zip(times, [0.9] * len(times) if levels is None else levels, strict=True):
        wave[round(time * rate)] = level
    return wave


def write(
    path,
    *,
    times,
    size=(36, 48),
    wave=None,
    rate=16000,
    codec="libx264",
    sound="pcm_s16le",
    rotation=0,
    clock=90000,
    faststart=False,
    pixels="yuv420p",
    begins=0.0,
):
    """Write a clip whose frame k is `bars(k)` and shown at times[k], with a mono wave.

    The wave begins so many seconds after time 0.
    """
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream(codec, rate=25)
        video.height, video.width = size
        video.pix_fmt = pixels
        video.codec_context.time_base = Fraction(1, clock)
        video.codec_context.gop_size = 12
        video.codec_context.thread_count = 1
        if rotation:
            video.set_display_rotation(rotation)
        audio = out.add_stream(sound, rate=rate, layout="mono") if wave is not None else None
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(bars(k, height=size[0], width=size[1]))
            frame.pts, frame.time_base = round(time * clock), Fraction(1, clock)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None:
            shape = {"format": audio.format.name, "layout": "mono", "rate": rate}
            fitting = av.AudioResampler(**shape, frame_size=audio.codec_context.frame_size)
            block = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            block.sample_rate, block.pts = rate, round(begins * rate)
            block.time_base = Fraction(1, rate)
            for part in fitting.resample(block) + fitting.resample(None):
                out.mux(audio.encode(part))
            out.mux(audio.encode())
    return str(path)


def sound(path, wave, *, rate=16000, subtype=None):
    """Write [S] or [C, S] float32: by FFmpeg where the ending wants AAC or Opus, else plainly."""
    channels = np.atleast_2d(np.asarray(wave, dtype=np.float32))
    codec = {".m4a": "aac", ".opus": "libopus"}.get(path.suffix)
    if codec is None:
        soundfile.write(path, channels.T, rate, subtype=subtype)
        return str(path)
    layout = "stereo" if len(channels) == 2 else "mono"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        shape = {"format": stream.format.name, "layout": layout, "rate": rate}
        fitting = av.AudioResampler(**shape, frame_size=stream.codec_context.frame_size)
        block = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
        block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
        for part in fitting.resample(block) + fitting.resample(None):
            out.mux(stream.encode(part))
        out.mux(stream.encode())
    return str(path)


def sounds(folder, *, count=24, seconds=1.5, labelled=False) -> str:
    """A folder of sounds of four kinds, tones with noise; made if it is not there."""
    if not folder.exists():
        folder.mkdir()
        when = np.arange(round(seconds * 16000)) / 16000
        for i in range(count):
            hiss = 0.02 * np.random.default_rng(i).standard_normal(len(when))
            wave = 0.5 * np.sin(2 * np.pi * (300 + 400 * (i % 4)) * when) + hiss
            into = folder / f"tone{i % 4}" if labelled else folder
            into.mkdir(exist_ok=True)
            sound(into / f"{i:02}.wav", wave)
    return str(folder)


def clips(folder, *, count=24, seconds=1.5, labelled=False) -> str:
    """A folder of clips of four kinds, each with a tone of its own; made if it is not there.

    With labels each kind has a folder.
    """
    if not folder.exists():
        folder.mkdir()
        times = np.arange(round(seconds * 16)) / 16
        when = np.arange(round(seconds * 16000)) / 16000
        for i in range(count):
            wave = 0.5 * np.sin(2 * np.pi * (300 + 400 * (i % 4)) * when).astype(np.float32)
            into = folder / f"tone{i % 4}" if labelled else folder
            into.mkdir(exist_ok=True)
            write(into / f"{i:02}.mkv", times=times, wave=wave, size=(48, 64))
    return str(folder)
