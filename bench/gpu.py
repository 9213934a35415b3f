"""From JPEG files to optimiser steps on one GPU: images/s, waiting for data, FLOP utilisation.

    python bench/gpu.py --json                 # under 8 minutes; lightly where it is installed
    python bench/gpu.py --smoke                # the same code on a CPU with tiny sizes

SimCLR with a ResNet-50 (2 views of 224 px) and DINO with a ViT-S/16 (2 of 224 and 8 of 96 px), in
bf16, from JPEGs of 500x375 pixels that are made first: ours, and lightly's example with the same
networks, heads, batch, precision and number of workers. Each side runs in a process of its own for
--seconds after a warm-up. `wait_share` is the share of the time in which the loop stood waiting for
a batch; `step_images_per_second` is the rate of the same step on one batch that is already there,
so the bound that data can at best reach.
`mfu` is FLOPs of forward and backward (torch's counter, a multiply-add being 2; the target
network's included) times images/s over the peak: --peak, or what the GPU is sold as, or else the
best of a few large products.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

CASES = ("simclr", "dino")
SIDES = ("manyviews", "lightly")
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0, "L40S": 362.0}
"""Dense bf16 TFLOP/s of the SXM or only version, NVIDIA data sheets."""


def main(arguments=None):
    options = parsed(arguments)
    if options.side:
        print(json.dumps(measure(options.cases[0], options.side, Path(options.data), options)))
        return []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(options.data or folder)
        if not options.data:
            make_photos(data, options.images, side=64 if options.smoke else 500)
        rows = [run(case, side, data, options) for case in options.cases for side in options.sides]
    rates = {row["case"]: row.get("images_per_second") for row in rows if row["side"] == "lightly"}
    for row in rows:
        if rates.get(row["case"]) and "images_per_second" in row:
            ratio = row["images_per_second"] / rates[row["case"]]
            row["ratio_to_lightly"] = round(ratio, 3)
        print(" ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    if options.json:
        print(json.dumps(rows, indent=1))
    return rows


def parsed(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--sides", nargs="*", default=SIDES)
    parser.add_argument("--data", default="", help="a folder of JPEGs; none makes some")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=0, help="0: 256 for simclr, 128 for dino")
    parser.add_argument("--workers", type=int, default=-1, help="-1: a core each, but one")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--peak", type=float, default=0.0, help="TFLOP/s in bf16")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.smoke:
        options.images, options.seconds, options.batch, options.workers = 12, 0.2, 4, 0
    elif not torch.cuda.is_available():
        parser.error("there is no GPU; --smoke runs the same code on a CPU")
    if options.workers < 0:
        options.workers = max(1, len(os.sched_getaffinity(0)) - 1)
    return options


def run(case, side, data, options):
    """One row, from a process of its own; a side that fails says why and spoils no other."""
    if options.smoke:
        return measure(case, side, data, options)
    command = [sys.executable, str(Path(__file__).resolve()), "--side", side, "--cases", case]
    for name in ("batch", "workers", "seconds", "peak"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--data", str(data)]
    limit = 110  # seconds
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"case": case, "side": side, "error": f"more than {limit} seconds"}
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        return {"case": case, "side": side, "error": last}


def make_photos(folder, count, *, side):
    """JPEGs [3/4 side, side] with smooth shapes and noise, about 90 kB each at 500 px."""
    rng = np.random.default_rng(0)
    tall = side * 3 // 4
    for i in range(count):
        coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, tall), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + rng.normal(0, 6, (tall, side, 1)) + rng.normal(0, 2, (3,))
        photo = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{i:05d}.jpg", quality=95, subsampling="4:2:0")


# One side of one case


def measure(case, side, data, options):
    batch = options.batch or {"simclr": 256, "dino": 128}[case]
    device = torch.device("cpu" if options.smoke else "cuda")
    torch.manual_seed(0)
    make = lightlys if side == "lightly" else ours
    batches, step = make(case, side, data, batch, device, options)
    ready = next(batches)
    with FlopCounterMode(display=False) as counter:
        step(ready)
    flops = counter.get_total_flops() / batch
    for _ in range(1 if options.smoke else 8):
        step(next(batches))
    waited, steps = 0.0, 0
    synchronise(device)
    began = time.perf_counter()
    while time.perf_counter() - began < options.seconds:
        asked = time.perf_counter()
        one = next(batches)
        waited += time.perf_counter() - asked
        step(one)
        steps += 1
    synchronise(device)
    spent = time.perf_counter() - began
    batches.close()
    rate, peak = steps * batch / spent, peak_of(device, options)
    return {
        "case": case,
        "side": side,
        "images_per_second": round(rate, 1),
        "wait_share": round(waited / spent, 4),
        "step_images_per_second": round(batch / repeated(step, ready, device, options), 1),
        "gflop_per_image": round(flops / 1e9, 3),
        "mfu": round(flops * rate / (peak * 1e12), 4),
        "peak_tflops": round(peak, 1),
        "peak_memory_gb": round(memory(device), 2),
        "batch": batch,
        "workers": options.workers,
        "steps": steps,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
    }


def repeated(step, ready, device, options):
    """Median seconds of the step on one batch."""
    times = []
    for _ in range(2 if options.smoke else 15):
        synchronise(device)
        began = time.perf_counter()
        step(ready)
        synchronise(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def memory(device):
    return torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0


def peak_of(device, options):
    """TFLOP/s to hold utilisation against."""
    if options.peak:
        return options.peak
    name = torch.cuda.get_device_name() if device.type == "cuda" else ""
    for part in sorted(PEAKS, key=len, reverse=True):
        if part in name:
            return PEAKS[part]
    side = 256 if options.smoke else 8192
    a = torch.randn(side, side, dtype=torch.bfloat16, device=device)
    times = []
    for _ in range(5):
        synchronise(device)
        began = time.perf_counter()
        a @ a
        synchronise(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times) / 1e12


def ours(case, side, data, batch, device, options):
    from dataclasses import replace

    from manyviews.core import Clock
    from manyviews.core.inputs import Pixels
    from manyviews.core.settings import struct
    from manyviews.encoders import ViTConfig
    from manyviews.methods.distillation.dino import DINOConfig
    from manyviews.recipes import RECIPES
    from manyviews.runs.assemble import assemble
    from manyviews.runs.facts import facts
    from manyviews.training import guard, launch, optim

    run = RECIPES[f"{case}-imagenet"](facts(str(data), channels=3))
    settings = replace(run.data, source=str(data), batch_size=batch, workers=options.workers)
    run = replace(run, data=settings)
    if options.smoke:
        tiny = ViTConfig(input=Pixels(side=32), patch=8, width=32, depth=2, heads=2)
        run = replace(run, encoders=struct("Encoders", {"image": tiny}))
        if case == "dino":
            views = replace(run.views, local=replace(run.views.local, size=16))
            method = DINOConfig(hidden=16, bottleneck=8, prototypes=12)
            run = replace(run, views=views, method=method)
    assembly = assemble(run)
    method, dtype = assembly.method, torch.bfloat16
    updates = optim.build(method, run.optim, batch)
    undo = guard.Undo(method, everything=False)
    count = 0

    def step(made):
        # As training/loop.py does a step.
        nonlocal count
        clock = Clock(100 + count, 10**6, 1, 100)
        count += 1
        launch.seed_step(0, clock.step)
        updates.set_rates(clock)
        undo.keep()
        with torch.autocast(device.type, dtype):
            result = method(made, clock)
        result.total.backward()
        updates.freeze(clock)
        norm = updates.grad_norm()
        guard.vote(result.losses, norm=norm, stop=False, seconds=0.0)
        with torch.no_grad():
            method.after_backward(result, clock)
        updates.apply(norm)
        with torch.no_grad():
            method.after_step(clock)
        updates.clear()

    def batches():
        for [made] in assembly.batches()(0, 10**9):
            yield made

    return batches(), step


def lightlys(case, side, data, batch, device, options):
    """lightly's example for the method, with bf16 and channels-last, which its examples lack."""
    warnings.filterwarnings("ignore")
    import timm
    from lightly.data import LightlyDataset
    from lightly.transforms import DINOTransform, SimCLRTransform

    sizes = (32, 16) if options.smoke else (224, 96)
    if case == "simclr":
        transform = SimCLRTransform(input_size=sizes[0])
    else:
        transform = DINOTransform(
            global_crop_size=sizes[0], local_crop_size=sizes[1], n_local_views=8
        )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(data), transform=transform),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        pin_memory=device.type == "cuda",
        persistent_workers=options.workers > 0,
    )

    def batches():
        while True:
            for views, *_ in loader:
                yield [view.to(device, non_blocking=True) for view in views]

    if options.smoke:
        net = timm.create_model(
            "vit_tiny_patch16_224", patch_size=8, img_size=32, embed_dim=32, depth=2, num_heads=2,
            num_classes=0, dynamic_img_size=True,
        )  # fmt: skip
    else:
        name = {"simclr": "resnet50", "dino": "vit_small_patch16_224"}[case]
        extra = {"dynamic_img_size": True, "drop_path_rate": 0.1} if case == "dino" else {}
        net = timm.create_model(name, num_classes=0, **extra)
    net = net.to(device, memory_format=torch.channels_last)
    learn = {"simclr": simclr_step, "dino": dino_step}[case]
    return batches(), learn(net, device, options)


