"""Log-mel spectrograms a second: manyviews in a batch, torchaudio a file after the other.

    python bench/log_mel.py --peer-python VENV/bin/python

Both make Kaldi's filter banks, as AST and Audio-MAE feed them, of the same waves, by the same
number of threads: of WAV files, which each side reads in its own way (soundfile there, as one
stream each here), and of what is in memory already. torchaudio's own function takes one wave at a
time, as the public trainers of Audio-MAE and AST call it in their data sets, a file after the
other; the other side makes those of a batch at once (`core.inputs.LogMel.finish`), which in
training runs on the device. The two take turns in one run, so that what else the machine does meets
both, and are held against one another first. VENV has torchaudio, which needs not be in this one:

    python -m venv VENV && VENV/bin/pip install torch torchaudio numpy soundfile
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = {"10.24 s in 128 bands": (10.24, 128, 32), "1 s in 64 bands": (1.0, 64, 256)}
"""Seconds, bands, and waves at a time."""
RATE = 16000


def waves(seconds: float, count: int):
    import numpy as np

    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((count, round(seconds * RATE)), dtype=np.float32)


class Ours:
    """This process."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    def __call__(
        self, files: list[str], seconds: float, bins: int, *, read: bool
    ) -> tuple[float, object]:
        """Seconds for the waves of files, and what came out, [count, frames, bins]."""
        import numpy as np
        import torch

        from manyviews.core.inputs import LogMel
        from manyviews.data.streams.files import open_streams

        def waves() -> torch.Tensor:
            return torch.from_numpy(np.stack([open_streams(f)["audio"].read() for f in files]))

        fed = LogMel(rate=RATE, seconds=seconds, bins=bins, mean=0.0, std=1.0)
        held = None if read else waves()
        start = time.perf_counter()
        made = fed.finish(waves() if held is None else held)
        return time.perf_counter() - start, made[:, 0].numpy()


def loop() -> None:
    """The other side, in the peer's python: a line in, a line out, for as long as it is asked."""
    import numpy as np
    import soundfile
    import torch
    import torchaudio

    torch.set_num_threads(int(os.environ["THREADS"]))
    print(
        json.dumps({"torchaudio": torchaudio.__version__, "torch": torch.__version__}), flush=True
    )
    for line in sys.stdin:
        asked = json.loads(line)
        waves = (torch.from_numpy(soundfile.read(f, dtype="float32")[0]) for f in asked["files"])
        waves = waves if asked["read"] else list(waves)
        start = time.perf_counter()
        made = [
            torchaudio.compliance.kaldi.fbank(
                wave[None],
                htk_compat=True,
                sample_frequency=RATE,
                use_energy=False,
                window_type="hanning",
                num_mel_bins=asked["bins"],
                dither=0.0,
                frame_shift=10,
            )
            for wave in waves
        ]
        spent = time.perf_counter() - start
        np.save(asked["out"], torch.stack(made).numpy())
        print(json.dumps({"seconds": spent}), flush=True)


class Theirs:
    """A process of another python."""

    def __init__(self, python: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--loop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, THREADS=str(threads)),
        )
        self.versions = self._answer()

    def __call__(
        self, files: list[str], bins: int, out: Path, *, read: bool
    ) -> tuple[float, object]:
        import numpy as np

        asked = {"files": files, "bins": bins, "out": str(out), "read": read}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return self._answer()["seconds"], np.load(out)

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The peer's python ended. It needs torch, torchaudio and numpy.")
        return json.loads(line)


def measure(peer: Theirs, ours: Ours, folder: Path, *, rounds: int, few: bool) -> list[dict]:
    import numpy as np
    import soundfile

    rows = []
    for (name, (seconds, bins, count)), read in itertools.product(CASES.items(), (True, False)):
        count = 2 if few else count
        files, out = [str(folder / f"{k}.wav") for k in range(count)], folder / "made.npy"
        for file, wave in zip(files, waves(seconds, count), strict=True):
            soundfile.write(file, wave, RATE)
        mine, theirs = [], []
        for _ in range(rounds + 1):  # the first is to warm up
            spent, made = ours(files, seconds, bins, read=read)
            mine.append(spent)
            spent, wanted = peer(files, bins, out, read=read)
            theirs.append(spent)
        off = float(np.abs(made[:, : wanted.shape[1]] - wanted).max())
        assert off < 5e-3, f"{name}: they differ by {off}"  # both are 1e-3 off in quiet bands
        ratios = [b / a for a, b in zip(mine[1:], theirs[1:], strict=True)]
        rows.append(
            {
                "case": f"{name}, {'of files' if read else 'in memory'}",
                "ours": count / statistics.median(mine[1:]),
                "theirs": count / statistics.median(theirs[1:]),
                "ratio": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "off": off,
            }
        )
    return rows


def main(given: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--few", action="store_true", help="two waves of each, to try it")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(given)
    if args.loop:
        loop()
        return []
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is imported
    peer, ours = Theirs(args.peer_python, args.threads), Ours(args.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(peer, ours, Path(folder), rounds=args.rounds, few=args.few)
    finally:
        peer.process.communicate()  # an end of lines, which ends it
    import torch

    print(f"manyviews on torch {torch.__version__}; {peer.versions}; {args.threads} threads")
    for row in rows:
        print(
            f"{row['case']}: {row['ours']:.0f} a second in a batch, torchaudio {row['theirs']:.0f}"
            f" in a loop: {row['ratio']:.1f}x ({row['least']:.1f} to {row['most']:.1f}); "
            f"at most {row['off']:.1e} apart"
        )
    return rows


if __name__ == "__main__":
    main()
