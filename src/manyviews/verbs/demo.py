"""`manyviews demo`: the whole way on images that come with the package."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.core.in_words import InWords
from manyviews.data.settings import MAX_PIXELS
from manyviews.runs.folder.paths import Paths

if TYPE_CHECKING:
    from manyviews.runs.train import Trained

log = logging.getLogger("manyviews")


@dataclass(frozen=True, kw_only=True)
class Demo(InWords):
    """kNN top-1 on the built-in test images, and where the run lies."""

    raw_pixels: float
    centred_pixels: float
    untrained: float
    trained: float
    run: Path
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        return [
            "kNN top-1 on the 2,000 built-in test images (cosine, k=20, T=0.07):",
            f"  raw pixels         {self.raw_pixels:.3f}",
            f"  centred pixels     {self.centred_pixels:.3f}   (less the mean image)",
            f"  untrained encoder  {self.untrained:.3f}",
            f"  trained encoder    {self.trained:.3f}   after {self.seconds:.0f} s, without labels",
            f"encoder: {Paths(self.run).encoder()}",
            f"report: {Paths(self.run).report}",
        ]


def demo(*, out: str | Path = "runs/demo", minutes: float = 5.0, seed: int = 0) -> "Demo | Trained":
    """Train on the built-in images, evaluate on their labels, write the report.

    Run again, it goes on where it was interrupted; then it gives what a training gives.

    Args:
        out: the run directory to make.
        minutes: wall-clock budget of the training.
        seed: of everything that is random.
    """
    from manyviews.core.files import write_json
    from manyviews.core.settings import check, override
    from manyviews.data.sources import BUILTIN
    from manyviews.evaluation import baselines
    from manyviews.evaluation.protocols import PROTOCOLS
    from manyviews.recipes import one_duration
    from manyviews.runs.assemble import assemble, embed_with
    from manyviews.runs.facts import facts
    from manyviews.runs.folder.read import saved_run
    from manyviews.runs.folder.write import refuse_second
    from manyviews.runs.probe import open_probe
    from manyviews.runs.subject import load
    from manyviews.training import checkpoint
    from manyviews.verbs.report import report
    from manyviews.verbs.resume import resume
    from manyviews.verbs.train import execute, recipe_of

    directory, paths = Path(out), Paths(Path(out))
    begun = checkpoint.exists(paths.checkpoints)
    default = recipe_of("simclr")(facts(BUILTIN))
    run = one_duration(override(default, {"seed": seed, "train.minutes": minutes}), default)
    check(run)
    before = assemble(run)
    if begun and saved_run(directory) != before.run:
        refuse_second(directory)
    fed = before.method.encoder.input
    probe = open_probe(BUILTIN, fed, max_pixels=MAX_PIXELS, device=before.device)
    raw = probe.split(baselines.pixels(fed))
    pixels = PROTOCOLS["knn"](*raw)
    less_mean = baselines.centred(raw.train_x)
    centred = PROTOCOLS["knn"](
        less_mean(raw.train_x), raw.train_y, less_mean(raw.test_x), raw.test_y
    )
    [untrained] = probe.measure(embed_with(before.method.encoder, before.device), ["knn"])
    log.info(
        "raw pixels %.3f, centred pixels %.3f, untrained encoder %.3f",
        *(pixels.value, centred.value, untrained.value),
    )
    trained = resume(directory) if begun else execute(run, out=directory)
    if trained.status != "done":
        return trained
    network = load(directory).to(before.device)
    [result] = probe.measure(network, ["knn"])
    numbers = {
        "raw_pixels": pixels.value,
        "centred_pixels": centred.value,
        "untrained": untrained.value,
        "trained": result.value,
    }
    write_json(
        paths.evaluation("knn--builtin-fashion"),
        result.to_json() | {"data": BUILTIN, "content": probe.content()},
    )
    write_json(paths.evaluation("demo"), numbers)
    report(directory)
    return Demo(**numbers, run=directory, seconds=trained.seconds)
