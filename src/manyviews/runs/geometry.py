"""Whether what a run learnt of clouds is the height of their points."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manyviews import encoders
from manyviews.core.inputs import Points
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.diagnosis.geometry import Geometry, fell_by
from manyviews.evaluation.features import extract
from manyviews.losses.points import height_share
from manyviews.runs.assemble import Assembly, tokens_with
from manyviews.runs.folder import read
from manyviews.runs.look import Look

CLOUDS = 64
"""Clouds that are looked at, at most."""
_AXES = {"x": 0, "y": 1, "z": 2}


def geometry_of(
    assembly: Assembly,
    directory: Path,
    look: Look,
    source: Source,
    rows: Sequence[int],
    *,
    name: str = "",
) -> Geometry | None:
    """What features of points tell of height; None where a token is no point of a cloud.

    Args:
        assembly: the run.
        directory: of it.
        look: at the encoder.
        source: the clouds.
        rows: of them that are looked at.
        name: of the encoder, where there are several.
    """
    method = assembly.method
    encoder = method.encoders[name] if name else method.encoder
    fed = encoder.input
    if not isinstance(fed, Points) or encoder.grid != (fed.count,):
        return None
    [key] = [key for key, kept in method.encoders.items() if kept is encoder]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = encoders.build(parts(assembly.run.encoders)[key]).to(assembly.device)
    family = next((f for f in parts(assembly.run.views).values() if f.to == key), None)
    axis = _AXES[str(getattr(family, "up", "z"))]
    some = np.linspace(0, len(rows) - 1, min(CLOUDS, len(rows))).astype(np.int64)
    wanted = [rows[i] for i in np.unique(some)]
    records = read.read_metrics(directory)
    losses = [float(r["loss"]) for r in records if r.get("kind") == "train" and r.get("loss")]

    def height(tokens: Callable[[Tensor], Tensor]) -> float:
        def beside(x: Tensor) -> Tensor:
            return torch.cat([tokens(x), x[..., axis : axis + 1].float()], dim=2)

        seen = extract(beside, source, look.fixed, rows=wanted, device=look.device).features
        return float(height_share(seen[..., :-1], seen[..., -1]))

    return Geometry(
        height=height(tokens_with(encoder, assembly.device)),
        untrained=height(tokens_with(before, assembly.device)),
        early=fell_by(losses),
    )
