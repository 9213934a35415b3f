"""From a `Run`, plain data, to the live pieces: data, views, encoders, method, their batches."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from manyviews import encoders
from manyviews.core import (
    Batch,
    Encoder,
    Failure,
    Features,
    Given,
    Method,
    UsageError,
    comm,
    settings,
)
from manyviews.core.inputs import Pixels
from manyviews.core.nouns import noun_of
from manyviews.core.sample import Source
from manyviews.data import advice, direct, loader, packet, workers
from manyviews.data.order import Order
from manyviews.data.pairs import Pairs, find, fingerprint, halves
from manyviews.data.quarantine import Quarantine
from manyviews.data.sources import open_data
from manyviews.data.store import Kept
from manyviews.data.to_device import ahead
from manyviews.methods import catalog
from manyviews.runs.entropy import spread
from manyviews.runs.settings import AnyRun
from manyviews.runs.start import Start
from manyviews.runs.teachers import open_teachers
from manyviews.training import launch
from manyviews.views.by_input import plain
from manyviews.views.pipeline import Fed, Pipeline

log = logging.getLogger("manyviews")


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A run's live pieces.

    Attributes:
        run: what it was made from.
        source: the unlabelled samples.
        pipeline: makes training views.
        fixed: makes the evaluation views, a family for each encoder, of its name.
        method: on `device`, in train mode.
        steps_per_epoch: optimiser steps.
        device: where the method lives.
        teachers: name -> the frozen model that targets come from, there too.
        pairs: who makes training views that are of other samples, where there are some.
        spent: what making batches took so far.
    """

    run: AnyRun
    source: Source
    pipeline: Pipeline
    fixed: Pipeline
    method: Method
    steps_per_epoch: int
    device: torch.device
    teachers: Mapping[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    pairs: Pairs | None = None
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
                self.pipeline,
                seed=run.seed,
                global_batch=data.batch_size,
                accumulate=run.train.accumulate,
                start_step=start,
                stop_step=stop,
                workers=data.workers if processes is None else processes,
                max_bad=data.max_bad,
                on_bad=_on_bad(quarantine),
                rank=comm.rank(),
                world=comm.world_size(),
                spent=self.spent,
                pairs=self.pairs,
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
        number = workers.count(self.run.data.workers, in_memory=bool(self.source.stack))
        source = self.source.inner if isinstance(self.source, Kept) else self.source
        return advice.why(source, self.spent, workers=number)

    def to_batch(self, raw: packet.Raw) -> Batch:
        """Move a raw micro-batch to the device and make of it what encoders take."""
        return self.pipeline.finish(raw.views, raw.cues, raw.index, self.device)

    @torch.no_grad()
    def embed_all(
        self,
        f: Callable[[Mapping[str, Tensor]], Tensor],
        *,
        share: bool = False,
        quarantine: Quarantine | None = None,
    ) -> Tensor:
        """One pass over the data without gradient; see `core.EmbedAll`."""
        found: Tensor | None = None
        why: Exception | None = None
        mine = comm.share(torch.arange(len(self.source))).tolist()
        try:
            for where, made in self._embedded(f, range(mine[0], mine[-1] + 1), quarantine):
                if found is None:
                    found = made.new_full((len(mine), made.shape[1]), torch.nan)
                found[where - mine[0]] = made
        except Exception as error:  # of any kind: the others must not wait for this rank
            why = error
        width = 0 if found is None else found.shape[1]
        voted = comm.largest(torch.tensor([int(why is not None), width], device=self.device))
        failed, width = voted.tolist()
        if why is not None:
            raise why
        if failed:
            raise Failure("Another rank could not embed its share of the data, and says why.")
        if not width:
            raise Failure("No sample of the data can be read. Run `manyviews doctor`.")
        if found is None:
            found = torch.full((len(mine), width), torch.nan, device=self.device)
        return found if share else comm.whole(found, len(self.source))

    def _embedded(
        self,
        f: Callable[[Mapping[str, Tensor]], Tensor],
        rows: range,
        quarantine: Quarantine | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions [B] and what f makes of them, [B, D] float32, of those that can be read."""
        data = self.run.data
        raws = loader.once(
            self.source,
            self.fixed,
            rows,
            batch=max(1, data.batch_size // (comm.world_size() * self.run.train.accumulate)),
            workers=data.workers,
            max_bad=data.max_bad,
            on_bad=_on_bad(quarantine),
        )
        batches = ahead(raws, self._plain, tensors=_tensors_of, device=self.device)
        for batch in batches:
            plain = {name: views[:, 0] for name, views in batch.views.items()}
            yield batch.index, f(plain).float()

    def _plain(self, raw: packet.Raw) -> Batch:
        return self.fixed.finish(raw.views, raw.cues, raw.index, self.device)

    def look(self, index: Sequence[int]) -> tuple[list[int], Mapping[str, Tensor]]:
        """Evaluation views of some samples: those that can be read, and encoder -> [B, V, ...]."""
        where, made, _ = direct.seen(self.source, self.fixed, index)
        raw = {name: torch.from_numpy(view) for name, view in made.items()}
        kept = torch.tensor(where)
        return where, self.fixed.finish(raw, {}, kept, self.device).views if where else {}


def _on_bad(quarantine: Quarantine | None) -> loader.OnBad:
    return (lambda _: None) if quarantine is None else quarantine.add


def _tensors_of(batch: Batch) -> list[Tensor]:
    return [*batch.views.values(), *batch.cues.values(), batch.index]


def _tensors(step: Sequence[Batch]) -> list[Tensor]:
    return [tensor for batch in step for tensor in _tensors_of(batch)]


def assemble(run: AnyRun, *, start: Start | None = None) -> Assembly:
    """Build everything that a run needs, with the initial weights that its seed gives.

    Args:
        run: its settings.
        start: weights to begin from instead, where there are some.

    Raises:
        UsageError: the data cannot be used, or the parts of the run contradict each other.
    """
    device = launch.device()
    kept = initial(run)
    teachers = {name: _on(device, teacher) for name, teacher in open_teachers(run).items()}
    fed = _fed(kept)
    taught = _fed({k: each for k, each in teachers.items() if isinstance(each, Encoder)})
    pipeline = Pipeline(settings.parts(run.views), {**fed, **taught}, seed=run.seed)
    source = source_of(run)
    order = Order(
        count=len(source),
        batch=run.data.batch_size,
        accumulate=run.train.accumulate,
        seed=run.seed,
        world=comm.world_size(),
        noun=noun_of(source.streams),
    )
    kind = catalog.name_of(run.method)
    whole = start is not None and start.kind in (kind, *catalog.METHODS[kind].follows)
    said = start.into_encoders(kept) if start is not None and not whole else []
    given = Given(kept, samples=len(source), teachers=teachers)
    method = catalog.build(run.method, given)
    if start is not None and whole:
        said = start.into_method(method, same_data=start.knows(source))
    for line in said:
        log.info("start: %s", line)
    if run.entropy.weight:
        spread(method, run.entropy)
    check_needs(pipeline, method, catalog.name_of(run.method))
    return Assembly(
        run=run,
        source=source,
        pipeline=pipeline,
        fixed=plain(fed),
        method=_placed(method, device),
        steps_per_epoch=order.count // order.batch,
        device=device,
        teachers=teachers,
        pairs=_pairs(run, source, pipeline, method),
    )


def pipeline_of(run: AnyRun) -> Pipeline:
    """The views of a run without teachers; sets torch's seed. Raises UsageError."""
    return Pipeline(settings.parts(run.views), _fed(initial(run)), seed=run.seed)


def _pairs(run: AnyRun, source: Source, pipeline: Pipeline, method: Method) -> Pairs | None:
    """Who makes views of other samples, where a run groups its samples.

    Raises:
        UsageError: the groups cannot be used, or the method sees one view of a sample.
    """
    if not run.positives.group:
        return None
    around = {name: plan.around for name, plan in settings.parts(run.views).items()}
    counts = {name: layout.count for name, layout in pipeline.makes.items()}
    own, theirs = halves(counts, around, method.of_one)
    if not any(len(views) for views in theirs.values()):
        raise UsageError(
            f"{catalog.name_of(run.method)} reads one view of a sample here, or views that have to "
            "be of one sample, so there are no pairs to group. Leave out --views.group."
        )
    partners, said = find(source, run.positives, seed=run.seed)
    log.info("positives by %s", said)
    digest = fingerprint(source, run.positives)
    return Pairs(partners, pipeline.only(own), pipeline.only(theirs), theirs, digest)


def initial(run: AnyRun) -> dict[str, Encoder]:
    """A run's encoders with the random weights that its seed gives; sets torch's seed."""
    torch.manual_seed(run.seed)
    return {name: encoders.build(config) for name, config in settings.parts(run.encoders).items()}


def _fed(encoders: Mapping[str, Encoder]) -> dict[str, Fed]:
    return {name: Fed(encoder.input, encoder.grid) for name, encoder in encoders.items()}


def _placed(method: Method, device: torch.device) -> Method:
    """On the device, in train mode; convolutions over images in the order that they like."""
    images = all(isinstance(e.input, Pixels) for e in method.encoders.values())
    order = torch.channels_last if images else torch.preserve_format
    return cast(Any, method).to(device=device, memory_format=order).train()


def _on(device: torch.device, teacher: nn.Module) -> nn.Module:
    images = isinstance(teacher, Encoder) and isinstance(teacher.input, Pixels)
    order = torch.channels_last if images else torch.preserve_format
    return cast(Any, teacher).to(device=device, memory_format=order)


def source_of(run: AnyRun) -> Source:
    """The samples of a run as they are now, read as the encoders are fed.

    Raises:
        UsageError: they are not there, or cannot be used.
    """
    fed = {name: config.input for name, config in settings.parts(run.encoders).items()}
    views = settings.parts(run.views).values()
    images = [fed[plan.to] for plan in views if plan.of == "image" and plan.to in fed]
    channels = {each.channels for each in images if hasattr(each, "channels")}
    if len(channels) > 1:
        raise UsageError(
            f"Encoders of images are fed {' and '.join(map(str, sorted(channels)))} channels. "
            "Set --encoders.*.input.channels to one number."
        )
    return open_data(
        run.data.source,
        tuple(dict.fromkeys(plan.of for plan in views)),
        channels=channels.pop() if channels else 3,
        max_pixels=run.data.max_pixels,
    )


def check_needs(pipeline: Pipeline, method: Method, name: str) -> None:
    """Hold the method's needs against the view plan.

    Raises:
        UsageError: the plan makes too few of something.
    """
    made = {key: layout.count for key, layout in {**pipeline.makes, **pipeline.cues}.items()}
    for kind, least in method.needs.items():
        if made.get(kind, 0) < least:
            advice = f"Set --views.{kind}.count {least}."
            if kind.endswith(".mask"):
                advice = f"Set --views.{kind}.ratio 0.75."
            elif kind not in pipeline.planned:
                advice = (
                    f"The recipe has no family {kind!r}; give one from Python (docs/settings.md)."
                )
            raise UsageError(
                f"{name} needs {least} '{kind}' a sample; the view plan makes "
                f"{made.get(kind, 0)}. {advice}"
            )


def surplus(run: AnyRun, pipeline: Pipeline, method: Method) -> str:
    """One line on views that the method would not read, or ""."""
    around = {plan.around for plan in settings.parts(run.views).values()}
    for family, layout in pipeline.makes.items():
        most = method.most.get(family, layout.count) if family in method.needs else 0
        if layout.count > most and family not in around:
            return (
                f"{catalog.name_of(run.method)} reads {most or 'no'} '{family}' a sample; "
                f"the view plan makes {layout.count}, and the others for nothing. "
                f"Set --views.{family}.count {most}."
            )
    return ""


def embed_with(encoder: Encoder, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from normalised views [B, ...] to embeddings [B, D] float32.

    The encoder is in eval mode during a call and goes back to the mode it was in.
    """
    return _evaluated(encoder, device, lambda features: features.pooled)


def tokens_with(encoder: Encoder, device: torch.device) -> Callable[[Tensor], Tensor]:
    """As `embed_with`, to the features of places [B, N, T]."""
    return _evaluated(encoder, device, lambda features: features.tokens)


def _evaluated(
    encoder: Encoder, device: torch.device, part: Callable[[Features], Tensor]
) -> Callable[[Tensor], Tensor]:
    def embed(images: Tensor) -> Tensor:
        was_training = encoder.training
        encoder.eval()
        with torch.inference_mode(), evaluation_precision(device):
            order = torch.channels_last if images.ndim == 4 else torch.preserve_format
            images = images.to(device, memory_format=order)
            found = part(encoder(images)).float()
        encoder.train(was_training)
        return found

    return embed


def evaluation_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Evaluation computes in fp32 on every device, so that a number means one thing."""
    return torch.autocast(device.type, enabled=False)


def readers(source: Source) -> int:
    """Processes that read ahead while features are extracted: none for images in memory."""
    return workers.count(-1, in_memory=bool(source.stack))
