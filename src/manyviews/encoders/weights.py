"""Weights that others trained: the encoder's tensors, wherever in a file they lie."""

import fnmatch
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import safetensors
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError
from manyviews.encoders import tensors
from manyviews.encoders.match import Fit, StateDict, best
from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.official.project import Project

WRAPPERS = re.compile(r"(?<![^./])(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
"""What torch puts into the middle of names when it wraps parts of a network."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a file, read but not yet put anywhere.

    Attributes:
        path: the file.
        found: its tensors by their place.
        name: key of `OFFICIAL` of the project that wrote it; empty where nothing tells.
        project: that project's facts.
        told: what told it: "its names", "its file name", "you".
        stated: mean and std that the file, or what lies beside it, states; or nothing.
    """

    path: Path
    found: Mapping[str, Tensor]
    name: str
    project: Project | None
    told: str
    stated: tuple[tuple[float, ...], tuple[float, ...]] | None

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the first tensor of that name, under whatever prefix; () where there is none."""
        hits = (value.shape for place, value in self.found.items() if _ends(place, name))
        return tuple(next(hits, ()))

    def heads(self, width: int) -> int:
        """Heads of a ViT of that width, 0 where nothing tells."""
        return self.project.heads.get(width, 0) if self.project else 0


@dataclass(frozen=True)
class Loaded:
    """What `load_weights` did.

    Attributes:
        project: key of `OFFICIAL`; empty where nothing told whose file it is.
        tensors: how many were taken.
        place: what stood before their names.
        dropped: beginning of a name or key -> how many tensors were left.
        resized: the position table was interpolated to the encoder's grid, in words, or nothing.
        notes: what else was done, or could not be known.
    """

    project: str
    tensors: int
    place: str
    dropped: Mapping[str, int]
    resized: str
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """All of it, one sentence a line."""
        title = f", written by {OFFICIAL[self.project].title}" if self.project else ""
        where = f"under {self.place!r}" if self.place else "at the top"
        out = [f"{self.tensors} tensors taken, {where}{title}."]
        if self.dropped:
            listed = ", ".join(f"{name} ({count})" for name, count in self.dropped.items())
            out.append(f"Left out: {listed}.")
        return [*out, *([self.resized] if self.resized else []), *self.notes]


def load_weights(encoder: Encoder, path: str | Path, *, project: str = "") -> Loaded:
    """Put a checkpoint's encoder weights into `encoder`, all of them or none.

    The tensors are found by name and shape under any wrapper. A position table is interpolated by
    the rule of the project that wrote the file, and a `ViT` keeps that rule for other sizes.

    Args:
        encoder: of the architecture that was trained; changed in place.
        path: a .safetensors file or a torch file, of which nothing but tensors is unpickled.
        project: a key of `official.OFFICIAL`, where the file does not tell.

    Raises:
        UsageError: the file cannot be read safely, its tensors are not those of the encoder, or
            they are no numbers to compute with.
    """
    return load(encoder, open_weights(path, project=project))


def open_weights(path: str | Path, *, project: str = "") -> Weights:
    """Read a file's tensors and say whose they are.

    Raises:
        UsageError: it cannot be read safely, or there is no such project.
    """
    path = Path(path)
    if project and project not in OFFICIAL:
        raise UsageError(f"There is no project '{project}'. Known: {', '.join(OFFICIAL)}.")
    found = {WRAPPERS.sub("", place): value for place, value in tensors.read_tensors(path).items()}
    name, told = project, "you"
    if not name:
        name, told = _by_names(found), "its names"
    if not name:
        name, told = _by_file(path), "its file name"
    known = OFFICIAL.get(name)
    return Weights(path, found, name, known, told if known else "", _stated(path))


def load(encoder: Encoder, weights: Weights) -> Loaded:
    """Put what `open_weights` read into an encoder, all of it or none; see `load_weights`."""
    model = network(encoder)
    fit = best(weights.found, weights.project, model)
    if fit is None:
        raise UsageError(_nothing(weights, model))
    _refuse(fit, weights, model)
    _check_values(fit.state, weights.path)
    _check_heads(weights, model)
    model.load_state_dict(fit.state, strict=False)
    notes = (*fit.notes, *_change(encoder, model, fit, weights))
    return Loaded(weights.name, len(fit.state), fit.place, fit.dropped, fit.resized, notes)


def network(encoder: Encoder) -> nn.Module:
    """The module whose state dict is saved: timm's network where there is one."""
    inner = getattr(encoder, "model", None)
    return inner if isinstance(inner, nn.Module) else encoder


def _json(path: Path) -> dict[str, Any]:
    loaded: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}


