"""Views made in batch on an accelerator, from the draws of the CPU engine.

The workers decode (`stage.Stage`); everything else happens here: `planes` has the arithmetic, and
on a GPU `graph` compiles it. Nothing waits for the device.

A view depends on (seed, epoch, index, view) and not on its batch, but for the last bit of float
arithmetic, which can move a level by one between devices, or batch sizes: a run that is resumed
with the same settings on the same device and versions repeats its views exactly.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from manyviews.views import planes
from manyviews.views.graph import Graphs
from manyviews.views.plan import Crops, Views
from manyviews.views.stage import DRAWS, IMAGES

_CHUNK = 1 << 27
"""Bytes of float sources that are resampled at once."""


class DeviceViews:
    """Makes the views that an `Engine` of the same plan would, on any device.

    Attributes:
        views: the plan.
        device: where they are made.
        compiled: whether the arithmetic is to be compiled at the first batch.
    """

    def __init__(self, views: Views, device: torch.device, *, compiled: bool | None = None) -> None:
        """Keep the plan; `stage.Stage` has checked it.

        Args:
            views: the plan.
            device: where the views are made.
            compiled: None compiles for a GPU only: on a CPU the `Engine` is the fast way.
        """
        self.views = views
        self.device = device
        self.compiled = device.type == "cuda" if compiled is None else compiled
        self._make = Graphs() if self.compiled else planes.views

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling has taken so far."""
        return self._make.seconds if isinstance(self._make, Graphs) else 0.0

    @torch.no_grad()
    def __call__(
        self, images: Mapping[str, Tensor], cues: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Make a batch from what `Stage` gave.

        Args:
            images: {"images": [M, H, W, C] uint8}, on the processor (pinned or not) or the device.
            cues: "draws.*" [B, V, F] float64 on the processor, and others.

        Returns:
            name -> [B, V, S, S, C] uint8 on the device; and the other cues, where they were.
        """
        sources = images[IMAGES].to(self.device, non_blocking=True)
        made: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, enabled=False):
            for name, crops in (("global", self.views.global_), ("local", self.views.local)):
                if crops.count:
                    made[name] = _family(sources, cues[DRAWS + name], crops, make=self._make)
        return made, {name: cue for name, cue in cues.items() if not name.startswith(DRAWS)}


def _family(
    sources: Tensor,
    draws: Tensor,
    crops: Crops,
    *,
    make: Callable[[Tensor, planes.Drawn, Crops], Tensor],
) -> Tensor:
    """[B, V, S, S, C] uint8 of sources [M, H, W, C] uint8 and draws [B, V, F], some at a time."""
    here = planes.numbers(draws.flatten(0, 1))
    # Copied once, as one tensor.
    there = here.to(sources.device, non_blocking=True)
    values = sources[0].numel() + 2 * crops.size * max(sources.shape[1:3])
    parts = -(-len(here) // max(1, _CHUNK // (4 * values)))
    drawn = map(planes.Drawn, there.tensor_split(parts), here.tensor_split(parts))
    made = [make(sources[part["source"].long()], part, crops) for part in drawn]
    return torch.cat(made).unflatten(0, draws.shape[:2])
