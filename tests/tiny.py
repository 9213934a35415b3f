"""Small encoders and batches that tests train in milliseconds."""

import dataclasses
import typing

import torch
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Features, Given, Unsupported, comm
from manyviews.core.inputs import Pixels
from manyviews.core.positions import sincos
from manyviews.encoders.raster import Raster
from manyviews.encoders.settings import RasterConfig
from manyviews.methods.catalog import METHODS

SIDE, PATCH, CHANNELS, DIM = 16, 4, 3, 16
COLOURED = {"cmc", "cmc-three", "colorization"}
"""Recipes for one's own data that want red, green and blue."""


def given(encoder: Encoder, *, samples: int = 64) -> Given:
    """What a method with one encoder gets."""
    return Given({"image": encoder}, samples=samples)


class TinyViT(Encoder):
    """Two pre-norm blocks with a class token; any image of at most SIDE pixels."""

    input = Pixels(side=SIDE, channels=CHANNELS)
    dim = DIM
    grid = (SIDE // PATCH, SIDE // PATCH)
    patch = (PATCH, PATCH)

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(CHANNELS, DIM, PATCH, PATCH)
        self.first = nn.Parameter(torch.randn(1, 1, DIM) * 0.02)
        self.register_buffer("position", sincos(DIM, (SIDE // PATCH, SIDE // PATCH)))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                DIM, 2, 2 * DIM, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(DIM)

    def by_depth(self):
        stem = [self.first, *self.patches.parameters()]
        return [stem, *(list(block.parameters()) for block in self.blocks)]

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        t = self.patches(x)
        side, whole = t.shape[-1], SIDE // PATCH
        places = self.position.view(whole, whole, DIM)[:side, :side].reshape(-1, DIM)
        t = t.flatten(2).transpose(1, 2)
        if hide is not None:
            t = torch.where(hide.where[..., None], hide.token.to(t.dtype), t)
        t = t + places
        if keep is not None:
            t = t.gather(1, keep[..., None].expand(-1, -1, DIM))
        t = torch.cat([self.first.expand(len(t), -1, -1), t], dim=1)
        hidden = []
        for block in self.blocks:
            t = block(t)
            hidden.append(t[:, 1:])
        t = self.norm(t)
        return Features(t[:, 0], t[:, 1:], tuple(hidden[-blocks:]) if blocks else (), t[:, 0])


class TinyConv(Encoder):
    """Two convolutions with batch norm; any image size."""

    input = Pixels(side=SIDE, channels=CHANNELS)
    dim = DIM
    grid = (SIDE // 4, SIDE // 4)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, DIM, 3, 2, 1, bias=False),
            nn.BatchNorm2d(DIM),
            nn.ReLU(),
        )

    def by_depth(self):
        return [list(half.parameters()) for half in (self.body[:3], self.body[3:])]

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        if keep is not None or hide is not None or blocks:
            raise Unsupported("TinyConv has no tokens to keep or hide.")
        places = self.body(x).flatten(2).transpose(1, 2)
        return Features(places.mean(dim=1), places)


def tiny_raster() -> Raster:
    """Two blocks over single pixels as sixteen colours."""
    fed = Pixels(side=SIDE, channels=CHANNELS)
    return Raster(RasterConfig(input=fed, colours=16, width=DIM, depth=2, heads=2))


OWN = {"IGPT": tiny_raster}
"""Class of methods -> the encoder of those that no other encoder will do for."""

SPECIAL = {"norm_groups": 2, "depth": 1, "heads": 4, "queue_from": 0.0}
SPECIAL |= {"init": 0.5}  # where zeros would leave the encoder without a gradient at first
SPECIAL |= {"sub_batch": 4, "shrinkage": 0.1, "clusters_from": 0.0, "places": 2, "gain": 2.0}
"""Settings that a rule by size alone would leave slow, or wrong for a batch of eight."""


def shrink(config):
    """A method's settings made small: every whole number of 64 or more becomes 16."""

    def small(value):
        if isinstance(value, tuple):
            return tuple(small(one) for one in value)
        if dataclasses.is_dataclass(value):  # of a method that mixes others
            return shrink(value)
        return 16 if type(value) is int and value >= 64 else value

    fields = {f.name: small(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return dataclasses.replace(config, **fields | {k: v for k, v in SPECIAL.items() if k in fields})


def others(config):
    """Settings that are not the defaults, one at a time: options, switches, and what is off."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), hints[field.name]
        if typing.get_origin(kind) is typing.Literal:
            for option in typing.get_args(kind):
                if option != value:
                    yield {field.name: option}
        elif isinstance(value, bool):
            yield {field.name: not value}
        elif type(value) in (int, float) and not value:
            yield {field.name: 8 if type(value) is int else 0.5}


ONLY = "backbone"
"""Name of an encoder where there is one: no method may expect one."""


def given_for(method, encoder) -> Given:
    """What a class of methods asks for: encoders by their names, or one; teachers.

    A tokenizer too, which settings of some ask for, and of a method whose runs are teachers whole
    one of its own.
    """
    encoder = OWN.get(method.__name__, encoder)
    encoders = {name: encoder() for name in method.trains or (ONLY,)}
    with torch.random.fork_rng(devices=[]):  # the same teacher whenever a method is made
        torch.manual_seed(11)
        names = dict.fromkeys((*method.asks, "tokenizer"))
        teachers = {name: TinyViT().requires_grad_(False).eval() for name in names}
        if hasattr(method, "contextual"):
            [entry] = [entry for entry in METHODS.values() if entry.method is method]
            first = Given({name: TinyViT() for name in method.trains})
            earlier = method(first, shrink(entry.config()))
            teachers["earlier"] = earlier.requires_grad_(False).eval()
    return Given(encoders, samples=64, teachers=teachers)


def make_batch(seed: int, *, size: int = 8, local: int = 2, dtype=torch.float32) -> Batch:
    """Random views: 2 global, `local` of half the side; masks that hide 3 patches of 4."""
    return batch_of({"global": 2, "local": local, "global.mask": 2}, seed, size=size, dtype=dtype)


def batch_for(method, seed: int = 0, **more) -> Batch:
    """Random views and cues of what a method needs; of an optional family two."""
    needs = {name: count or 2 for name, count in method.needs.items()}
    if "global" in needs:
        needs["global"] = max(2, needs["global"])
    for name in needs:  # a cue has as many rows as its family has views
        family, _, cue = name.partition(".")
        if cue:
            needs[name] = needs[family]
    return batch_of(needs, seed, **more)


def mask(size, count, g):
    """Three tokens of four are hidden, the same number in every view."""
    tokens = (SIDE // PATCH) ** 2
    return torch.rand(size, count, tokens, generator=g).argsort(dim=-1) >= tokens // 4


def context(size, count, g):
    """Five tokens of sixteen are shown."""
    tokens = (SIDE // PATCH) ** 2
    return torch.rand(size, count, tokens, generator=g).argsort(dim=-1) < 5


def contexts(size, count, g):
    """For each of three sets of targets, five tokens of sixteen that are shown."""
    tokens = (SIDE // PATCH) ** 2
    return torch.rand(size, count, 3, tokens, generator=g).argsort(dim=-1) < 5


def targets(size, count, g):
    """Three sets of tokens for each view, of one to four tokens."""
    order = torch.rand(size, count, 3, (SIDE // PATCH) ** 2, generator=g).argsort(dim=-1)
    return order < torch.randint(1, 5, (size, count, 3, 1), generator=g)


def order(size, count, g):
    """Tiles in random order."""
    return torch.rand(size, count, generator=g).argsort(dim=-1)


def origin(size, count, g):
    """Where each token was: the same places in every view, in an order of its own."""
    tokens = (SIDE // PATCH) ** 2
    places = torch.rand(size, tokens, 3, generator=g)
    orders = torch.rand(size, count, tokens, generator=g).argsort(dim=-1)
    return (
        places[:, None].expand(-1, count, -1, -1).gather(2, orders[..., None].expand(-1, -1, -1, 3))
    )


def offset(size, count, g):
    """Seconds, to either side."""
    return torch.randn(size, count, generator=g)


def time(size, count, g):
    """Seconds within a video of one."""
    return torch.rand(size, count, generator=g)


CUES = {
    "mask": mask,
    "context": context,
    "targets": targets,
    "order": order,
    "origin": origin,
    "offset": offset,
    "contexts": contexts,
    "time": time,
}
"""Kind of cue -> how one is drawn: [B, V, ...]."""
HALF = ("local", "tiles", "patches")
"""Families of half the encoder's side."""


def batch_of(needs, seed: int, *, size: int = 8, dtype=torch.float32) -> Batch:
    """Random views of these families, of half the side but for those that see a whole sample."""
    g = torch.Generator().manual_seed(seed)
    views, cues = {}, {}
    for family, count in needs.items():
        _, _, cue = family.partition(".")
        if cue:
            cues[family] = CUES[cue](size, count, g)
        elif count:
            side = SIDE // 2 if family in HALF else SIDE
            shape = (size, count, CHANNELS, side, side)
            views[family] = torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)
    index = torch.randperm(64, generator=g)[:size]
    return Batch(views, index, cues)


FIRST = Clock(0, 10)


def begin(method, clock=FIRST):
    """What happens before an epoch, the first one if not said, where there is much to embed."""

    dtype = next(method.parameters()).dtype

    def embed_all(f, *, share=False):
        views = batch_for(method, 1, size=64, dtype=dtype).views
        plain = {
            name: views.get(name, next(iter(views.values())))[:, 0] for name in method.encoders
        }
        with torch.no_grad():
            rows = f(plain).float()
        return comm.share(rows) if share else rows

    torch.manual_seed(7 + clock.epoch)
    method.before_epoch(clock, embed_all)
