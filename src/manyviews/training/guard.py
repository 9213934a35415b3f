"""The numerics guard: one vote per micro-batch on whether a step may change anything."""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# torch's own optimisers run on the _foreach functions; they have no public name.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from manyviews.core import comm

_ROW = 3
"""Non-finite steps in a row that call for a rewind."""
_WINDOW = 1000
_SHARE = 0.01
"""Share of the last `_WINDOW` steps above which non-finite ones call for a rewind."""
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
MOST_REWINDS = 3
"""Rewinds before training gives up."""


@dataclass(frozen=True)
class Vote:
    """What every rank knows, and agrees on, after a micro-batch.

    Attributes:
        losses: name -> value, mean over ranks.
        grad_norm: norm of all gradients; 0.0 before the last micro-batch.
        fault: "" or what was not finite: "loss" or "gradient".
        stop: a signal came to some rank.
        seconds: rank 0's training time.
    """

    losses: Mapping[str, float]
    grad_norm: float
    fault: str
    stop: bool
    seconds: float


def vote(losses: Mapping[str, Tensor], *, norm: Tensor, stop: bool, seconds: float) -> Vote:
    """Agree with the other ranks on the state of a micro-batch: one all_reduce, one transfer.

    Args:
        losses: name -> scalar of this rank.
        norm: of all gradients, scalar, equal on all ranks; 0 while they are not complete.
        stop: whether a signal came to this rank.
        seconds: this rank's training time; rank 0's is what all ranks get.
    """
    values = torch.stack([loss.detach().double() for loss in losses.values()])
    norm = norm.detach().to(values)
    own = values.new_tensor([float(stop), seconds if comm.rank() == 0 else 0.0])
    bad_loss = (~torch.isfinite(values)).any().to(values)
    bad_norm = (~torch.isfinite(norm)).to(values)
    tally = torch.cat([torch.stack([bad_loss, bad_norm, norm]), own, values])
    if comm.world_size() > 1:
        dist.all_reduce(tally)
    ranks = comm.world_size()
    bad_losses, bad_norms, norms, stops, time, *sums = tally.tolist()
    return Vote(
        losses=dict(zip(losses, (total / ranks for total in sums), strict=True)),
        grad_norm=norms / ranks,
        fault="loss" if bad_losses else "gradient" if bad_norms else "",
        stop=stops > 0,
        seconds=time,
    )


def mean_vote(verdicts: Sequence[Vote]) -> Vote:
    """One verdict for a step of several micro-batches: mean losses, the rest from the last."""
    last = verdicts[-1]
    names = last.losses
    losses = {n: sum(v.losses[n] for v in verdicts) / len(verdicts) for n in names}
    return Vote(
        losses=losses,
        grad_norm=last.grad_norm,
        fault=last.fault,
        stop=any(v.stop for v in verdicts),
        seconds=last.seconds,
    )


class Undo:
    """Copies of the buffers that a bad step may have touched, to put them back.

    A forward writes batch-norm statistics even when its input is NaN; with several micro-batches
    the hooks of the good ones before the bad one have written queues and centres too. Modules that
    stage their writes (`never_copied`, as `parts.bank.Bank`) are told to drop them instead: a copy
    of a bank at every step would cost as much as the bank.
    """

    def __init__(self, method: nn.Module, *, everything: bool) -> None:
        self._places = [
            (module, name)
            for module in method.modules()
            for name, _ in module.named_buffers(recurse=False)
            if (everything and not _stages(module)) or name in _STATISTICS
        ]
        self._staging = [m for m in method.modules() if _stages(m) and hasattr(m, "drop")]
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the buffers as they are."""
        live = self._live()
        if not self._kept:
            self._kept = [torch.empty_like(b) for b in live]
        _copy(live, self._kept)

    @torch.no_grad()
    def undo(self) -> None:
        """Put back what `keep` saw."""
        _copy(self._kept, self._live())
        for module in self._staging:
            cast(Any, module).drop()

    def _live(self) -> list[Tensor]:
        return [module.get_buffer(name) for module, name in self._places]


def _stages(module: nn.Module) -> bool:
    return bool(getattr(module, "never_copied", False))


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """Copy tensor by tensor, in one go for each dtype."""
    for dtype in {source.dtype for source in sources}:
        here = [i for i, source in enumerate(sources) if source.dtype == dtype]
        torch._foreach_copy_([targets[i] for i in here], [sources[i] for i in here])


@dataclass
class Guard:
    """Counts skipped steps and says when to go back to the last checkpoint.

    Attributes:
        skipped: steps skipped so far.
        rewinds: rewinds so far.
        row: skipped steps in a row.
        recent: the skipped steps among the last 1000 and since the last rewind.
    """

    skipped: int = 0
    rewinds: int = 0
    row: int = 0
    recent: list[int] = field(default_factory=list[int])

    def good(self) -> None:
        """A step went well."""
        self.row = 0

    def bad(self, step: int) -> bool:
        """A step was skipped; whether to rewind now."""
        self.skipped += 1
        self.row += 1
        self.recent = [s for s in self.recent if s > step - _WINDOW] + [step]
        return self.row >= _ROW or len(self.recent) > _SHARE * _WINDOW

    def rewound(self) -> None:
        """Start counting anew after a rewind."""
        self.rewinds += 1
        self.row = 0
        self.recent = []
