"""The arithmetic of views as compiled graphs; where those cannot be had, as it is."""

import logging
import textwrap
import time
import warnings
from collections.abc import Callable
from types import FunctionType

import torch
from torch import Tensor

from manyviews.views import planes
from manyviews.views.plan import Crops

log = logging.getLogger("manyviews")

_WRONG = 0.01
"""Share of values that may be more than a level off before a graph is thought to be wrong. Float
arithmetic in another order moves one in ten thousand, by one level."""


class Graphs:
    """`planes.views`, compiled for each family of crops when that is first asked for.

    There is one graph for all batches of a family: neither the number of views, nor the size of the
    pictures, nor what was drawn is part of it. The first batch is made without it too, and must be
    the same. Whatever goes wrong is said once, and from then on all views are made uncompiled.

    Attributes:
        seconds: that compiling took so far.
    """

    def __init__(self) -> None:
        """Compile nothing yet."""
        self.seconds = 0.0
        self._made: dict[Crops, Callable[[Tensor, Tensor], Tensor]] = {}
        self._refused = False

    def __call__(self, pictures: Tensor, drawn: planes.Drawn, crops: Crops) -> Tensor:
        """Make one view of each picture: arguments and result as of `planes.views`."""
        # torch makes a graph of its own for every size that is 0 or 1.
        if self._refused or min(pictures.shape[:3]) < 2:
            return planes.views(pictures, drawn, crops)
        try:
            if crops not in self._made:
                return self._first(pictures, drawn, crops)
            return self._made[crops](pictures, drawn.there)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n\n")[0]  # torch adds how to get more
            said = textwrap.shorten(first, 200, placeholder=" ...")
            self._refuse(f"{type(error).__name__}: {said}")
            return planes.views(pictures, drawn, crops)

    def _first(self, pictures: Tensor, drawn: planes.Drawn, crops: Crops) -> Tensor:
        log.info("Compiling what makes views of %d pixels, once.", crops.size)
        began = time.perf_counter()
        with warnings.catch_warnings():
            # torch's advice, to compute products less exactly among it
            warnings.simplefilter("ignore")
            graph = _compiled(crops, pictures, drawn.there)
            made = graph(pictures, drawn.there)
        if made.is_cuda:
            torch.cuda.synchronize(made.device)
        self.seconds += time.perf_counter() - began
        plain = planes.views(pictures, drawn, crops)
        off = ((made.int() - plain.int()).abs() > 1).float().mean().item()
        if off > _WRONG:
            self._refuse(f"of the compiled values {off:.0%} differ by more than a level")
            return plain
        self._made[crops] = graph
        return made

    def _refuse(self, why: str) -> None:
        self._refused = True
        log.warning("Views are made uncompiled, more slowly, because compiling failed: %s", why)


def _compiled(crops: Crops, pictures: Tensor, drawn: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of pictures and draws of any number and size, such as these."""
    from torch._dynamo import mark_dynamic  # pyright: ignore[reportPrivateUsage] - documented

    def views(pictures: Tensor, drawn: Tensor) -> Tensor:
        return planes.views(pictures, planes.Drawn(drawn, None), crops)

    mark_dynamic(pictures, [0, 1, 2])
    mark_dynamic(drawn, 0)
    # A code of its own, for torch compiles one code for few settings only.
    code = views.__code__.replace(co_name=f"views_{crops.size}")
    own = FunctionType(code, views.__globals__, closure=views.__closure__)
    # In this process: no helper processes that could outlive it, or that it could wait for.
    return torch.compile(own, fullgraph=True, dynamic=False, options={"compile_threads": 1})
