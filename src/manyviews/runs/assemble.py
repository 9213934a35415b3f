"""From a `Run`, plain data, to the live pieces: data, views, encoder, method, and their batches."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from manyviews import encoders
from manyviews.core import Batch, Encoder, Failure, Given, Method, UsageError, comm
from manyviews.data import advice, loader, workers
from manyviews.data.ahead import ahead
from manyviews.data.order import Order
from manyviews.data.quarantine import Quarantine
from manyviews.data.sources import Source, open_source
from manyviews.data.streams.image import Pixels, Unreadable
from manyviews.methods import catalog
from manyviews.runs.entropy import spread
from manyviews.runs.settings import AnyRun
from manyviews.training import launch
from manyviews.views import normalise
from manyviews.views.image.engine import Engine
from manyviews.views.image.plain import Plain


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A run's live pieces.

    Attributes:
        run: what it was made from, with the encoder's sizes filled in.
        source: the unlabelled images.
        engine: makes training views.
        plain: makes the evaluation view.
        method: on `device`, in train mode.
        steps_per_epoch: optimiser steps.
        device: where the method lives.
        spent: what making batches took so far.
    """

    run: AnyRun
    source: Source
    engine: Engine
    plain: Plain
    method: Method
    steps_per_epoch: int
    device: torch.device
    spent: loader.Spent = field(default_factory=loader.Spent)

    def batches(
        self, quarantine: Quarantine | None = None, *, processes: int | None = None
    ) -> Callable[[int, int], Iterator[Sequence[Batch]]]:
        """What the training loop asks for steps: (start, stop) -> micro-batches per step.

        Args:
            quarantine: where unreadable files are written down.
            processes: workers; None takes the run's.
        """
        data, run = self.run.data, self.run

        def between(start: int, stop: int) -> Iterator[Sequence[Batch]]:
            raws = loader.batches(
                self.source,
                self.engine,
                seed=run.seed,
                global_batch=data.batch_size,
                accumulate=run.train.accumulate,
                start_step=start,
                stop_step=stop,
                workers=data.workers if processes is None else processes,
                max_bad=data.max_bad,
                on_bad=(lambda _: None) if quarantine is None else quarantine.add,
                rank=comm.rank(),
                world=comm.world_size(),
                spent=self.spent,
            )
            yield from ahead(
                raws,
                lambda step: [self.to_batch(raw) for raw in step],
                tensors=_tensors,
                device=self.device,
            )

        return between

    def why_waiting(self) -> str:
        """What to do where training waits for data."""
        number = workers.count(self.run.data.workers, in_memory=self.source.array is not None)
        return advice.why(self.source, self.spent, workers=number)

    def to_batch(self, raw: loader.Raw) -> Batch:
        """Move a raw micro-batch to the device and normalise."""
        mean, std = self.run.data.mean, self.run.data.std
        views = {
            name: normalise(levels.to(self.device, non_blocking=True), mean, std)
            for name, levels in raw.views.items()
        }
        cues = {name: cue.to(self.device, non_blocking=True) for name, cue in raw.cues.items()}
        return Batch(views, raw.index.to(self.device, non_blocking=True), cues)

    @torch.no_grad()
    def embed_all(self, f: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
        """One pass over the data without gradient; see `core.EmbedAll`."""
        count, size = len(self.source), self.run.data.batch_size
        mine = comm.share(torch.arange(count)).tolist()
        found: Tensor | None = None
        for start in range(0, len(mine), size):
            read = read_many(self.source, mine[start : start + size])
            if read:
                where, images = zip(*read, strict=True)
                made = f({"image": self.plain(images).to(self.device)}).float()
                if found is None:
                    found = made.new_full((count, made.shape[1]), torch.nan)
                found[list(where)] = made
        if found is None:
            raise Failure("No image of this rank's share can be read. Run `manyviews doctor`.")
        return comm.joined(found)


def _tensors(step: Sequence[Batch]) -> list[Tensor]:
    return [
        tensor
        for batch in step
        for tensor in (*batch.views.values(), *batch.cues.values(), batch.index)
    ]


def assemble(run: AnyRun) -> Assembly:
    """Build everything that a run needs, with the initial weights that its seed gives.

    Raises:
        UsageError: the data cannot be used, or the parts of the run contradict each other.
    """
    run = resolve(run)
    source = open_source(
        run.data.source, channels=run.data.channels, max_pixels=run.data.max_pixels
    )
    order = Order(
        count=len(source),
        batch=run.data.batch_size,
        accumulate=run.train.accumulate,
        seed=run.seed,
        world=comm.world_size(),
    )
    device = launch.device()
    torch.manual_seed(run.seed)
    encoder = encoders.build(run.encoder)
    method = catalog.build(run.method, Given({"image": encoder}, samples=len(source)))
    if run.entropy.weight:
        spread(method, run.entropy)
    check_views(run, method)
    method = method.to(device=device, memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - torch's stub lacks this form
    return Assembly(
        run=run,
        source=source,
        engine=Engine(run.views, channels=run.data.channels, seed=run.seed),
        plain=plain_of(run),
        method=method,
        steps_per_epoch=order.count // order.batch,
        device=device,
    )


def resolve(run: AnyRun) -> AnyRun:
    """Fill in what follows from other settings, and refuse contradictions.

    Raises:
        UsageError: the encoder's sizes contradict the views or the data, or the numbers that
            normalise have other channels.
    """
    size, channels = run.views.global_.size, run.data.channels
    encoder = run.encoder
    if encoder.image_size not in (0, size):
        raise UsageError(
            f"--encoder.image-size {encoder.image_size} contradicts --views.global.size {size}. "
            f"Leave it out, or set both to one value."
        )
    if encoder.channels not in (0, channels):
        raise UsageError(
            f"--encoder.channels {encoder.channels} contradicts --data.channels {channels}. "
            f"Leave it out, or set both to one value."
        )
    for name, values in (("mean", run.data.mean), ("std", run.data.std)):
        if len(values) not in (1, channels):
            raise UsageError(
                f"--data.{name} has {len(values)} numbers for --data.channels {channels}. "
                "Give one for each channel, or one for all."
            )
    return replace(run, encoder=replace(encoder, image_size=size, channels=channels))


def check_views(run: AnyRun, method: Method) -> None:
    """Hold the method's needs against the view plan.

    Raises:
        UsageError: the plan makes too few of something.
    """
    makes, name = run.views.makes, catalog.name_of(run.method)
    for kind, least in method.needs.items():
        made = makes.get(kind, 0)
        if made < least:
            flag = "--views.mask.ratio 0.75" if kind == "mask" else f"--views.{kind}.count {least}"
            raise UsageError(
                f"{name} needs {least} '{kind}' a sample; the view plan makes {made}. Set {flag}."
            )


def plain_of(run: AnyRun) -> Plain:
    """The evaluation view that goes with a run's training views."""
    data = run.data
    return Plain(run.views.global_.size, channels=data.channels, mean=data.mean, std=data.std)


def embedder(encoder: Encoder, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from normalised images [B, C, H, W] to embeddings [B, D] float32.

    The encoder is in eval mode during a call and goes back to the mode it was in.
    """

    def embed(images: Tensor) -> Tensor:
        was_training = encoder.training
        encoder.eval()
        with torch.inference_mode(), evaluation_precision(device):
            images = images.to(device, memory_format=torch.channels_last)
            pooled = encoder(images).pooled.float()
        encoder.train(was_training)
        return pooled

    return embed


def evaluation_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Evaluation computes in fp32 on every device, so that a number means one thing."""
    return torch.autocast(device.type, enabled=False)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def readers(source: Source) -> int:
    """Processes that read ahead while features are extracted: none for images in memory."""
    return workers.count(-1, in_memory=source.array is not None)


def read_many(source: Source, index: Sequence[int]) -> list[tuple[int, Pixels]]:
    """(position, image) for these positions, unreadable ones left out."""
    found: list[tuple[int, Pixels]] = []
    for i in index:
        with contextlib.suppress(Unreadable):
            found.append((i, source.read(i)))
    return found
