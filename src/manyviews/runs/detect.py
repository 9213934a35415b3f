"""What `evaluate --protocol detection` measures: the encoder beside an untrained one."""

import functools
from collections.abc import Sequence
from dataclasses import replace

from manyviews.core import Encoder
from manyviews.core.progress import bar
from manyviews.encoders.apart import parted
from manyviews.evaluation.dense.boxed import BoxedImages, open_boxed
from manyviews.evaluation.dense.detection import Seeing, detection, maps_of
from manyviews.evaluation.dense.detector import Places, Trunk
from manyviews.evaluation.dense.settings import Detection
from manyviews.evaluation.features import Embed, Extracted, cached, fingerprint, said
from manyviews.evaluation.result import Beside, Result
from manyviews.runs.assemble import readers
from manyviews.runs.dense import DenseTask
from manyviews.runs.embedder import Embedder
from manyviews.runs.subject import untrained


def boxed_parts(subject: Embedder, asked: DenseTask) -> list[BoxedImages]:
    """Both parts of images with boxes. Raises UsageError as `open_boxed`."""
    channels, most = subject.pixels.channels, asked.max_pixels
    learnt = asked.train_data or asked.data
    return [
        open_boxed(learnt, channels=channels, max_pixels=most, split="train"),
        open_boxed(asked.data, channels=channels, max_pixels=most, split="test"),
    ]


def trunk_of(encoder: Encoder) -> Trunk:
    """A residual network before and after its C4, or any encoder's tokens as a map."""
    parts = parted(encoder)
    return Trunk(Places(encoder)) if parts is None else Trunk(*parts)


def detected(
    subject: Embedder, parts: Sequence[BoxedImages], asked: DenseTask, settings: Detection
) -> Beside:
    """The protocol on the encoder, and on one that no training touched."""
    train, test = parts

    def of(network: Embedder) -> Result:
        with bar("training a detector") as progress:
            seeing = Seeing(
                subject.pixels,
                trunk_of,
                functools.partial(_maps, network, asked, keep=settings.blocks == 0),
                asked.device,
                readers(train.source),
                progress,
            )
            return detection(network.encoder, train, test, seeing=seeing, settings=settings)

    mine = of(subject)
    if test.split == "hashed":
        mine = replace(mine, notes=(*mine.notes, "split by the hash of paths, 80 to 20"))
    beside = {"untrained encoder": of(untrained(subject))} if asked.baselines else {}
    return Beside(result=mine, beside=beside)


def _maps(
    network: Embedder, asked: DenseTask, body: Embed, part: BoxedImages, *, keep: bool
) -> Extracted:
    """Of a frozen encoder kept for next time; one that has been trained is not seen again."""
    input = network.pixels

    def compute() -> Extracted:
        with bar("embedding") as progress:
            return maps_of(
                body, part, input, batch_size=asked.batch_size, device=asked.device,
                workers=readers(part.source), progress=progress,
            )  # fmt: skip

    if not keep:
        return compute()
    return cached(
        asked.cache.directory,
        encoder=f"{fingerprint(network)} {network.config} maps fp32",
        source=part.source.digest,
        transform=f"whole {said(input)}",
        compute=compute,
        warn=asked.cache.warn,
    )
