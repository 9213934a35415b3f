"""Weights that others trained: official checkpoints of many methods, and timm's."""

import argparse
import math
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Where authors put the encoder inside a checkpoint.

    Attributes:
        under: keys to descend from the top of the file.
        prefix: of the encoder's tensors; others are ignored.
        drop: beginnings of names, after the prefix, that are heads and the like.
    """

    under: tuple[str, ...] = ()
    prefix: str = ""
    drop: tuple[str, ...] = ()


_HEADS = ("fc.", "head.", "classifier.")
_MOCO = (Layout(("state_dict",), "module.encoder_q.", ("fc.",)),)
_SWAV = (Layout((), "module.", ("projection_head.", "prototypes")),)
_PLAIN = (Layout((), "", ("fc.",)),)

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "timm": (Layout((), "", _HEADS), Layout(("model",), "", _HEADS)),
    "moco": _MOCO,
    "pcl": _MOCO,
    "mocov3": (Layout(("state_dict",), "module.base_encoder.", ("fc.", "head.")),),
    "simsiam": (Layout(("state_dict",), "module.encoder.", ("fc.",)),),
    "swav": _SWAV,
    "deepcluster": _SWAV,
    "dino": (Layout(("teacher",), "backbone."), *_PLAIN),
    "ibot": (
        Layout(("state_dict",), "", ("masked_embed", "head.")),
        Layout(("state_dict",), "backbone.", ("masked_embed",)),
        Layout(("teacher",), "backbone.", ("masked_embed",)),
    ),
    "dinov2": (Layout((), "", ("mask_token", "head.")),),
    "msn": (Layout(("target_encoder",), "module.", ("fc.",)),),
    "barlow": _PLAIN,
    "vicreg": _PLAIN,
    "mae": (Layout(("model",), "", ("decoder_", "mask_token", "head.")),),
    "npid": (Layout(("state_dict",), "module.", ("fc.",)),),
    "vissl": (Layout(("classy_state_dict", "base_model", "model", "trunk"), "_feature_blocks."),),
    "solo": (Layout(("state_dict",), "backbone.", ("fc.",)),),
}
"""Method -> layouts of its authors' files, tried in this order.

Source: the authors' repositories (for instance facebookresearch/moco, dino, mae, swav, vissl;
bytedance/ibot; vturrisi/solo-learn), where they save or load their checkpoints.
"""


@dataclass(frozen=True)
class Loaded:
    """What `load_weights` found.

    Attributes:
        method: whose layout the file has; for equal layouts, the first of them.
        tensors: how many were loaded.
        resized: the position table was interpolated to the encoder's grid.
        top: the encoder's tensors lie at the top of the file, not below a key.
        head: a classifier, or whatever else the layout drops, lies beside them.
    """

    method: str
    tensors: int
    resized: bool
    top: bool
    head: bool


@dataclass(frozen=True)
class _Fit:
    method: str
    state: State
    problems: list[str]
    resized: bool
    top: bool
    head: bool


def load_weights(encoder: Encoder, path: str | Path, method: str = "auto") -> Loaded:
    """Put an official checkpoint's encoder weights into `encoder`, all of them or none.

    Positions of ViTs are interpolated to the encoder's grid. Nothing is unpickled: torch files are
    read with `weights_only=True`.

    Args:
        encoder: of the architecture that was trained; changed in place.
        path: a .safetensors file or a torch file.
        method: a key of `LAYOUTS`, or "auto" to take the first that fits.

    Raises:
        UsageError: the file cannot be read safely, or its tensors are not those of the encoder.
    """
    path = Path(path)
    if method != "auto" and method not in LAYOUTS:
        raise UsageError(f"There is no checkpoint layout '{method}'. Known: {', '.join(LAYOUTS)}.")
    tree = _read(path)
    model = network(encoder)
    best: _Fit | None = None
    for name in LAYOUTS if method == "auto" else (method,):
        for layout in LAYOUTS[name]:
            fit = _fit(tree, layout, name, model)
            if fit is not None and (best is None or len(fit.problems) < len(best.problems)):
                best = fit
    if best is None:
        raise UsageError(
            f"{path} has no tensors where a {method} checkpoint has its encoder (top-level keys: "
            f"{_some(list(tree))}). Choose another layout: auto, {', '.join(LAYOUTS)}."
        )
    if best.problems:
        raise UsageError(
            f"The weights in {path} are not those of this encoder; read as {best.method}, "
            f"{len(best.problems)} tensors differ: {_some(best.problems)}. "
            "Choose the encoder that was trained."
        )
    model.load_state_dict(best.state, strict=False)
    return Loaded(best.method, len(best.state), resized=best.resized, top=best.top, head=best.head)


def network(encoder: Encoder) -> nn.Module:
    """The module whose state dict is saved: timm's network where there is one."""
    inner = getattr(encoder, "model", None)
    return inner if isinstance(inner, nn.Module) else encoder


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Give a .safetensors or torch file.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # Full checkpoints of DINO and MAE hold their command line, a plain bag of values.
        safe = torch.serialization.safe_globals([argparse.Namespace])
        with safe, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that the next lines refuse anyhow
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise UsageError(
                f"{path} holds pickled Python objects, which can run code when they are loaded. "
                "Save only its tensors as .safetensors, on a machine that trusts it."
            ) from None
        raise UsageError(
            f"{path} is no torch file of tensors. Give the file as the authors published it, or "
            "its tensors as .safetensors."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, safetensors.SafetensorError) as error:
        problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path} cannot be read ({problem}). Download it again.") from None
    if not isinstance(tree, Mapping):
        raise UsageError(f"{path} holds a {type(tree).__name__}, not named tensors.")
    return cast("Mapping[str, Any]", tree)


