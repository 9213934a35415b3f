"""Where in a file the encoder's tensors are: by their names and shapes, under any wrapper."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.official.project import Found, Project, Spelling
from manyviews.encoders.resample import Interpolation, resample

StateDict = dict[str, Tensor]

AVERAGES = ("state_dict_ema", "model_ema", "ema", "teacher")
"""Keys of averaged weights, which are taken rather than the others (as timm does)."""
STRUCTURE = re.compile(
    r"^(cls_token|pos_embed|reg_token|register_tokens|storage_tokens|dist_token|patch_embed"
    r"|norm_pre|norm|fc_norm|rel_pos_bias|rope_embed|blocks|layers|stages|stem|conv1|bn1"
    r"|layer[1-4])(\.|$)"
)
"""Names that are of an encoder and no head's, though this encoder may have none such."""
HEADS = re.compile(r"^(head|heads|fc|classifier|head_dist)\.")
BUFFERS = re.compile(
    r"(relative_position_index|attn_mask|num_batches_tracked|relative_coords_table)$"
)


@dataclass(frozen=True)
class Fit:
    """One way to read a file: a place, and a spelling of names.

    Attributes:
        place: what stands before the names.
        state: the tensors under our names, as the encoder wants them.
        names: our name -> the names in the file, without the place; () where it has none.
        resized: how the position table was brought to the encoder's grid, or nothing.
        notes: what else was done to the tensors.
        wrong: tensors of another shape, in words.
        missing: names that the encoder has and the file has not.
        extra: names that are of an encoder, but not of this one.
        dropped: beginning of a name or key -> how many tensors are left out.
    """

    place: str
    state: StateDict
    names: Mapping[str, tuple[str, ...]]
    resized: str
    notes: tuple[str, ...]
    wrong: list[str]
    missing: list[str]
    extra: list[str]
    dropped: dict[str, int]

    @property
    def problems(self) -> int:
        """How many tensors stand against this reading."""
        return len(self.wrong) + len(self.missing) + len(self.extra)


@dataclass(frozen=True, eq=False)
class _Reading:
    """Where `Fit` could be made: the more `count`, the more of the encoder is there."""

    count: float
    preference: tuple[float, ...]
    place: str
    spelling: Spelling
    found: Found


def best(found: Found, project: Project | None, model: nn.Module) -> Fit | None:
    """The reading that explains most of a network; of equals, what the project evaluates.

    Returns:
        None where no tensor has a name of the network's.
    """
    readings = _readings(found, project, model)
    if not readings:
        return None
    # spellings with the same count at the same place read the same
    apart = {(reading.place, reading.count): reading for reading in reversed(readings)}
    # a place with nearly as many may be the right one, where the first has one tensor too many
    close = [r for r in readings if r.count >= 0.9 * readings[0].count and r in apart.values()][:8]
    fits = [(_fit(reading, project, model), reading) for reading in close]
    order = [
        (fit.problems, [-value for value in r.preference], i) for i, (fit, r) in enumerate(fits)
    ]
    chosen = fits[min(order)[2]][0]
    if project or chosen.problems:
        return chosen
    rivals = [fit for fit, _ in fits if not fit.problems and fit.place != chosen.place]
    others = {fit.place for fit in rivals if _differ(fit, chosen)}
    if not others:
        return chosen
    listed = ", ".join(map(repr, sorted(others)))
    note = f"The same names with other values are under {listed}; those were not taken."
    return replace(chosen, notes=(*chosen.notes, note))


def _differ(a: Fit, b: Fit) -> bool:
    return any(not torch.equal(value, b.state[name]) for name, value in a.state.items())


def _readings(found: Found, project: Project | None, model: nn.Module) -> list[_Reading]:
    """All places and spellings under which there is a name of the network's, most names first."""
    spellings: list[Spelling] = [_same]
    spellings += [known.spelling for known in OFFICIAL.values() if known.spelling is not None]
    if project and project.spelling:
        spellings.insert(0, project.spelling)
    wanted = model.state_dict()
    readings = [
        _Reading(count, _preference(place, found, project), place, spelling, names)
        for names in _unchunked(found)
        for spelling in spellings
        for place, count in _places(names, spelling, wanted).items()
    ]
    return sorted(readings, key=lambda reading: (-reading.count, [-v for v in reading.preference]))


