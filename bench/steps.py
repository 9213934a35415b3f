"""What a training step costs beyond the encoder: heads, loss, EMA target, optimiser, bookkeeping.

    python bench/steps.py --arch resnet18 vit --peer-python VENV/bin/python --json

Each side lives in a process of its own and they take turns, a step each. A step is cut into parts
by detaching what the encoder returns: its forward, its backward, the target encoder's forward, and
the machinery, which is everything else. Shares are of one step, so a machine whose speed drifts
does not move them; times are medians. Inputs are ready tensors. lightly's side follows its
examples with the same encoder, heads, batch and optimiser; `--peer-python` is an interpreter that
has lightly and torch (for instance a virtual environment), "" leaves lightly out.

MAE is measured with the ViT only: it drops patches before it encodes them, and a ResNet cannot.

Peak memory is the process's largest resident size. `--allocated` also asks glibc every 5 ms how
much it has given out; the rest lies in holes of its heap. That takes time, so take times without.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time

METHODS = ("simclr", "moco", "byol", "swav", "dino", "barlow", "vicreg", "mae")
MULTI_CROP, MOVING = ("swav", "dino"), ("moco", "byol", "dino")
ADAMW = ("swav", "dino", "mae")
PARTS = ("encoder_forward", "encoder_backward", "target_forward")


def main():
    options = arguments()
    if options.side:
        child(options)
        return
    rows = []
    for arch in options.arch:
        for method in options.methods:
            if method != "mae" or arch == "vit":
                rows += compare(arch, method, options)
    if options.json:
        print(json.dumps(rows, indent=1))


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--arch", nargs="*", default=("resnet18", "vit"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=0, help="0: 256 for resnet18, 64 for vit")
    parser.add_argument("--image", type=int, default=0, help="0: 32 for resnet18, 64 for vit")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="fp32")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--allocated", action="store_true", help="also sample what is in use")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("manyviews", "lightly"), help=argparse.SUPPRESS)
    return parser.parse_args()


# The process that compares


def compare(arch, method, options):
    pythons = {"manyviews": sys.executable, "lightly": options.peer_python}
    sides = {name: start(name, python, arch, method, options) for name, python in pythons.items()
             if python}  # fmt: skip
    times = {name: [] for name in sides}
    for repeat in range(options.repeats + 1):
        for name, process in sides.items():
            process.stdin.write("step\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{name} failed at {method} on {arch}.")
            if repeat:  # the first warms up
                times[name].append(json.loads(line))
    rows = []
    for name, process in sides.items():
        memory = json.loads(process.communicate("end\n")[0])
        rows.append(row(name, times[name], memory, arch=arch, method=method))
    by_name = {each["library"]: each for each in rows}
    for each in rows:
        if "lightly" in by_name:
            each["step_to_lightly"] = round(each["step_ms"] / by_name["lightly"]["step_ms"], 3)
        show(each)
    return rows


def start(name, python, arch, method, options):
    command = [python, os.path.abspath(__file__), "--side", name, "--arch", arch]  # noqa: PTH100 - a string is wanted
    command += ["--methods", method, "--threads", str(options.threads)]
    command += ["--precision", options.precision] + ["--allocated"] * options.allocated
    command += ["--batch", str(options.batch or {"resnet18": 256, "vit": 64}[arch])]
    command += ["--image", str(options.image or {"resnet18": 32, "vit": 64}[arch])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def row(name, times, memory, *, arch, method):
    def share(step):
        return 1 - sum(step[part] for part in PARTS) / step["step"]

    shares = [share(step) for step in times]
    middle = {part: statistics.median(step[part] for step in times) for part in times[0]}
    return {
        "case": f"{method} {arch}",
        "library": name,
        "machinery_share": round(statistics.median(shares), 4),
        "machinery_share_range": [round(min(shares), 4), round(max(shares), 4)],
        "step_ms": round(1000 * middle["step"], 1),
        "parts_ms": {part: round(1000 * s, 2) for part, s in middle.items() if part != "step"},
        "peak_memory_gb": round(memory["peak"], 3),
        "peak_memory_above_imports_gb": round(memory["peak"] - memory["start"], 3),
        "peak_allocated_gb": round(memory["allocated"], 3),
    }


def show(each):
    parts = " ".join(f"{part} {ms:.0f}" for part, ms in each["parts_ms"].items())
    low, high = each["machinery_share_range"]
    peak, above = each["peak_memory_gb"], each["peak_memory_above_imports_gb"]
    in_use = each["peak_allocated_gb"]
    print(
        f"{each['case']:16s} {each['library']:9s} machinery {100 * each['machinery_share']:5.1f} % "
        f"[{100 * low:.1f}-{100 * high:.1f}]  step {each['step_ms']:6.0f} ms  "
        f"peak {peak:.2f} GB ({above:.2f} above imports"
        f"{f', {in_use:.2f} in use' if in_use else ''})  ms: {parts}",
        file=sys.stderr,
        flush=True,
    )


# A process that trains


class Parts:
    """Seconds of each part of one step."""

    def __init__(self):
        self.seconds = {}

    def __call__(self, part, function, *args, **kwargs):
        began = time.perf_counter()
        out = function(*args, **kwargs)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - began
        return out


def child(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    build = {"manyviews": ours, "lightly": lightlys}[options.side]
    prepare = build(options.methods[0], options.arch[0], options)
    start = peak_memory()
    allocated = Allocated(options.allocated)
    step = prepare()
    for line in sys.stdin:
        if line.strip() == "end":
            memory = {"start": start, "peak": peak_memory(), "allocated": allocated.stop()}
            print(json.dumps(memory), flush=True)
            return
        parts = Parts()
        began = time.perf_counter()
        step(parts)
        total = time.perf_counter() - began
        print(json.dumps(dict.fromkeys(PARTS, 0.0) | parts.seconds | {"step": total}), flush=True)


def peak_memory():
    """GB, the largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class Allocated:
    """The most that malloc had given out and not got back, sampled by a thread."""

    FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

    def __init__(self, wanted):
        import ctypes

        self.most, self.over = 0, threading.Event()
        if wanted:  # glibc's struct mallinfo2
            fields = [(name, ctypes.c_size_t) for name in self.FIELDS.split()]
            self.ask = ctypes.CDLL(None).mallinfo2
            self.ask.restype = type("Info", (ctypes.Structure,), {"_fields_": fields})
            self.thread = threading.Thread(target=self.watch, daemon=True)
            self.thread.start()

    def watch(self):
        while not self.over.wait(0.005):
            info = self.ask()
            self.most = max(self.most, info.uordblks + info.hblkhd)

    def stop(self):
        """GB."""
        self.over.set()
        return self.most / 1e9


