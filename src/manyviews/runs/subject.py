"""Whose features are looked at: a run, an encoder file, any timm model, an official checkpoint."""

import contextlib
import logging
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from manyviews import encoders
from manyviews.core import Encoder, Failure, UsageError
from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD, Pixels
from manyviews.core.settings import check
from manyviews.encoders.file import About
from manyviews.encoders.settings import TimmConfig, ViTConfig
from manyviews.encoders.weights import Weights, heads_of, network, open_weights
from manyviews.encoders.weights import load as load_into
from manyviews.runs.embedder import Embedder, load_encoder, resize_rule
from manyviews.runs.folder.paths import Paths
from manyviews.runs.folder.there import FORMS

log = logging.getLogger("manyviews")

TIMM = "timm:"
SMALL = 32
"""Side of the images that ResNets with the small stem are trained on."""


def open_subject(
    spec: str | Path,
    *,
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    which: str = "",
) -> Embedder:
    """The frozen encoder that a RUN argument names, with the view that it wants.

    Args:
        spec: a run directory or an encoder.safetensors; `timm:NAME`, with the pretrained weights
            that timm gets or finds for that name; or, with `encoder`, a checkpoint of another
            project, in which the encoder's tensors are found under any wrapper. Nothing is
            unpickled.
        encoder: timm's name of the architecture that a checkpoint was trained with. A tag
            (NAME.TAG) says that the weights are timm's own of that tag.
        image_size: side in pixels for timm models and checkpoints; 0 takes the model's own.
        mean: per channel, of pixels in [0, 1], to normalise with; () takes what is known of the
            weights: what their file or their project states. Where nothing does, ImageNet's are
            taken and a line says so.
        std: likewise.
        which: of a run with several encoders, the one that is meant.

    Raises:
        UsageError: there is no such encoder, or its weights do not fit.
        Failure: timm cannot get the weights.
    """
    text = str(spec)
    if image_size < 0:
        raise UsageError(f"--image-size is {image_size}; wanted 0 or more pixels.")
    if bool(mean) != bool(std):
        raise UsageError("--mean and --std go together. Give both.")
    if text.startswith(TIMM):
        if encoder:
            raise UsageError(f"{text} names its encoder already. Leave out --encoder {encoder}.")
        found = _timm(text.removeprefix(TIMM), image_size)
    elif encoder:
        found = _official(Path(text), encoder, image_size, given=bool(mean))
    elif image_size:
        raise UsageError(
            f"--image-size {image_size} is for timm models and checkpoints; {text} has its own."
        )
    else:
        found = load_encoder(_described(encoder_file(text, which)))
    return _normalised(found, mean, std) if mean else found


def _described(path: Path) -> Path:
    """The path of an encoder file; refuses torch files, which say nothing of themselves."""
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise UsageError(
            f"{path} is a torch file, which does not say what network it holds. "
            "Name it: --encoder NAME (see `manyviews list encoders`)."
        )
    return path


def _normalised(subject: Embedder, mean: tuple[float, ...], std: tuple[float, ...]) -> Embedder:
    """The same encoder, with what the user says of its pixels."""
    fed = replace(subject.pixels, mean=mean, std=std)
    check(fed)
    return _fed(subject.encoder, subject.about, fed)


def _fed(encoder: Encoder, about: About, fed: Pixels) -> Embedder:
    """An encoder whose pixels are normalised in another way."""
    encoder.input = fed
    return Embedder(encoder, replace(about, encoder=replace(about.encoder, input=fed)))


def _official(path: Path, name: str, image_size: int, *, given: bool) -> Embedder:
    """A checkpoint of another project, in the network that its project trained."""
    weights = open_weights(path)
    found = described(weights, name, image_size)
    loaded = load_into(found.encoder, weights)
    about = replace(found.about, info={"method": loaded.project, "file": str(path)})
    for line in [*loaded.lines(), *([] if given else [found.line])]:
        log.info("%s: %s", path, line)
    return _fed(found.encoder, about, about.encoder.input)