def _ends(place: str, name: str) -> bool:
    return place == name or place.endswith((f".{name}", f"/{name}"))


def _by_names(found: Mapping[str, Tensor]) -> str:
    return next((name for name, project in OFFICIAL.items() if project.recognise(found)), "")


def _by_file(path: Path) -> str:
    def fits(project: Project) -> bool:
        return any(fnmatch.fnmatch(path.name, pattern) for pattern in project.files)

    return next((name for name, project in OFFICIAL.items() if fits(project)), "")


def _stated(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std in a safetensors file's own words, or beside it in timm's or Transformers'."""
    words: Any = {}
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                given = file.metadata() or {}
            words = {key: json.loads(given[key]) for key in ("mean", "std") if key in given}
        if not words:
            timms = _json(path.with_name("config.json")).get("pretrained_cfg") or {}
            theirs = _json(path.with_name("preprocessor_config.json"))
            named = {key: theirs.get(f"image_{key}") for key in ("mean", "std")}
            words = timms if "mean" in timms else named
        mean, std = (tuple(map(float, words[key])) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError, AttributeError, OSError, safetensors.SafetensorError):
        return None
    good = all(math.isfinite(v) for v in (*mean, *std)) and all(v > 0 for v in std)
    return (mean, std) if good and len(mean) == len(std) else None


def _refuse(fit: Fit, weights: Weights, model: nn.Module) -> None:
    if not fit.problems:
        return
    named = f" (read as {weights.project.title})" if weights.project else ""
    where = f" under {fit.place!r}" if fit.place else ""
    seen = _looks_like(weights.found, fit.place)
    advice = f"It looks like {seen}. " if seen else ""
    advice += "Choose the --encoder that was trained."
    if fit.wrong:
        reason = f"{fit.wrong[0]}{_more(len(fit.wrong) - 1)}"
    elif fit.missing:
        reason = f"{_some(fit.missing)} of {len(model.state_dict())} tensors are missing"
        reason += f", and {fit.extra[0]} is unknown{_more(len(fit.extra) - 1)}" if fit.extra else ""
    else:
        reason = f"{_some(fit.extra)} is unknown"
    whole = "is not whole, or holds" if fit.missing and not fit.wrong else "holds"
    raise UsageError(f"{weights.path}{named} {whole} another encoder{where}: {reason}. {advice}")


def _nothing(weights: Weights, model: nn.Module) -> str:
    """No tensor has a name of the encoder."""
    if not weights.found:
        return f"{weights.path} holds no tensors. Give a file of weights."
    wanted = next(iter(model.state_dict()))
    starts = ("patch_embed.proj.weight", "conv1.weight")
    places = [n[: -len(end)] for end in starts for n in weights.found if _ends(n, end)]
    seen = next((text for place in places if (text := _looks_like(weights.found, place))), "")
    advice = f"It looks like {seen}. " if seen else ""
    return (
        f"{weights.path} has no tensor with a name of this encoder's ({wanted} and so on); it has "
        f"{_some(list(weights.found))}. {advice}Choose the --encoder that was trained."
    )


def _looks_like(found: Mapping[str, Tensor], place: str) -> str:
    """The architecture that a file shows, in words; empty where it is neither ViT nor ResNet."""
    here = {name[len(place) :]: v for name, v in found.items() if name.startswith(place)}
    patch = here.get("patch_embed.proj.weight")
    blocks = {m[1] for name in here if (m := re.match(r"blocks\.(\d+)\.", name))}
    if patch is not None and patch.ndim == 4 and blocks:
        token = "" if "cls_token" in here else " without class token"
        registers = here.get("reg_token", here.get("register_tokens"))
        token += "" if registers is None else f" with {registers.shape[1]} registers"
        return (
            f"a ViT of width {patch.shape[0]}, {len(blocks)} blocks and patch "
            f"{patch.shape[-1]}{token}"
        )
    stages = Counter(
        m[1] for name in here if (m := re.match(r"layer(\d)\.\d+\.conv1\.weight$", name))
    )
    if stages and "conv1.weight" in here:
        kernel = here["conv1.weight"].shape
        deep = "bottlenecks" if "layer1.0.conv3.weight" in here else "basic blocks"
        counts = "-".join(str(stages[stage]) for stage in sorted(stages))
        return f"a ResNet of {counts} {deep}, its first convolution {kernel[-1]}x{kernel[-1]}"
    return ""


def _check_values(state: StateDict, path: Path) -> None:
    """Refuse what loads but is no weights: integers, quantised numbers, NaN."""
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.is_quantized or not value.is_floating_point() or value.element_size() == 1:
            kind = str(value.dtype).removeprefix("torch.")
            raise UsageError(
                f"{path} holds {kind} numbers ({name}), not floating-point weights; without their "
                "scales they mean nothing. Give the weights before they were quantised."
            )
    bad = [name for name, value in state.items() if not value.isfinite().all()]
    if bad:
        raise UsageError(
            f"{path} holds NaN or infinite weights in {len(bad)} tensors ({_some(bad)}): its "
            "training broke. Give an earlier checkpoint."
        )


def _check_heads(weights: Weights, model: nn.Module) -> None:
    width, heads = heads_of(model)
    official = weights.heads(width)
    if heads and official and official != heads:
        title = weights.project.title if weights.project else ""
        raise UsageError(
            f"{title} trained ViTs of width {width} with {official} heads, and this encoder has "
            f"{heads}; the shapes in {weights.path} cannot show it. Set heads to {official}."
        )


def heads_of(model: nn.Module) -> tuple[int, int]:
    """Width and heads of a ViT; zeros for anything else."""
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not len(blocks):
        return 0, 0
    heads = getattr(getattr(blocks[0], "attn", None), "num_heads", 0)
    width = getattr(model, "embed_dim", getattr(model, "dim", 0))
    return (int(width), int(heads)) if isinstance(width, int) and heads else (0, 0)


def _change(encoder: Encoder, model: nn.Module, fit: Fit, weights: Weights) -> list[str]:
    """What of the project's network is no weight: heads are checked, these are set."""
    notes: list[str] = []
    net, project = cast("Any", model), weights.project
    width, heads = heads_of(model)
    if heads and not weights.heads(width):
        notes.append(f"Nothing tells the number of heads; the encoder's {heads} are taken.")
    if project and hasattr(encoder, "interpolation"):
        cast("Any", encoder).interpolation = project.interpolation
    if fit.names.get("fc_norm.weight") == ("norm.weight",):
        net.norm, net.fc_norm = net.fc_norm, nn.Identity()
        notes.append("Every token is normed before they are averaged, as where it was trained.")
    if project and project.same_padding and weights.shape("layer1.0.conv1.weight"):
        pad_same(model)
        notes.append("Convolutions and pools pad as TensorFlow's SAME does.")
    stem = weights.shape("conv1.weight")
    if project and stem[2:] == (3, 3) and project.small_stem_padding != 1:
        net.conv1.padding = (project.small_stem_padding,) * 2
        notes.append(f"The first convolution pads by {project.small_stem_padding}.")
    if project and weights.told == "its file name":
        notes.append(f"Only its file name says that it is {project.title}'s.")
    return notes


def pad_same(model: nn.Module) -> None:
    """Let strided convolutions and max pools of a network pad as TensorFlow's "SAME", in place."""
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.pool2d_same import MaxPool2dSame

    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.MaxPool2d):
                same = MaxPool2dSame(cast("Any", layer.kernel_size), cast("Any", layer.stride))
                setattr(parent, name, same)
            elif isinstance(layer, nn.Conv2d) and max(layer.stride) > 1:
                same = Conv2dSame(
                    layer.in_channels,
                    layer.out_channels,
                    cast("Any", layer.kernel_size),
                    cast("Any", layer.stride),
                    groups=layer.groups,
                    bias=layer.bias is not None,
                )
                same.load_state_dict(layer.state_dict())
                setattr(parent, name, same)


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + _more(len(items) - 3)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