def _same(name: str) -> tuple[str, ...]:
    return (name,)


def _unchunked(found: Found) -> list[Found]:
    """The names as they are, and where blocks lie in chunks (DINOv2's training) without these."""
    chunk = re.compile(r"(?<![^./])blocks\.\d+\.(\d+)\.")
    flat = {chunk.sub(r"blocks.\1.", name): value for name, value in found.items()}
    return [found] if len(flat) != len(found) or flat.keys() == found.keys() else [found, flat]


def _places(found: Found, spelling: Spelling, wanted: Found) -> dict[str, float]:
    """How many wanted names lie under each beginning of names; half for one of another shape."""
    ours = [name for name in wanted if not BUFFERS.search(name)]
    named = {name: name for name in ours} | {spelling(name)[0]: name for name in ours}
    votes: dict[str, float] = {}
    for place, value in found.items():
        for end in (0, *(i + 1 for i, letter in enumerate(place) if letter in "./")):
            name = named.get(place[end:])
            if name is not None:
                fits = len(spelling(name)) > 1 or value.shape == wanted[name].shape
                votes[place[:end]] = votes.get(place[:end], 0.0) + (1.0 if fits else 0.5)
    return votes


def _preference(place: str, found: Found, project: Project | None) -> tuple[float, ...]:
    """What the project evaluates, then averaged weights, then what comes first in the file."""
    listed = project.places if project else ()
    official = -(listed.index(place) if place in listed else len(listed))
    average = any(key in AVERAGES for key in re.split(r"[./]", place))
    first = next((i for i, name in enumerate(found) if name.startswith(place)), 0)
    return (float(official), float(average), float(-first))


def _fit(reading: _Reading, project: Project | None, model: nn.Module) -> Fit:
    """Read a file under one place in one spelling, and say all that differs."""
    place, wanted = reading.place, model.state_dict()
    here = {n[len(place) :]: value for n, value in reading.found.items() if n.startswith(place)}
    names = {name: _known(name, reading.spelling, here) for name in wanted}
    state = {
        name: _joined([here[part] for part in parts]) for name, parts in names.items() if parts
    }
    used = {part for parts in names.values() for part in parts}
    rest = {name: value for name, value in here.items() if name not in used}
    notes = [
        *_fold_scales(state, rest),
        *_fold_class_row(state, model),
        *_whole_biases(state, rest, wanted),
        *_split_words(state, rest, wanted),
    ]
    resized = _resize(state, model, project)
    wrong = [
        f"{name} is {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in state.items()
        if value.shape != wanted[name].shape
    ]
    tops = {name.partition(".")[0] for name in wanted}
    left = [name for name in rest if not BUFFERS.search(name)]
    left += [name for name in reading.found if not name.startswith(place)]
    return Fit(
        place=place,
        state=state,
        names=names,
        resized=resized,
        notes=tuple(notes),
        wrong=wrong,
        missing=[n for n in wanted if n not in state and not n.endswith("num_batches_tracked")],
        extra=[name for name in rest if _belongs(name, tops)],
        dropped=_groups(left),
    )


def _known(name: str, spelling: Spelling, here: Found) -> tuple[str, ...]:
    """The names in the file of one of our tensors, all of them or none."""
    for parts in (spelling(name), (name,)):
        if all(part in here for part in parts):
            return parts
    return ()


def _joined(parts: list[Tensor]) -> Tensor:
    alike = len({part.shape[1:] for part in parts}) == 1 and parts[0].ndim > 0
    return torch.cat(parts) if len(parts) > 1 and alike else parts[0]


def _belongs(name: str, tops: set[str]) -> bool:
    """Whether a tensor that the encoder does not have is of an encoder, and not of a head."""
    if HEADS.match(name) or BUFFERS.search(name) or "/" in name:
        return False
    return name.partition(".")[0] in tops or bool(STRUCTURE.match(name))


def _groups(names: Iterable[str]) -> dict[str, int]:
    """How many names there are, by their first word."""
    return dict(Counter(re.split(r"[./]", name)[0] for name in names))