@dataclass(frozen=True)
class Described:
    """The network of another project's checkpoint.

    Attributes:
        encoder: with random weights.
        about: how it is built, with what its project fed it.
        line: what its pixels are normalised by, and why.
    """

    encoder: Encoder
    about: About
    line: str


def described(weights: Weights, name: str, image_size: int) -> Described:
    """What is known of a checkpoint from its file, its project and the name of its architecture.

    Raises:
        UsageError: there is no such architecture.
    """
    built, about = _built_for(weights, name, image_size)
    normal = _normalisation(weights, network(built), name)
    fed = replace(about.encoder.input, mean=normal.mean, std=normal.std)
    whole = replace(about, encoder=replace(about.encoder, input=fed))
    return Described(built, whole, normal.line())


def _built_for(weights: Weights, name: str, image_size: int) -> tuple[Encoder, About]:
    """The encoder of a name, with what only a project or the file's shapes tell of it.

    These are a ResNet's stem for small images, and the heads of a ViT. A ViT without class token
    pools its mean.
    """
    small = weights.shape("conv1.weight")[2:] == (3, 3) and name.startswith("resnet")
    size = image_size or (SMALL if small else weights.project.side if weights.project else 0)
    about = _about_timm(name, size)
    config = replace(about.encoder, stem="small") if small else about.encoder
    try:
        built = _build(config)
    except UsageError:
        if not isinstance(config, ViTConfig):
            raise
        config = replace(config, pool="mean")
        built = _build(config)
    width, heads = heads_of(network(built))
    official = weights.heads(width)
    if isinstance(config, ViTConfig) and heads and official and heads != official:
        config = replace(config, heads=official)
        built = _build(config)
    variant = _variant(weights, network(built)) if isinstance(config, TimmConfig) else "timm"
    if isinstance(config, TimmConfig) and variant != "timm":
        config = replace(config, variant=variant)
        built = _build(config)
    if isinstance(config, ViTConfig) and weights.project:  # so that it is saved with them
        config = replace(config, interpolation=weights.project.interpolation)
    return built, replace(about, encoder=config)


def _variant(weights: Weights, model: Any) -> Any:
    """What the file's project did otherwise than timm; see `TimmConfig.variant`."""
    project, state = weights.project, model.state_dict()
    if project and project.same_padding and weights.shape("layer1.0.conv1.weight"):
        return "same-padding"
    if project and project.small_stem_padding == 2 and weights.shape("conv1.weight")[2:] == (3, 3):
        return "wide-stem"
    ends = [bool(weights.shape(f"{name}.weight")) for name in ("norm", "fc_norm")]
    late = "fc_norm.weight" in state and "norm.weight" not in state
    return "norm-first" if late and ends == [True, False] else "timm"


@dataclass(frozen=True)
class _Normal:
    mean: tuple[float, ...]
    std: tuple[float, ...]
    why: str

    def line(self) -> str:
        return f"Pixels normalised by mean {self.mean}, std {self.std}: {self.why}"


def _normalisation(weights: Weights, model: Any, name: str) -> _Normal:
    """What the pixels were normalised with where it is stated somewhere, or ImageNet's."""
    if weights.stated:
        return _Normal(*weights.stated, "as the file states.")
    tagged = "." in name and _is_timm(name)
    stated = _timms_own(name, tagged=tagged, everybodys=_is_everybodys(model))
    if stated:
        return _Normal(*stated, "timm's for its weights of that name.")
    if weights.project and weights.project.mean:
        return _Normal(weights.project.mean, weights.project.std, f"{weights.project.title}'s.")
    why = (
        "ImageNet's, since nothing tells what these weights were trained with. "
        "Give --mean and --std if theirs were others."
    )
    return _Normal(IMAGENET_MEAN, IMAGENET_STD, why)


