"""What `evaluate --protocol propagation` measures: features of frames, beside others."""

from collections.abc import Sequence

from manyviews.core import UsageError
from manyviews.core.progress import bar
from manyviews.evaluation.dense.propagation import propagation
from manyviews.evaluation.dense.settings import Propagation
from manyviews.evaluation.dense.videos import MaskedVideos, open_videos
from manyviews.evaluation.features import Embed, cached, extract, fingerprint, said
from manyviews.evaluation.result import Beside, Result
from manyviews.runs.assemble import readers
from manyviews.runs.dense import DenseTask, raw_places
from manyviews.runs.embedder import Embedder
from manyviews.runs.subject import untrained
from manyviews.views.by_input import whole_of


def masked_videos(subject: Embedder, asked: DenseTask) -> list[MaskedVideos]:
    """The videos. Raises UsageError as `open_videos`, and where something is to be learnt from."""
    if asked.train_data:
        raise UsageError("propagation learns nothing. Leave out --train-data.")
    return [open_videos(asked.data, channels=subject.pixels.channels, max_pixels=asked.max_pixels)]


def propagated(
    subject: Embedder, parts: Sequence[MaskedVideos], asked: DenseTask, settings: Propagation
) -> Beside:
    """The protocol on the encoder's patch features, on others, and on masks that stay in place."""
    [videos] = parts
    height, width = subject.encoder.grid
    input = subject.pixels

    def of(embed: Embed, key: str, *, still: bool = False) -> Result:
        with bar("embedding") as progress:
            got = cached(
                asked.cache.directory,
                encoder=key,
                source=videos.source.digest,
                transform=f"whole {said(input)}",
                compute=lambda: extract(
                    embed,
                    videos.source,
                    whole_of(input),
                    batch_size=asked.batch_size,
                    device=asked.device,
                    progress=progress,
                    workers=readers(videos.source),
                ),
                warn=asked.cache.warn,
            )
        if got.bad:
            raise UsageError(
                f"The frame {got.bad[0].path} cannot be read: {got.bad[0].reason}. Mend it, or "
                "take its folder out."
            )
        with bar("following") as progress:
            return propagation(
                got.features, videos, grid=(height, width), side=input.side, settings=settings,
                still=still, progress=progress,
            )  # fmt: skip

    def encoded(network: Embedder) -> Result:
        return of(network.tokens, f"{fingerprint(network)} {network.config} patches fp32")

    mine = encoded(subject)
    if not asked.baselines:
        return Beside(result=mine, beside={})
    beside = {
        "first mask": of(*raw_places(height, width), still=True),
        "raw pixels": of(*raw_places(height, width)),
        "untrained encoder": encoded(untrained(subject).to(asked.device)),
    }
    return Beside(result=mine, beside=beside)