def simclr_step(net, device, options):
    from lightly.loss import NTXentLoss
    from lightly.models.modules.heads import SimCLRProjectionHead

    head = SimCLRProjectionHead(net.num_features, net.num_features, 128).to(device)
    criterion = NTXentLoss(temperature=0.1)
    optimiser = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.06)

    def step(views):
        with torch.autocast(device.type, torch.bfloat16):
            first, second = (head(net(view)) for view in views)
            loss = criterion(first, second)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


def dino_step(net, device, options):
    import copy

    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    sizes = (16, 8, 12) if options.smoke else (2048, 256, 65536)
    head = DINOProjectionHead(net.num_features, *sizes, freeze_last_layer=1).to(device)
    slow, slow_head = copy.deepcopy(net), DINOProjectionHead(net.num_features, *sizes).to(device)
    deactivate_requires_grad(slow)
    deactivate_requires_grad(slow_head)
    criterion = DINOLoss(output_dim=sizes[-1], warmup_teacher_temp_epochs=5).to(device)
    optimiser = torch.optim.AdamW([*net.parameters(), *head.parameters()], lr=1e-3)

    def step(views):
        update_momentum(net, slow, m=0.996)
        update_momentum(head, slow_head, m=0.996)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                targets = [slow_head(slow(view)) for view in views[:2]]
            loss = criterion(targets, [head(net(view)) for view in views], epoch=0)
        loss.backward()
        head.cancel_last_layer_gradients(current_epoch=0)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    return step


if __name__ == "__main__":
    main()