def crops(method, options):
    """name -> (views, side)"""
    side = options.image
    if method == "mae":
        return {"global": (1, side)}
    local = {"local": (6, side // 2)} if method in MULTI_CROP else {}
    return {"global": (2, side)} | local


def ours(method, arch, options):
    import timm  # noqa: F401 - here, so that its import counts as one
    import torch

    from manyviews import encoders
    from manyviews.core import Batch, Clock, Given
    from manyviews.core.inputs import Pixels
    from manyviews.encoders import TimmConfig, ViTConfig
    from manyviews.methods import catalog
    from manyviews.training import guard, launch, optim
    from manyviews.training.settings import Optim

    def prepare():
        fed = Pixels(side=options.image)
        config = (
            TimmConfig(name="resnet18", input=fed, stem="small")
            if arch == "resnet18"
            else ViTConfig(name="vit_tiny_patch16_224", input=fed, patch=8)
        )
        encoder = encoders.build(config)
        given = Given({"image": encoder}, samples=options.batch)
        made = catalog.build(settings(method), given).to(memory_format=torch.channels_last)
        made.train()
        adamw = method in ADAMW
        rule = Optim(name="adamw" if adamw else "sgd", lr=1e-3, lr_per=0)
        updates = optim.build(made, rule, options.batch)
        undo = guard.Undo(made, everything=False)
        views = {
            name: torch.randn(options.batch, count, side, side, 3).movedim(-1, -3)
            for name, (count, side) in crops(method, options).items()
        }
        hidden = torch.rand(options.batch, 1, encoder.num_tokens).argsort(-1)
        hidden = hidden >= encoder.num_tokens // 4
        cues = {"global.mask": hidden} if method == "mae" else {}
        batch = Batch(views, torch.arange(options.batch), cues)
        slow = made.target.copy.encoder if method in MOVING else None
        cut = Cut(encoder, slow, read=("tokens", "class_token") if method == "mae" else ("pooled",))
        count = 0

        def step(parts):
            # As training/loop.py does a step.
            nonlocal count
            clock = Clock(100 + count, 1000, 10, 100)
            count += 1
            cut.parts = parts
            parts("seed", launch.seed_step, 0, clock.step)
            parts("rates", updates.set_rates, clock)
            parts("undo", undo.keep)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
                made_step = parts("forward", made, batch, clock)
            inside = parts.seconds["encoder_forward"] + parts.seconds.get("target_forward", 0.0)
            parts.seconds["forward"] -= inside
            parts("backward", made_step.total.backward)
            cut.backward()
            losses = {name: loss.detach() for name, loss in made_step.losses.items()}
            made_step = dataclasses.replace(made_step, losses=losses)
            norm = parts("norm", updates.grad_norm)
            verdict = parts("vote", guard.vote, losses, norm=norm, stop=False, seconds=0.0)
            assert not verdict.fault, verdict
            with torch.no_grad():
                parts("after_backward", made.after_backward, made_step, clock)
            parts("optimiser", updates.apply, norm)
            with torch.no_grad():
                parts("after_step", made.after_step, clock)
            parts("clear", updates.clear)

        return step

    return prepare


class Cut:
    """Stops gradients where the encoder ends, so that its backward is timed by itself."""

    def __init__(self, online, target, *, read):
        self.read = read  # of `Features`; what is not read is not kept, as in training
        self.parts, self.pairs = None, []
        forward = online.forward

        def online_forward(*args, **kwargs):
            features = self.parts("encoder_forward", forward, *args, **kwargs)
            names = [name for name in self.read if getattr(features, name) is not None]
            leaves = {name: self.leaf(getattr(features, name)) for name in names}
            return dataclasses.replace(features, **leaves)

        online.forward = online_forward
        if target is not None:
            slow = target.forward

            def target_forward(*args, **kwargs):
                return self.parts("target_forward", slow, *args, **kwargs)

            target.forward = target_forward

    def leaf(self, value):
        leaf = value.detach().requires_grad_()
        self.pairs.append((value, leaf))
        return leaf

    def backward(self):
        import torch

        used = [(value, leaf.grad) for value, leaf in self.pairs if leaf.grad is not None]
        self.pairs = []
        self.parts("encoder_backward", torch.autograd.backward, *zip(*used, strict=True))


def settings(method):
    from manyviews.methods.clustering import swav
    from manyviews.methods.contrastive import moco, simclr
    from manyviews.methods.distillation import byol, dino
    from manyviews.methods.masked import mae
    from manyviews.methods.redundancy import barlow, vicreg

    return {
        "simclr": lambda: simclr.SimCLRConfig(hidden=512, out=128),
        "moco": lambda: moco.MoCoConfig(queue=4096, hidden=512, out=128, norm_groups=0),
        "byol": lambda: byol.BYOLConfig(hidden=1024, out=256),
        "swav": lambda: swav.SwAVConfig(hidden=512, out=128, prototypes=512, queue=0),
        "dino": lambda: dino.DINOConfig(hidden=512, bottleneck=64, prototypes=2048),
        "barlow": lambda: barlow.BarlowTwinsConfig(hidden=2048, out=2048),
        "vicreg": lambda: vicreg.VICRegConfig(hidden=2048, out=2048),
        "mae": lambda: mae.MAEConfig(width=512, depth=1, heads=16),
    }[method]()


def lightlys(method, arch, options):  # noqa: C901 - eight examples side by side
    import copy
    import warnings

    import timm
    import torch
    from torch import nn

    warnings.filterwarnings("ignore")
    from lightly import loss as losses
    from lightly.loss.vicreg_loss import VICRegLoss
    from lightly.models import modules, utils
    from lightly.models.modules import heads

    def network():
        if arch == "vit":
            return timm.create_model(
                "vit_tiny_patch16_224", patch_size=8, img_size=options.image, num_classes=0,
                dynamic_img_size=True,
            )  # fmt: skip
        made = timm.create_model("resnet18", num_classes=0)
        made.conv1, made.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        return made.to(memory_format=torch.channels_last)

    def head_and_loss(width):
        cosine = losses.NegativeCosineSimilarity()
        match method:
            case "simclr":
                head, loss = heads.SimCLRProjectionHead(width, 512, 128), losses.NTXentLoss()
            case "barlow":
                head = heads.BarlowTwinsProjectionHead(width, 2048, 2048)
                loss = losses.BarlowTwinsLoss()
            case "vicreg":
                head = heads.VICRegProjectionHead(width, 2048, 2048, num_layers=3)
                loss = VICRegLoss()
            case "byol":
                head, loss = heads.BYOLProjectionHead(width, 1024, 256), cosine
            case "moco":
                head = heads.MoCoProjectionHead(width, 512, 128)
                loss = losses.NTXentLoss(memory_bank_size=(4096, 128))
            case "swav":
                head, loss = heads.SwaVProjectionHead(width, 512, 128), losses.SwaVLoss()
            case "dino":
                head = heads.DINOProjectionHead(width, 512, 64, 2048, freeze_last_layer=1)
                loss = losses.DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)
        return head, loss

    def images(side):
        made = torch.randn(options.batch, 3, side, side)
        return made if arch == "vit" else made.contiguous(memory_format=torch.channels_last)

    def optimiser(parameters):
        if method in ADAMW:
            return torch.optim.AdamW(parameters, lr=1e-3)
        return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def prepare():  # noqa: C901 - eight examples side by side
        if method == "mae":
            return masked()
        net = network()
        head, loss = head_and_loss(net.num_features)
        trained, pairs = [net, head], []
        if method == "byol":
            predictor = heads.BYOLPredictionHead(256, 1024, 256)
            trained.append(predictor)
        if method == "swav":
            prototypes = heads.SwaVPrototypes(128, n_prototypes=512)
            trained.append(prototypes)
        if method in MOVING:
            # A weight-normed head cannot be copied; lightly's example builds a second one.
            slow_net = copy.deepcopy(net)
            slow_head = head_and_loss(net.num_features)[0]
            utils.deactivate_requires_grad(slow_net)
            utils.deactivate_requires_grad(slow_head)
            pairs = [(net, slow_net), (head, slow_head)]
        views = [
            images(side) for count, side in crops(method, options).values() for _ in range(count)
        ]
        online = views[:1] if method == "moco" else views
        target = {"moco": views[1:2], "byol": views[:2], "dino": views[:2]}.get(method, [])
        update = optimiser([p for m in trained for p in m.parameters() if p.requires_grad])

        def value(ys, ts):
            match method:
                case "byol":
                    ps = [predictor(head(y)) for y in ys]
                    zs = [slow_head(t).detach() for t in ts]
                    return 0.5 * (loss(ps[0], zs[1]) + loss(ps[1], zs[0]))
                case "moco":
                    return loss(head(ys[0]), slow_head(ts[0]).detach())
                case "swav":
                    zs = [prototypes(nn.functional.normalize(head(y), dim=1)) for y in ys]
                    return loss(zs[:2], zs[2:])
                case "dino":
                    return loss([slow_head(t) for t in ts], [head(y) for y in ys], epoch=0)
            return loss(head(ys[0]), head(ys[1]))

        def step(parts):
            for model, slow in pairs:
                parts("ema", utils.update_momentum, model, slow, m=0.996)
            if method == "swav":
                prototypes.normalize()
            with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
                ys = [parts("encoder_forward", net, x).flatten(1) for x in online]
                with torch.no_grad():
                    ts = [parts("target_forward", slow_net, x).flatten(1) for x in target]
                leaves = [y.detach().requires_grad_() for y in ys]
                result = parts("forward", value, leaves, ts)
            parts("backward", result.backward)
            grads = [leaf.grad for leaf in leaves]
            parts("encoder_backward", torch.autograd.backward, ys, grads)
            if method == "dino":
                head.cancel_last_layer_gradients(current_epoch=0)
            parts("optimiser", update.step)
            parts("clear", update.zero_grad)
            result.item()

        return step

    def masked():
        vit = network()
        net = modules.MaskedVisionTransformerTIMM(vit=vit)
        decoder = modules.MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches, patch_size=8, embed_dim=vit.embed_dim,
            decoder_embed_dim=512, decoder_depth=1, decoder_num_heads=16, mlp_ratio=4.0,
            proj_drop_rate=0.0, attn_drop_rate=0.0,
        )  # fmt: skip
        trained = [p for m in (net, decoder) for p in m.parameters() if p.requires_grad]
        update, criterion, x = optimiser(trained), nn.MSELoss(), images(options.image)

        def decode(encoded, keep, hide):
            size = (options.batch, net.sequence_length)
            tokens = decoder.embed(encoded)
            full = utils.repeat_token(decoder.mask_token, size)
            full = utils.set_at_index(full, keep, tokens.type_as(full))
            out = utils.get_at_index(decoder.decode(full), hide)
            goal = utils.get_at_index(utils.patchify(x, 8), hide - 1)
            return criterion(decoder.predict(out), goal)

        def step(parts):
            with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
                keep, hide = utils.random_token_mask(
                    size=(options.batch, net.sequence_length), mask_ratio=0.75
                )
                encoded = parts("encoder_forward", net.encode, images=x, idx_keep=keep)
                leaf = encoded.detach().requires_grad_()
                result = parts("forward", decode, leaf, keep, hide)
            parts("backward", result.backward)
            parts("encoder_backward", encoded.backward, leaf.grad)
            parts("optimiser", update.step)
            parts("clear", update.zero_grad)
            result.item()

        return step

    return prepare


if __name__ == "__main__":
    main()
