"""Norms, losses and the queue give on four ranks what they give on one process."""

from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from manyviews.losses.contrastive import nt_xent, unit
from manyviews.losses.redundancy import barlow_twins, covariance, variance
from manyviews.parts.norm import BatchNorm, shuffled
from manyviews.parts.queue import Queue

RANKS, SIZE = 4, 16
VIEWS = torch.randn(SIZE, 2, 3, 2, generator=torch.Generator().manual_seed(0)).double()
VIEWS = VIEWS * torch.arange(1.0, SIZE + 1).view(-1, 1, 1, 1)


def norm(groups):
    def run(views):
        module = BatchNorm(3, groups=groups).double()
        with torch.no_grad():
            module.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            module.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
        out = module(views[:, 0])
        torch.manual_seed(0)
        loss = (out.flatten(1) ** 3).sum(dim=1).mean()
        return loss, out, module.running_mean, module.running_var

    return run


def key_shuffle(views):
    module = BatchNorm(3, groups=8).double()
    out = shuffled(lambda x: module(x).flatten(1), views[:, 0].detach(), seed=3)
    return views.sum() * 0, out


def queue(views):
    items = Queue(24, 6).double()
    items.items.zero_()
    items.push(views[:, 0].flatten(1))
    items.push(views[:, 1].flatten(1))
    return views.sum() * 0, None, items.items, items.head


CASES = {
    "over all ranks": norm(1),
    "over pairs of ranks": norm(2),
    "a group a rank": norm(4),
    "two groups a rank": norm(8),
    "key shuffle": key_shuffle,
    "queue": queue,
    "nt_xent": lambda v: (nt_xent(unit(v.flatten(2)), temperature=0.2),),
    "barlow": lambda v: (barlow_twins(*v.flatten(2).unbind(1), off_diagonal=0.1),),
    "variance": lambda v: (variance(v[:, 0].flatten(1) * 0.05),),
    "covariance": lambda v: (covariance(v[:, 0].flatten(1)),),
}


def everything(rows):
    """Case -> [loss, gradient, rows out or None, state...], of these rows of the batch."""
    results = {}
    for name, run in CASES.items():
        views = VIEWS[rows].clone().requires_grad_()
        loss, *rest = run(views)
        loss.backward()
        results[name] = [x if x is None else x.detach() for x in (loss, views.grad, *rest)]
    return results


def on_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=120),
    )
    part = SIZE // RANKS
    torch.save(everything(slice(rank * part, (rank + 1) * part)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_four_ranks_give_what_one_process_gives(tmp_path):
    mp.spawn(on_rank, args=(str(tmp_path),), nprocs=RANKS)
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(RANKS)]
    for name, (loss, gradient, *rest) in everything(slice(None)).items():
        parts = [rank[name] for rank in ranks]
        torch.testing.assert_close(torch.stack([p[0] for p in parts]).mean(), loss, msg=name)
        # DistributedDataParallel averages over ranks.
        averaged = torch.cat([p[1] for p in parts]) / RANKS
        torch.testing.assert_close(averaged, gradient, msg=name)
        if rest and rest[0] is not None:
            torch.testing.assert_close(torch.cat([p[2] for p in parts]), rest[0], msg=name)
        for i, state in enumerate(rest[1:], 3):
            for part in parts:
                torch.testing.assert_close(part[i], state, msg=name)
