"""A batch of images becomes its crops, of several families at once."""

import logging
import math
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from manyviews.core.sample import Bytes, memory
from manyviews.core.settings import check
from manyviews.views.draw import Ints, draw, family
from manyviews.views.image.columns import SMALL, columns, columns_size
from manyviews.views.image.make import Cutter
from manyviews.views.plan import Crops

log = logging.getLogger("manyviews")

Images = Sequence[Bytes] | Bytes

_TOGETHER = 64
"""Small images in one call: many enough that calls cost nothing, few enough to stay in cache."""


@contextmanager
def _patience(seconds: float = 2.0) -> Generator[None]:
    """Say what takes so long, if it does."""
    # Loading what is compiled can take as long on a busy machine; nobody can tell which it is.
    said = (
        "Preparing the views' machine code: some 12 seconds the first time, more on a busy machine."
    )
    timer = threading.Timer(seconds, log.info, [said])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Engine:
    """Makes families of crops; the same pixels in any batch, process and number of threads.

    Attributes:
        crops: family -> its plan, with a size.
        channels: of every image.
        seed: of the run; with epoch and index it decides every view.
    """

    def __init__(self, crops: Mapping[str, Crops], *, channels: int, seed: int) -> None:
        """Check the plan, and have the machine code ready.

        On a machine that has never made views that takes about 12 seconds, else less than one.

        Raises:
            UsageError: a number of the plan is out of its range.
        """
        for name, plan in crops.items():
            check(plan, f"views.{name}.")
        self.crops = dict(crops)
        self.channels = channels
        self.seed = seed
        self._families = {
            name: (family(name), Cutter(plan, channels=channels))
            for name, plan in crops.items()
            if plan.count
        }
        # Compiled, or loaded, once here, before worker processes would each do it.
        with _patience():
            self(np.zeros((1, 1, 1, channels), dtype=np.uint8), np.zeros(1, dtype=np.int64), 0)

    def __call__(
        self,
        images: Images,
        index: Ints,
        epoch: int,
        *,
        into: Mapping[str, Bytes] | None = None,
        only: Mapping[str, Ints] | None = None,
    ) -> dict[str, Bytes]:
        """Make the views of a batch.

        Args:
            images: B images [H, W, C] uint8, of any sizes, or one array [B, H, W, C].
            index: [B] int64, their positions in the data set.
            epoch: counted from 0.
            into: family -> [B, V, S, S, C] uint8 in which its views are made; None takes new
                memory.
            only: family -> the numbers of its views that are made; the others are left as they
                are. None makes all.

        Returns:
            family -> [B, V, S, S, C] uint8, for families with at least one view.
        """
        sides = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        made = self._rooms(len(images)) if into is None else {n: into[n] for n in self._families}
        draws = {
            name: draw(
                make.crops,
                seed=self.seed,
                epoch=epoch,
                index=index,
                heights=sides[:, 0],
                widths=sides[:, 1],
                family=number,
            )
            for name, (number, make) in self._families.items()
        }
        tallest, widest = sides.max(axis=0, initial=1).tolist()
        scratch = {
            name: make.scratch(tallest, widest) for name, (_, make) in self._families.items()
        }
        room, numbers = np.empty(0, dtype=np.uint8), np.arange(len(images))
        for rows, stack in _stacks(images, sides):
            room = _enough(room, columns_size(stack.shape))
            planes = columns(stack, room)
            for name, (_, make) in self._families.items():
                # A slice of consecutive rows is a view, filled in place; others are copied.
                out, drawn = made[name][rows], draws[name].take(rows)
                if only is not None:
                    out = np.ascontiguousarray(out[:, only[name]])
                    make(planes, drawn.of(only[name]), out, scratch[name])
                    made[name][numbers[rows][:, None], only[name]] = out
                    continue
                make(planes, drawn, out, scratch[name])
                if not isinstance(rows, slice):
                    made[name][rows] = out
        return made

    def _rooms(self, count: int) -> dict[str, Bytes]:
        made: dict[str, Bytes] = {}
        for name, (_, make) in self._families.items():
            size = make.crops.size
            shape = (count, make.crops.count, size, size, self.channels)
            made[name] = memory(math.prod(shape)).reshape(shape)
        return made


def _stacks(images: Images, sides: Ints) -> Iterator[tuple[slice | Ints, Bytes]]:
    """Yield (rows, [n, H, W, C]): small images together, others one at a time.

    Small images lie at the top left of equal canvases; crops never see the rest.
    """
    if isinstance(images, np.ndarray) and sides.max(initial=0) <= SMALL:
        for first in range(0, len(images), _TOGETHER):
            yield slice(first, first + _TOGETHER), images[first : first + _TOGETHER]
        return
    small = sides.max(axis=1, initial=0) <= SMALL
    rows = np.flatnonzero(small)
    for first in range(0, len(rows), _TOGETHER):
        part = rows[first : first + _TOGETHER]
        height, width = sides[part].max(axis=0)
        stack = np.zeros((len(part), height, width, images[0].shape[-1]), dtype=np.uint8)
        for canvas, row in zip(stack, part.tolist(), strict=True):
            canvas[: sides[row, 0], : sides[row, 1]] = images[row]
        yield part, stack
    for row in np.flatnonzero(~small).tolist():
        yield slice(row, row + 1), images[row][None]


def _enough(room: Bytes, size: int) -> Bytes:
    return room if len(room) >= size else np.empty(size, dtype=np.uint8)
