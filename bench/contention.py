"""Training on a machine that others use: images/s alone and beside a busy process.

    python bench/contention.py [--rounds 3] [--seconds 20] [--cures NAME ...]
                               [--others alone loops torch] [--json]

SimCLR's recipe on the built-in images, in a process of its own, with as many threads as there are
cores. `loops` are processes that add numbers, one for each core; `torch` is one that trains a small
convolutional network, with all cores and OpenMP's defaults. They are started once and stay alive:
beside a training that is alone they are stopped (SIGSTOP). Each round makes every cell once, so
that a machine that slows down slows all of them; reported are medians, and the share of the
speed of `default` alone.

A cure is what the environment says: `openmp` has a thread for every core, which spins where it
waits; `default` is what manyviews does (a thread for every core that others leave free, measured
when training begins); `passive` and `short-spin` are `openmp` with threads that sleep, at once or
soon; `bound` is `passive` with threads that stay on their core; `one-thread` has one. Milliseconds
of processor time an image count the spinning too.

The figures want a machine on which nothing else runs.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

EVERY = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
CURES = {
    "openmp": EVERY,
    "default": {},
    "passive": EVERY | {"OMP_WAIT_POLICY": "PASSIVE"},
    "short-spin": EVERY | {"GOMP_SPINCOUNT": "1000"},
    "bound": EVERY | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_PROC_BIND": "true"},
    "one-thread": {"OMP_NUM_THREADS": "1"},
}
OTHERS = ("alone", "loops", "torch")
SET = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_PROC_BIND")
STARTED: list[int] = []
"""Numbers of the busy processes, to see that they are gone."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    if options.role == "train":
        train(options.seconds)
    elif options.role in ("loops", "torch"):
        {"loops": loop, "torch": convolve}[options.role](options.parent)
    else:
        show(measured(options), as_json=options.json)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of training in each cell")
    parser.add_argument("--cures", nargs="+", choices=list(CURES), default=list(CURES))
    parser.add_argument("--others", nargs="+", choices=OTHERS, default=list(OTHERS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measured(options: argparse.Namespace) -> list[dict[str, object]]:
    """A row for each cell."""
    cells = [(cure, other) for cure in options.cures for other in options.others]
    found: dict[tuple[str, str], list[dict[str, float]]] = {cell: [] for cell in cells}
    busy = {other: started(other) for other in options.others if other != "alone"}
    try:
        time.sleep(2.0 if "torch" not in busy else 15.0)  # until torch is loaded
        for _ in range(options.rounds):
            for cure, other in cells:
                found[cure, other].append(cell(cure, busy, other, options.seconds))
    finally:
        for process in (one for some in busy.values() for one in some):
            process.kill()
            process.wait()
    return [row(cure, other, found) for cure, other in cells]


def cell(cure: str, busy: dict[str, list], other: str, seconds: float) -> dict[str, float]:
    """One training, with the right neighbours awake."""
    for name, some in busy.items():
        for process in some:
            process.send_signal(signal.SIGCONT if name == other else signal.SIGSTOP)
    every = [process.pid for some in busy.values() for process in some]
    before = sum(map(used, every))
    done = run("train", "--seconds", str(seconds), given=CURES[cure]).communicate()[0]
    said = json.loads(done.splitlines()[-1])
    return said | {"others_cpu_seconds": sum(map(used, every)) - before}


def row(cure: str, other: str, found: dict[tuple[str, str], list[dict]]) -> dict[str, object]:
    """Medians of a cell, and its share of the default's speed alone."""

    def median(cell: tuple[str, str], name: str) -> float:
        return statistics.median(one[name] for one in found[cell])

    names = ("images_per_second", "cpu_ms_per_image", "others_cpu_seconds")
    middle = {name: round(median((cure, other), name), 3) for name in names}
    best = ("default", "alone")
    share = None
    if best in found:
        share = round(middle["images_per_second"] / median(best, "images_per_second"), 3)
    speeds = [round(one["images_per_second"], 1) for one in found[cure, other]]
    return {"cure": cure, "beside": other, **middle, "share": share, "rounds": speeds}


def show(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for one in rows:
        share = "" if one["share"] is None else f"{one['share']:.0%}"
        print(
            f"{one['cure']:12} {one['beside']:8} {one['images_per_second']:>10,.1f} images/s "
            f"{share:>6}  {one['cpu_ms_per_image']:8.3f} ms of processor an image  {one['rounds']}"
        )


def started(kind: str) -> list[subprocess.Popen]:
    """Busy processes, which end with this one."""
    count = len(os.sched_getaffinity(0)) if kind == "loops" else 1
    parent = ("--parent", str(os.getpid()))
    some = [run(kind, *parent, given={}, out=subprocess.DEVNULL) for _ in range(count)]
    STARTED.extend(process.pid for process in some)
    return some


def run(
    role: str, *arguments: str, given: dict[str, str], out: int = subprocess.PIPE
) -> subprocess.Popen:
    """This file in another process, with nothing said of threads but what is given."""
    clean = {name: value for name, value in os.environ.items() if name not in SET}
    paths = [str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    clean |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **given}
    command = [sys.executable, __file__, "--role", role, *arguments]
    return subprocess.Popen(command, env=clean, stdout=out, text=True)


def used(process: int) -> float:
    """Seconds of processor time, so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def train(seconds: float) -> None:
    import manyviews

    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF)
        done = manyviews.train(
            "simclr",
            data="builtin:fashion",
            out=Path(folder) / "run",
            overrides={"train.minutes": seconds / 60},
        )
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    images = done.images_per_second * done.seconds
    print(
        json.dumps(
            {
                "images_per_second": done.images_per_second,
                "cpu_ms_per_image": 1000 * cpu / images,
            }
        )
    )


def loop(parent: int) -> None:
    while os.getppid() == parent:
        sum(range(10_000_000))


def convolve(parent: int) -> None:
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU())
    updates = torch.optim.SGD(net.parameters(), lr=1e-6)
    images = torch.randn(32, 3, 32, 32)
    while os.getppid() == parent:
        net(images).square().mean().backward()
        updates.step()
        updates.zero_grad()


if __name__ == "__main__":
    main()
