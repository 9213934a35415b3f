"""One row for each sample of the data set, and the constant that their scores are divided by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Clock, UsageError, comm, wide
from manyviews.core.memory import check_memory
from manyviews.losses import nce
from manyviews.parts.counted import mixed, words


class Bank(nn.Module):
    """A unit vector for each sample: what earlier steps made of it.

    Starts with random rows, the same on all ranks if they are seeded alike, or with those of
    `fill`. A step's rows are staged micro-batch by micro-batch and enter together, so that every
    micro-batch reads the bank as it was before the step, and a skipped step is undone by forgetting
    what was staged. All ranks hold the same rows.

    Attributes:
        items: [samples, dim] fp32.
        seed: int64 scalar, what tells this run's negatives from another's.
        momentum: weight of the old row in the new one; 0 replaces it.
        never_copied: these buffers need no copy for undoing a step: `drop` undoes it.
        of_samples: what it holds means nothing on other data.

    Source: Wu et al. 2018 (NPID), section 3.1; Misra and van der Maaten 2020 (PIRL).
    """

    never_copied = True
    of_samples = True
    items: Tensor
    seed: Tensor

    def __init__(self, samples: int, dim: int, *, momentum: float) -> None:
        super().__init__()
        if samples < 2:
            raise UsageError(
                f"A bank has a row for each sample and needs 2 or more; it was given {samples}. "
                "Set Given.samples to the size of the data set."
            )
        check_memory(
            samples, dim, what="The bank", advice="Lower --method.out, or take fewer files."
        )
        self.momentum = momentum
        self.register_buffer("items", F.normalize(torch.randn(samples, dim), dim=1))
        self.register_buffer("seed", torch.randint(2**62, ()))
        self._staged: list[tuple[Tensor, Tensor]] = []

    def negatives(
        self,
        index: Tensor,
        *,
        count: int,
        step: int,
        branch: int = 0,
        own: bool = False,
        avoid: Tensor | None = None,
    ) -> Tensor:
        """Draw samples for each of a batch, uniformly and with replacement.

        A function of the seed, the step, the branch and the sample: the same again at the second
        call, in a resumed run, and on any number of ranks, which a generator's would not be.

        Args:
            index: [B] int64, the samples that negatives are for.
            count: K.
            step: of the optimiser.
            branch: tells several draws of one step apart.
            own: a sample may be its own negative.
            avoid: [B, P] int64, ascending and each once: drawn are all but these, and `own` is not
                asked.

        Returns:
            [B, K] int64 in [0, samples).
        """
        state = mixed(mixed(mixed(self.seed + step) + branch) + index)
        if avoid is not None:
            drawn = words(state, count) % (len(self.items) - avoid.shape[1])
            # Behind so many of those that are avoided lies each of the others.
            before = avoid - torch.arange(avoid.shape[1], device=avoid.device)
            return drawn + torch.searchsorted(before, drawn, right=True)
        choices = len(self.items) - (not own)
        drawn = words(state, count) % choices  # 2^63 is so many samples that no bias is left
        return drawn if own else drawn + (drawn >= index[:, None]).to(drawn.dtype)

    def scores(
        self,
        z: Tensor,
        index: Tensor,
        *,
        count: int,
        temperature: float,
        step: int,
        branch: int = 0,
    ) -> Tensor:
        """Each query against its sample's row, then against rows drawn for it.

        Args:
            z: [B, dim] unit vectors.
            index: [B] int64, their samples.
            count: K; the sample itself may be among them, as in NPID's and vissl's code.
            temperature: T.
            step: of the optimiser.
            branch: tells several draws of one step apart.

        Returns:
            [B, 1 + K] of z . row / T.
        """
        drawn = self.negatives(index, count=count, step=step, branch=branch, own=True)
        which = torch.cat([index[:, None], drawn], dim=1)
        return nce.scores(z, self.items, which, temperature=temperature)

    @torch.no_grad()
    def fill(self, rows: Tensor) -> None:
        """Take all rows at once; where one is NaN, of a sample that cannot be read, the old stays.

        Args:
            rows: [samples, dim], the same on all ranks.
        """
        known = rows.isfinite().all(dim=1, keepdim=True)
        made = F.normalize(rows.to(self.items.dtype), dim=1)
        self.items.copy_(torch.where(known, made, self.items))

    @torch.no_grad()
    def stage(self, index: Tensor, rows: Tensor) -> None:
        """Keep a micro-batch's rows of all ranks for `commit`.

        Args:
            index: [B] int64, the samples; equally many on each rank.
            rows: [B, dim] unit vectors.
        """
        rows = rows.detach().to(self.items.dtype)
        self._staged.append((comm.gather(index), comm.gather(rows)))

    @torch.no_grad()
    def commit(self) -> None:
        """Move the staged samples' rows: row <- unit(momentum * row + (1 - momentum) * new).

        Of several rows for one sample the last counts, in the order of micro-batches and then of
        ranks, and it meets the row from before the step.
        """
        if not self._staged:
            return
        index, rows = (torch.cat(parts) for parts in zip(*self._staged, strict=True))
        self.drop()
        if self.momentum:
            rows = self.momentum * self.items[index] + (1 - self.momentum) * rows
        rows = F.normalize(rows, dim=1)
        order = index.argsort(stable=True)
        last = order[torch.searchsorted(index[order], index, right=True) - 1]
        self.items[index] = rows[last]  # equal rows for equal samples: any order of writing will do

    def drop(self) -> None:
        """Forget what is staged: the step is skipped."""
        self._staged.clear()


TURNS = 2
"""Of every sample, before scores against a bank say what was learnt."""


def settled(value: Tensor, clock: Clock) -> Tensor:
    """What a method says of its scores against a bank; NaN in the first `TURNS` epochs.

    Rows are random at first, and of what they were a momentum of 0.5 leaves half after one turn:
    nothing could be found among them by what was learnt. Later such a number still is highest
    where an epoch begins, as a sample's own row is an epoch old, and so are all others then.

    Args:
        value: scalar.
        clock: of the step.
    """
    return value if clock.epoch >= TURNS else torch.full_like(value, torch.nan)


class Partition(nn.Module):
    """NCE's partition: estimated from the first scores of a run, then a constant.

    `forward` reads it and `store` sets it, once.

    Attributes:
        value: scalar buffer, 0 until it is stored.

    Source: Wu et al. 2018 (NPID), section 3.2.
    """

    of_samples = True
    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))

    def forward(self, scores: Tensor) -> Tensor:
        """The stored value, else `mean_exp` of these scores; the same on all ranks, no gradient."""
        estimate = mean_exp(scores)
        return torch.where(self.value > 0, self.value.to(estimate.dtype), estimate)

    @torch.no_grad()
    def store(self, estimate: Tensor) -> None:
        """Keep what `forward` gave, if nothing is kept yet."""
        self.value.copy_(torch.where(self.value > 0, self.value, estimate.to(self.value.dtype)))


@torch.no_grad()
def mean_exp(scores: Tensor) -> Tensor:
    """Mean over all entries and all ranks of exp(score), without gradient.

    Times N it is the constant Z by which Wu et al. normalise over N samples.

    Args:
        scores: any shape, the same on every rank.

    Returns:
        Scalar, the same on every rank; float32 or float64.

    Source: Wu et al. 2018 (NPID), section 3.2; facebookresearch/AVID-CMA criterions/nce.py.
    """
    return comm.mean(wide(scores).exp().mean())