def _is_everybodys(model: Any) -> bool:
    """Whether many projects train this kind of network, so that its name says nothing of them."""
    from timm.models.resnet import ResNet
    from timm.models.vision_transformer import VisionTransformer

    return type(model) in (ResNet, VisionTransformer) or not type(model).__module__.startswith(
        "timm."
    )


def _timms_own(
    name: str, *, tagged: bool, everybodys: bool
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std of timm's weights of a name, where all that it has agree."""
    if not _is_timm(name) or (everybodys and not tagged):
        return None
    import timm

    base = name.partition(".")[0]
    tags = [name] if tagged else timm.list_pretrained(f"{base}.*") or [base]
    known = [cast("Any", timm.models.get_pretrained_cfg(tag)) for tag in tags]
    stated = {(tuple(cfg.mean), tuple(cfg.std)) for cfg in known}
    return stated.pop() if len(stated) == 1 else None


def encoder_file(run: str | Path, which: str = "") -> Path:
    """The encoder.safetensors that a RUN argument names.

    Args:
        run: a run directory, or the file itself.
        which: of a run with several encoders, the one that is meant.

    Raises:
        UsageError: there is none.
    """
    path = Path(run)
    kept = Paths(path)
    found = kept.encoder() if path.is_dir() else path
    several = [name for name in kept.encoders() if name] if path.is_dir() else []
    if which and which not in several:
        there = f"its encoders are {' and '.join(several)}" if several else "it has one encoder"
        raise UsageError(f"{path} has no encoder '{which}'; {there}. Set or leave out --which.")
    if which:
        return kept.encoder(which)
    if not found.is_file():
        if several:
            raise UsageError(
                f"{path} has several encoders, {' and '.join(several)}. Add --which "
                f"{several[0]}, or give a file, such as {kept.encoder(several[0])}."
            )
        unfinished = path.is_dir() and kept.checkpoints.is_dir()
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


@contextlib.contextmanager
def _quiet(logger: str) -> Generator[None]:
    """Without another package's warnings: each of its tries would be a line before our own."""
    its = logging.getLogger(logger)
    level = its.level
    its.setLevel(logging.ERROR)
    try:
        yield
    finally:
        its.setLevel(level)


def _timm(name: str, image_size: int) -> Embedder:
    """A timm model with the weights that timm has for its name."""
    import timm

    if not _is_timm(name):
        encoders.named(name.partition(".")[0], input=Pixels())  # says which name is near
        raise UsageError(f"timm has no weights '{name}'. Leave out the part after the dot.")
    about = _about_timm(name, image_size)
    built = _build(about.encoder)
    log.info("weights of %s: the copy kept here, or from the Hugging Face hub", name)
    try:
        with contextlib.redirect_stdout(None), _quiet("huggingface_hub"):
            given = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # a hub client's: of any kind
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        first = line.partition(". ")[0].rstrip(".")  # the hub's advice goes on for sentences
        raise Failure(
            f"timm cannot get the weights of {name} ({first[:200]}). Try again with a connection "
            "to huggingface.co, after which they are kept, or give a checkpoint file and "
            f"--encoder {name.partition('.')[0]}."
        ) from None
    problem = network(built).load_state_dict(given.state_dict(), strict=False)
    missing = [*problem.missing_keys, *problem.unexpected_keys]
    if missing:
        raise UsageError(
            f"The weights of {name} do not fit its encoder ({missing[0]} and {len(missing) - 1} "
            "more tensors). Leave out --image-size."
        )
    licence = cast("Any", given).pretrained_cfg.get("license")
    log.info("%s: licence of the weights, as timm states it: %s", name, licence or "none stated")
    return Embedder(built, replace(about, info={"method": name}))


def load(run: str | Path, which: str = "") -> Embedder:
    """The encoder of a run, frozen, with its `transform`: images in, embeddings [B, D] out.

    Args:
        run: a run directory, or an encoder.safetensors.
        which: of a run with several encoders, the one that is meant.
    """
    return load_encoder(encoder_file(run, which))