def _fit(tree: Mapping[str, Any], layout: Layout, method: str, model: nn.Module) -> _Fit | None:
    """How well a layout explains a file, or None where the file has nothing there."""
    here: Any = tree
    for key in layout.under:
        here = cast("Mapping[str, Any]", here).get(key) if isinstance(here, Mapping) else None
    if not isinstance(here, Mapping):
        return None
    length = len(layout.prefix)
    found = {
        str(name)[length:]: value
        for name, value in cast("Mapping[str, Any]", here).items()
        if isinstance(value, Tensor) and str(name).startswith(layout.prefix)
    }
    state = {k: v for k, v in found.items() if not k.startswith(layout.drop)}
    if not state:
        return None
    head = len(state) < len(found)
    state = _from_dinov2(state, model) if method == "dinov2" else state
    state, resized = _resize_positions(state, model)
    top = not layout.under
    return _Fit(method, state, _problems(state, model), resized=resized, top=top, head=head)


def _problems(state: State, model: nn.Module) -> list[str]:
    wanted = model.state_dict()
    counters = {k for k in wanted if k.endswith("num_batches_tracked")}  # old files have none
    missing = [f"{k} is missing" for k in wanted if k not in state and k not in counters]
    extra = [f"{k} is unknown" for k in state if k not in wanted]
    shapes = [
        f"{k} is {tuple(v.shape)} instead of {tuple(wanted[k].shape)}"
        for k, v in state.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    return [*shapes, *missing, *extra]


def _resize_positions(state: State, model: nn.Module) -> tuple[State, bool]:
    from timm.layers.pos_embed import resample_abs_pos_embed  # two seconds; see `catalog`

    table, wanted = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if table is None or not isinstance(wanted, Tensor) or table.ndim != 3:
        return state, False
    vit = cast("Any", model)
    prefix = 0 if vit.no_embed_class else int(vit.num_prefix_tokens)
    side = math.isqrt(max(0, table.shape[1] - prefix))
    if table.shape[1] == wanted.shape[1] or side * side != table.shape[1] - prefix:
        return state, False
    grid = list(vit.patch_embed.grid_size)
    resized = resample_abs_pos_embed(table, grid, [side, side], num_prefix_tokens=prefix)
    return state | {"pos_embed": resized}, True


def _from_dinov2(state: State, model: nn.Module) -> State:
    """Its names and its place for register tokens -> timm's.

    Its position table has a row for the class token but none for the registers; timm's models with
    registers add that row to the class token instead.
    """
    names = {".mlp.w12.": ".mlp.fc1.", ".mlp.w3.": ".mlp.fc2.", "register_tokens": "reg_token"}
    out: State = {}
    for name, value in state.items():
        for old, new in names.items():
            name = name.replace(old, new)
        out[name] = value
    if getattr(model, "no_embed_class", False) and {"cls_token", "pos_embed"} <= out.keys():
        table = out["pos_embed"]
        out["cls_token"] = out["cls_token"] + table[:, :1]
        out["pos_embed"] = table[:, 1:]
    return out


def _some(items: list[Any]) -> str:
    shown = ", ".join(map(str, items[:3]))
    return shown + (f" and {len(items) - 3} more" if len(items) > 3 else "")
