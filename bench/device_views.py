"""Views/s of the CPU engine, of what remains to workers without it, and of the device engine.

    python bench/device_views.py               # --device cuda on a GPU
    python bench/device_views.py --compiled    # and the same views compiled

Images are arrays of noise: decoding is not counted. Medians of interleaved repeats, in views/s;
compiling is not counted either, its seconds stand beside them. Compiling for a CPU, where nobody
would, shows that it works and says nothing of a GPU.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

from manyviews.views.device import DeviceViews
from manyviews.views.engine import Engine
from manyviews.views.plan import Crops, Views
from manyviews.views.stage import Stage

STRONG = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
CASES = {
    "SimCLR 2x32 from 32x32": (Views(global_=Crops(size=32, blur=(0.0,), **STRONG)), (32, 32), 256),
    "SimCLR 2x224 from 500x375": (Views(global_=Crops(size=224, **STRONG)), (375, 500), 8),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="0: 256 small or 8 large images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="compile the device engine too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps([measure(name, options) for name in CASES], indent=1))


def measure(name, options):
    plan, shape, batch = CASES[name]
    batch, device = options.batch or batch, torch.device(options.device)
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape, 3), dtype=np.uint8)
    index = np.arange(batch)
    engine, stage = Engine(plan, channels=3, seed=0), Stage(plan, channels=3, seed=0)
    plain = DeviceViews(plan, device, compiled=False)
    compiled = DeviceViews(plan, device, compiled=True)
    groups = [{k: torch.as_tensor(v) for k, v in g.items()} for g in stage(images, index, 0)]
    ways = {
        "engine": lambda: engine(images, index, 0),
        "stage": lambda: stage(images, index, 0),
        "device": lambda: plain(*groups),
    }
    if options.compiled:
        ways["compiled"] = lambda: compiled(*groups)
    times = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, make in ways.items():
            began = time.perf_counter()
            make()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:
                times[way].append(time.perf_counter() - began)
    rates = {way: round(2 * batch / statistics.median(t)) for way, t in times.items()}
    if options.compiled:
        rates["compile_seconds"] = round(compiled.compile_seconds, 1)
    return {"case": name, "on": options.device, "torch": torch.__version__} | rates


if __name__ == "__main__":
    main()
