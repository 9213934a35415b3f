"""Fine-tuning, full and partial: the recipe of MAE and BEiT."""

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import check
from manyviews.evaluation.image.settings import FineTune
from manyviews.evaluation.image.supervised import Part, Progress, Setup, Training, fit, score
from manyviews.evaluation.labelled import Labelled
from manyviews.evaluation.linear import hold_out
from manyviews.evaluation.result import Result, accuracy, check_labels, several_classes

log = logging.getLogger("manyviews")


def finetune(
    encoder: Encoder,
    train: Labelled,
    test: Labelled,
    *,
    input: Pixels,
    settings: FineTune | None = None,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    workers: int = 0,
    warn: Callable[[str], object] = log.warning,
) -> Result:
    """Train an encoder on, with labels, and test it.

    Nothing is chosen on the test images: not the learning rate, and not the epoch. On one CPU the
    same call gives the same result.

    Args:
        encoder: copied, so it stays as it is.
        train: what is learnt from.
        test: what the accuracy is of.
        input: what it is fed.
        settings: the recipe; `FineTune()` where it is left out.
        device: where to compute; bfloat16 autocast on an accelerator, else float32.
        progress: told (steps done, steps in all) after each step, over all trainings.
        workers: processes that read and crop ahead; 0 for none. The result is the same.
        warn: told what cannot be read.

    Returns:
        The measure "accuracy". `settings` holds the recipe, the learning rate that was taken, and
        how many parameters trained.

    Raises:
        UsageError: settings or labels that cannot be used.
        Failure: the loss is no longer a number, or no test image can be read.
    """
    settings = settings or FineTune()
    _check(settings, train, test, input)
    began = time.perf_counter()
    whole = Part(train.source, train.labels, torch.arange(len(train)))
    rates = {rate: Training(rate, settings, input, len(train.classes)) for rate in settings.lr}
    run = Setup(torch.device(device), workers, progress, warn=warn)
    lr, tried = settings.lr[0], dict[float, float]()
    if len(rates) > 1:
        fitted, judged = _halved(whole, settings.seed)
        run.total = settings.steps(len(fitted)) * len(rates) + settings.steps(len(whole))
        for rate, training in rates.items():
            right, n = score(fit(encoder, fitted, training, run), judged, input, run)
            tried[rate] = right / n
        lr = max(tried, key=lambda rate: tried[rate])
    else:
        run.total = settings.steps(len(whole))
    model = fit(encoder, whole, rates[lr], run)
    tested = Part(test.source, test.labels, torch.arange(len(test)))
    right, n = score(model, tested, input, run)
    if run.bad:
        warn(f"{len(run.bad)} training images could not be read and were left out.")
    said = {name: value for name, value in asdict(settings).items() if name != "lr"}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Result(
        protocol="finetune",
        version=1,
        train=len(train) - len(run.bad),
        n=n,
        classes=len(train.labels.unique()),
        measures={"accuracy": accuracy(right, n)},
        seconds=time.perf_counter() - began,
        settings=said
        | {"lr": lr, "trained_parameters": trained}
        | {f"held_out_accuracy_at_{rate:g}": value for rate, value in tried.items()},
    )


def _halved(part: Part, seed: int) -> tuple[Part, Part]:
    """What is fitted and what is judged on while the learning rate is chosen."""
    held = hold_out(part.labels, share=0.1, seed=seed)
    if not held.any():
        raise UsageError(
            "There are too few training images to hold any out for choosing a learning rate. "
            "Give one rate in lr, or more images."
        )
    return (
        dataclasses.replace(part, rows=part.rows[~held]),
        dataclasses.replace(part, rows=part.rows[held]),
    )


def _check(settings: FineTune, train: Labelled, test: Labelled, input: Pixels) -> None:
    check(settings, "finetune.")
    for name, part in (("training", train), ("test", test)):
        check_labels(name, part.labels, len(part.source))
        if not len(part) or int(part.labels.max()) >= len(part.classes):
            raise UsageError(
                f"The {name} part has {len(part)} images and labels beyond its "
                f"{len(part.classes)} classes, or none. Give images of known classes."
            )
        channels = part.images.channels
        if channels != input.channels:
            raise UsageError(
                f"The {name} images have {channels} channels and the encoder takes "
                f"{input.channels}. Open the data with channels={input.channels}."
            )
    if train.classes != test.classes:
        raise UsageError(
            f"The training part has the classes {', '.join(train.classes)[:80]}, the test part "
            f"{', '.join(test.classes)[:80]}. Give both the same classes."
        )
    several_classes(train.labels)
