"""Whose features are looked at: a run, an encoder file, any timm model, an official checkpoint."""

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from manyviews import encoders
from manyviews.core import Failure, UsageError
from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD, Pixels
from manyviews.encoders.file import About
from manyviews.encoders.weights import Loaded, load_weights, network
from manyviews.runs.embedder import Embedder, load_encoder, resize_rule

log = logging.getLogger("manyviews")

TIMM = "timm:"
FORMS = (
    "a run directory, an encoder.safetensors, timm:NAME, or a checkpoint file with --encoder NAME"
)
"""What `open_subject` takes, for messages."""


def open_subject(spec: str | Path, *, encoder: str = "", image_size: int = 0) -> Embedder:
    """The frozen encoder that a RUN argument names, with the view that it wants.

    Args:
        spec: a run directory or an encoder.safetensors; `timm:NAME`, with the pretrained weights
            that timm gets or finds for that name; or, with `encoder`, a checkpoint of another
            project (`manyviews.encoders.load_weights` lists the layouts). Nothing is unpickled.
        encoder: timm's name of the architecture that a checkpoint was trained with. Pixels are
            normalised with ImageNet's mean and deviation, as authors do, but for weights that
            are timm's own: those of a name with a tag (NAME.TAG), or that look like timm's file.
        image_size: side in pixels for timm models and checkpoints; 0 takes the model's own.

    Raises:
        UsageError: there is no such encoder, or its weights do not fit.
        Failure: timm cannot get the weights.
    """
    text = str(spec)
    if image_size < 0:
        raise UsageError(f"--image-size is {image_size}; wanted 0 or more pixels.")
    if text.startswith(TIMM):
        if encoder:
            raise UsageError(f"{text} names its encoder already. Leave out --encoder {encoder}.")
        return _timm(text.removeprefix(TIMM), image_size)
    if encoder:
        about = _about_timm(encoder, image_size)
        built = _build(about.encoder)
        loaded = load_weights(built, Path(text))
        if not _is_timms_own(loaded, encoder):
            # What the authors of every method trained with.
            fed = replace(about.encoder.input, mean=IMAGENET_MEAN, std=IMAGENET_STD)
            about = replace(about, encoder=replace(about.encoder, input=fed))
            built.input = fed
        log.info(
            "%s: %d tensors, read as a %s checkpoint%s; pixels normalised by mean %s, std %s",
            *(text, loaded.tensors, loaded.method),
            ", positions resized" if loaded.resized else "",
            *(about.encoder.input.mean, about.encoder.input.std),
        )
        return Embedder(built, replace(about, info={"method": loaded.method, "file": text}))
    if image_size:
        raise UsageError(
            f"--image-size {image_size} is for timm models and checkpoints; {text} has its own."
        )
    return load_encoder(encoder_file(text))


def encoder_file(run: str | Path) -> Path:
    """The encoder.safetensors that a RUN argument names.

    Raises:
        UsageError: there is none.
    """
    path = Path(run)
    found = path / "encoder.safetensors" if path.is_dir() else path
    if not found.is_file():
        unfinished = path.is_dir() and (path / "checkpoints").is_dir()
        advice = (
            f"It is not finished: `manyviews resume {path}` goes on."
            if unfinished
            else f"Give {FORMS}."
        )
        raise UsageError(f"{path} has no encoder. {advice}")
    return found


def untrained(subject: Embedder) -> Embedder:
    """The same architecture with random weights, always the same ones."""
    return Embedder(_build(subject.config), replace(subject.about, info={}))


def _build(config: object) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return encoders.build(config)


def _about_timm(name: str, image_size: int) -> About:
    """What timm says of a model; of an encoder that it does not know, what most are."""
    mean, std, size = IMAGENET_MEAN, IMAGENET_STD, 224
    if _is_timm(name):
        import timm

        known = cast("Any", timm.models.get_pretrained_cfg(name))
        mean, std, size = tuple(known.mean), tuple(known.std), int(known.input_size[-1])
    size = image_size or size
    fed = Pixels(side=size, mean=mean, std=std)
    return About(encoder=encoders.named(name.partition(".")[0], input=fed), resize=resize_rule(fed))


def _is_timm(name: str) -> bool:
    import timm

    return bool(timm.is_model(name))


def _is_timms_own(loaded: Loaded, name: str) -> bool:
    """Whether a checkpoint has timm's own weights, rather than other authors' under timm's names.

    Those of DINO and MAE have the same names: the one publishes a flat file without a classifier,
    where timm's ViTs have one, the other puts the tensors below "model", as DeiT does.
    """
    if loaded.method != "timm" or not loaded.top or not _is_timm(name):
        return False
    import timm

    known = cast("Any", timm.models.get_pretrained_cfg(name))
    return "." in name or loaded.head or not known.num_classes


def _timm(name: str, image_size: int) -> Embedder:
    """A timm model with the weights that timm has for its name."""
    import timm

    if not _is_timm(name):
        encoders.named(name.partition(".")[0], input=Pixels())  # says which name is near
        raise UsageError(f"timm has no weights '{name}'. Leave out the part after the dot.")
    about = _about_timm(name, image_size)
    built = _build(about.encoder)
    try:
        with contextlib.redirect_stdout(None):
            given = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # a hub client's: of any kind
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Failure(
            f"timm cannot get the weights of {name} ({line[:200]}). Give a checkpoint file and "
            f"--encoder {name.partition('.')[0]}."
        ) from None
    problem = network(built).load_state_dict(given.state_dict(), strict=False)
    missing = [*problem.missing_keys, *problem.unexpected_keys]
    if missing:
        raise UsageError(
            f"The weights of {name} do not fit its encoder ({missing[0]} and {len(missing) - 1} "
            "more tensors). Leave out --image-size."
        )
    return Embedder(built, replace(about, info={"method": name}))


def load(run: str | Path) -> Embedder:
    """The encoder of a run, frozen, with its `transform`: images in, embeddings [B, D] out.

    Args:
        run: a run directory, or an encoder.safetensors.
    """
    return load_encoder(encoder_file(run))