def _fold_scales(state: StateDict, rest: StateDict) -> list[str]:
    """LayerScale that the encoder has no place for: into the layer before it, which it scales.

    Exact: gamma * (W x + b) = (gamma W) x + gamma b.
    """
    folded = 0
    for name in list(rest):
        scale = re.match(r"^(blocks\.\d+)\.(?:gamma_|ls)([12])(?:\.gamma)?$", name)
        if scale is None:
            continue
        before = f"{scale[1]}.{'attn.proj' if scale[2] == '1' else 'mlp.fc2'}"
        weight, bias = state.get(f"{before}.weight"), state.get(f"{before}.bias")
        gamma = rest[name]
        if weight is None or bias is None or gamma.ndim != 1 or weight.shape[:1] != gamma.shape:
            continue
        state[f"{before}.weight"] = weight * gamma[:, None]
        state[f"{before}.bias"] = bias * gamma
        del rest[name]
        folded += 1
    return (
        [f"{folded} scales of LayerScale multiplied into the layers before them."] if folded else []
    )


def _whole_biases(state: StateDict, rest: StateDict, wanted: Found) -> list[str]:
    """Biases of queries and values alone (BEiT's way), where the encoder's keys have one too.

    Exact: a bias of the keys adds the same to all logits of a query.
    """
    made = 0
    for name in [each for each in wanted if each.endswith("attn.qkv.bias") and each not in state]:
        q, v = (f"{name.removesuffix('qkv.bias')}{kind}_bias" for kind in "qv")
        if q in rest and v in rest:
            state[name] = torch.cat((rest[q], torch.zeros_like(rest[q]), rest[v]))
            del rest[q], rest[v]
            made += 1
    return [f"{made} attentions have no bias of keys: it is 0."] if made else []


_FIRST_WORD = 76
"""Of MAGE's 1,000 classes, the one that stands before every image (models_mage.py)."""


def _split_words(state: StateDict, rest: StateDict, wanted: Found) -> list[str]:
    """MAGE's table of codes, classes and a mask: the codes, and the class that is always there.

    What its network has of timm's and never uses is left out.
    """
    table, own = state.get("words.weight"), wanted.get("words.weight")
    positions = state.get("positions")
    if table is None or own is None or positions is None or positions.ndim != 2:
        return []
    codes = len(own)
    if len(table) <= codes + _FIRST_WORD:
        return []
    state["words.weight"] = table[:codes].clone()
    state["class_token"] = table[codes + _FIRST_WORD].clone().view(1, 1, -1)
    state["positions"] = positions[None]
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
        rest.pop(name, None)
    return [f"Of {len(table)} words the first {codes} are taken, and the class that stands first."]


def _fold_class_row(state: StateDict, model: nn.Module) -> list[str]:
    """A table with a row for the class token, where the encoder's has none: into that token."""
    table, token = state.get("pos_embed"), state.get("cls_token")
    if table is None or token is None or not getattr(model, "no_embed_class", False):
        return []
    places = table.shape[1] - 1 if table.ndim == 3 else 0
    if places < 1 or math.isqrt(places) ** 2 != places or token.shape != table[:, :1].shape:
        return []
    state["cls_token"], state["pos_embed"] = token + table[:, :1], table[:, 1:]
    return ["The position table's row for the class token is added to that token."]


def _resize(state: StateDict, model: nn.Module, project: Project | None) -> str:
    """Bring a position table to the encoder's grid, and say so."""
    table, wanted = state.get("pos_embed"), getattr(model, "pos_embed", None)
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if table is None or not isinstance(wanted, Tensor) or not isinstance(grid, tuple):
        return ""
    if table.ndim != 3 or wanted.ndim != 3 or table.shape[2] != wanted.shape[2]:
        return ""
    rows, columns = (int(side) for side in grid)
    prefix = wanted.shape[1] - rows * columns
    side = math.isqrt(max(0, table.shape[1] - prefix))
    if prefix < 0 or side * side != table.shape[1] - prefix or (side, side) == (rows, columns):
        return ""
    rule: Interpolation = project.interpolation if project else "timm"
    registers = getattr(model, "reg_token", None) is not None
    state["pos_embed"] = resample(
        table, (rows, columns), old=(side, side), prefix=prefix, rule=rule, registers=registers
    )
    doubt = "" if project else ", since nothing tells whose they are"
    return f"Positions resized from {side}x{side} to {rows}x{columns} as {rule} does{doubt}."
