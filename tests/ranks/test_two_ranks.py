"""Two processes with half of each batch reach exactly what one process with the whole reaches."""

import contextlib
import dataclasses
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from manyviews.core import Batch, Clock, comm
from manyviews.losses.clustering import (
    masked_cross_entropy,
    prototype_info_nce,
    shared_cross_entropy,
    swapped_cross_entropy,
)
from manyviews.losses.coding import coding_rate, likeness_to_mean
from manyviews.losses.contrastive import (
    batch_info_nce,
    debiased,
    decoupled,
    info_nce,
    multi_crop_nt_xent,
    nt_xent,
    unit,
)
from manyviews.losses.distillation import similarity_kl, token_distance
from manyviews.losses.entropy import (
    discrete_entropy,
    discrete_reconstruction,
    entropy_term,
    prior_divergence,
    vmf_entropy,
    vmf_reconstruction,
)
from manyviews.losses.gaussian import centre_scale_shape, epps_pulley, lines, to_centre
from manyviews.losses.infomax import (
    clipped_info_nce,
    jensen_shannon,
    place_info_nce,
    predicted_place,
)
from manyviews.losses.margin import drlim, semi_hard_triplet, time_contrastive
from manyviews.losses.points import hardest_contrastive, point_info_nce
from manyviews.losses.reconstruction import (
    blockwise_smooth_l1,
    masked_l1,
    masked_mse,
    masked_smooth_l1,
    pixel_mse,
)
from manyviews.losses.redundancy import (
    barlow_twins,
    covariance,
    invariance,
    second_moment,
    spread_along,
    variance,
)
from manyviews.losses.regression import negative_cosine, normalised_mse
from manyviews.losses.sphere import alignment, koleo, uniformity
from manyviews.losses.whitening import whitened_distance
from manyviews.methods.catalog import METHODS, build
from manyviews.parts.assign import Center, entropies, sinkhorn
from manyviews.parts.norm import BatchNorm
from manyviews.parts.queue import Queue
from manyviews.runs.entropy import spread
from manyviews.runs.settings import EntropyTerm
from tiny import TinyConv, TinyViT, batch_for, begin, given_for, others, shrink

SIZE, STEPS, MICRO = 8, 3, 2


def rows(seed, *shape):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, *shape, generator=g, dtype=torch.float64)


def mine(x):
    """This rank's part of the global batch."""
    return comm.share(x)


def crowd():
    """Rows in a queue that all ranks hold; an odd number, so that shares are uneven."""
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def wider():
    """To more dimensions than samples, where other products are formed."""
    return torch.randn(6, 80, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def swav_targets(z):
    known = torch.cat([comm.share(crowd()), z[:, 0].detach()])
    return sinkhorn(known, temperature=0.5)[-len(z) :][:, None]


def dino_targets(z):
    center = Center(6).double()
    center.update(mine(rows(4, 2, 6)))
    center.update(mine(rows(5, 2, 6)))
    return center(z[:, :2].detach(), temperature=0.3)


def counted():
    """Which pairs count: most of the first rank's and few of the second's."""
    return mine(torch.tensor([1, 1, 1, 0, 0, 1, 0, 0], dtype=torch.bool))


def hardest(z, part):
    first, second, own = unit(z[:, 0]), unit(z[:, 1]), mine(torch.eye(SIZE, dtype=torch.bool))
    same = {"same_first": own, "same_second": own}
    return hardest_contrastive(first, second, first, second, counted(), **same, near=0.1, far=1.4)[
        part
    ]


LOSSES = {
    "nt_xent": lambda z: nt_xent(unit(z[:, :2]), temperature=0.2),
    "multi_crop_nt_xent": lambda z: multi_crop_nt_xent(unit(z), temperature=0.2),
    "info_nce": lambda z: info_nce(unit(z[:, 0]), unit(z[:, 1]), crowd(), temperature=0.2),
    "batch_info_nce": lambda z: batch_info_nce(unit(z[:, 0]), unit(z[:, 1]), temperature=0.2),
    "decoupled": lambda z: decoupled(unit(z[:, :2]), temperature=0.2),
    "decoupled_weighted": lambda z: decoupled(unit(z[:, :2]), temperature=0.2, sigma=0.5),
    "debiased": lambda z: debiased(unit(z[:, :2]), temperature=0.5, prior=0.1),
    "hard_negatives": lambda z: debiased(unit(z[:, :2]), temperature=0.5, prior=0.1, hardness=1.0),
    "point_info_nce": lambda z: point_info_nce(
        unit(z[:, 0]), unit(z[:, 1]), counted(), temperature=0.4
    ),
    "hardest_together": lambda z: hardest(z, 0),
    "hardest_apart": lambda z: hardest(z, 1),
    "drlim": lambda z: drlim(unit(z[:, :2]), margin=1.5),
    "semi_hard_triplet": lambda z: semi_hard_triplet(unit(z[:, :2]), margin=0.5),
    "time_contrastive": lambda z: time_contrastive(
        unit(z), mine(rows(4, 3)).abs(), margin=0.5, near=0.4, far=0.6, others=False
    ),
    "alignment": lambda z: alignment(unit(z[:, 0]), unit(z[:, 1])),
    "uniformity": lambda z: uniformity(unit(z[:, 0])),
    "koleo": lambda z: koleo(z[:, 0]),
    "normalised_mse": lambda z: normalised_mse(z[:, 0], z[:, 1]),
    "negative_cosine": lambda z: negative_cosine(z[:, 0], z[:, 1]),
    "similarity_kl": lambda z: similarity_kl(
        unit(z[:, 0]),
        unit(z[:, 1]),
        torch.cat([comm.gather(unit(z[:, 1].detach())), unit(crowd())]),
        temperature=0.1,
        teacher_temperature=0.2,
    ),
    "token_distance": lambda z: token_distance(z[:, :2], mine(rows(6, 2, 6))),
    "barlow_twins": lambda z: barlow_twins(z[:, 0], z[:, 1], off_diagonal=0.01),
    "barlow_twins_wide": lambda z: barlow_twins(
        z[:, 0] @ wider(), z[:, 1] @ wider(), off_diagonal=0.01
    ),
    "covariance_wide": lambda z: covariance(z[:, 0] @ wider()),
    "variance": lambda z: variance(0.3 * z[:, 0]),
    "covariance": lambda z: covariance(z[:, 0]),
    "jensen_shannon": lambda z: jensen_shannon(z[:, 0], z[:, 1:]),
    "place_info_nce": lambda z: place_info_nce(z[:, 0], z[:, 1:]),
    "clipped_info_nce": lambda z: sum(clipped_info_nce(z[:, 0], z[:, 1:], clip=2.0)),
    "predicted_place": lambda z: predicted_place(z[:, :2], z, torch.tensor([2, 0])),
    "invariance": lambda z: invariance(z[:, 0], z[:, 1]),
    "epps_pulley": lambda z: epps_pulley(z, lines(6, 5, seed=0, like=z)),
    "centre_scale_shape": lambda z: sum(centre_scale_shape(z, lines(6, 5, seed=0, like=z))),
    "to_centre": lambda z: to_centre(z, views=2),
    "coding_rate": lambda z: coding_rate(unit(z), precision=0.2),
    "coding_rate_wide": lambda z: coding_rate(unit(z @ wider()), precision=0.2),
    "likeness_to_mean": lambda z: likeness_to_mean(unit(z)),
    "spread_along": lambda z: spread_along(unit(z[:, 0]), second_moment(unit(z[:, 0]))),
    "whitened_distance": lambda z: whitened_distance(
        z[..., :3], size=4, rounds=2, shrinkage=0.1, seed=0
    ),
    "swav": lambda z: swapped_cross_entropy(z, swav_targets(z), temperature=0.2),
    "dino": lambda z: swapped_cross_entropy(z, dino_targets(z), temperature=0.2),
    "joe": lambda z: vmf_entropy(unit(z[:, 0]), kappa=10.0),
    "plug-in": lambda z: vmf_entropy(unit(z[:, 0]), kappa=10.0, estimator="plug-in"),
    "reconstruction": lambda z: vmf_reconstruction(unit(z[:, 0]), unit(z[:, 1]), kappa=10.0),
    "discrete_entropy": lambda z: discrete_entropy(z[:, 0].softmax(dim=1)),
    "prior_divergence": lambda z: prior_divergence(
        z[:, 0].softmax(dim=1), -torch.arange(6.0).double()
    ),
    "masked_cross_entropy": lambda z: masked_cross_entropy(
        z[mine(some())],
        mine(rows(6, 3, 6)).softmax(dim=2)[mine(some())],
        mine(some()),
        temperature=0.2,
    ),
    "shared_cross_entropy": lambda z: shared_cross_entropy(z, mine(rows(4, 6)).softmax(dim=1)),
    "prototype_info_nce": lambda z: prototype_info_nce(
        unit(z[:, 0]),
        unit(crowd()),
        torch.arange(1.0, 8.0).double() / 10,
        cluster=mine(torch.tensor([4, 1, -100, 4, 0, -100, -100, 1])),
        negatives=torch.tensor([2, 6, -100]),
    ),
    "discrete_reconstruction": lambda z: discrete_reconstruction(
        z[:, 0].log_softmax(dim=1), z[:, 1].log_softmax(dim=1)
    ),
    "entropy_term": lambda z: entropy_term(z, weight=0.3, kappa=10.0)["entropy"],
    "masked_mse": lambda z: masked_mse(z, mine(rows(6, 3, 6)), mine(hidden())),
    "masked_l1": lambda z: masked_l1(z, mine(rows(6, 3, 6)), mine(hidden())),
    "masked_smooth_l1": lambda z: masked_smooth_l1(
        z, mine(rows(6, 3, 6)), mine(hidden()), beta=0.5
    ),
    "blockwise_smooth_l1": lambda z: blockwise_smooth_l1(
        z[:, None], mine(rows(6, 3, 6))[:, None], mine(hidden())[:, None]
    ),
    "pixel_mse": lambda z: pixel_mse(z, mine(rows(6, 3, 6))),
    "batch_norm": lambda z: BatchNorm(6).double()(z.flatten(0, 1)).pow(3).mul(weights(z)).mean(),
    "batch_norm_in_two_groups": lambda z: (
        BatchNorm(6, groups=2).double()(z[:, 0]).pow(3).mul(mine(rows(7, 6))).mean()
    ),
}


def weights(z):
    return mine(rows(7, 3, 6)).flatten(0, 1)


def hidden():
    order = torch.rand(SIZE, 3, generator=torch.Generator().manual_seed(3)).argsort(dim=1)
    return order > 0


def some():
    """Other numbers in each row, and on each rank."""
    return torch.arange(SIZE * 3).view(SIZE, 3) % 7 > torch.arange(SIZE)[:, None] // 2


def gradient(name):
    """The loss and its gradient in a shared weight, as DDP would average them."""
    w = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    w.requires_grad_()
    loss = LOSSES[name](mine(rows(2, 3, 5)) @ w)
    (grad,) = torch.autograd.grad(loss, w)
    return {"loss": comm.mean(loss.detach()), "gradient": comm.mean(grad)}


def micro_batch(method, seed):
    batch = batch_for(method, seed, size=SIZE, dtype=torch.float64)
    views = {k: mine(v) for k, v in batch.views.items()}
    return Batch(views, mine(batch.index), {k: mine(v) for k, v in batch.cues.items()})


def spreads(name):
    """Whether a method compares something whose entropy can be added from outside."""
    entry = METHODS[name]
    method = build(shrink(entry.config()), given_for(entry.method, TinyViT)).train()
    begin(method)
    step = method(batch_for(method), Clock(0, STEPS))
    return not any("entropy" in loss for loss in step.losses) and not (
        step.projection is None and step.clusters is None
    )


UNEVEN = {"queue": 11}
"""A queue that batches do not divide."""
ALONG = {"clusters": {"clusters": 5}}
"""An option -> what goes with it."""
VARIANTS = {
    **{name: (name, {}, 0.0) for name in METHODS},
    **{f"{name} with entropy": (name, {}, 0.5) for name in METHODS if spreads(name)},
    "cmc with a core": ("cmc", {"core": "ab"}, 0.0),
    "ibot with batch norm": ("ibot", {"batch_norm": True, "patch_prototypes": 12}, 0.0),
    "dinov2 with one head and centres": (
        "dinov2",
        {"balance": "center", "patch_prototypes": 0},
        0.0,
    ),
    "moco with tiles": ("moco", {"jigsaw": 0.5}, 0.0),
    "msn with a prior": ("msn", {"prior": 0.5, "rounds": 0}, 0.0),
    **{
        f"{name} with {field}={value}": (name, {field: value} | ALONG.get(value, {}), 0.0)
        for name, entry in METHODS.items()
        for other in others(entry.config())
        for field, value in other.items()
        if field != "frozen_patches"  # of our vision transformer alone, and it adds up nothing
    },
}
"""What is trained -> method, settings, weight of the entropy that is added."""


def made(variant):
    name, settings, weight = VARIANTS[variant]
    entry = METHODS[name]
    config = shrink(entry.config(**settings))
    uneven = {k: v for k, v in UNEVEN.items() if hasattr(config, k)}
    torch.manual_seed(0)
    encoder = TinyViT if entry.method.tokens else TinyConv
    outside = given_for(entry.method, encoder)
    for teacher in outside.teachers.values():
        teacher.double()  # no part of the method, so `double` below does not reach it
    method = build(dataclasses.replace(config, **uneven), outside)
    if weight:
        spread(method, EntropyTerm(weight=weight))
    method = method.double().train()
    begin(method)
    return method


def trained(variant):
    """Three optimiser steps of two micro-batches of a whole method; its state and losses."""
    method = made(variant)
    ranks = comm.world_size()
    run = DistributedDataParallel(method, broadcast_buffers=False) if ranks > 1 else method
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.05)
    out = {}
    for i in range(STEPS):
        clock = Clock(i, STEPS, epoch=i, epochs=STEPS)
        if i:
            begin(method, clock)
        for m in range(MICRO):
            last = m == MICRO - 1 or ranks == 1
            with contextlib.nullcontext() if last else run.no_sync():
                step = run(micro_batch(method, 10 * i + m), clock)
                (step.total / MICRO).backward()
            method.after_backward(step, clock)
            out[f"loss {i} {m}"] = comm.mean(step.total.detach())
            for key in ("target_entropy", "usage_entropy"):
                if key in step.watch:
                    out[f"{key} {i} {m}"] = step.watch[key]
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(clock)
    return out | {k: v.clone() for k, v in method.state_dict().items()}


def remembered():
    queue = Queue(11, 5).double()
    queue.items.zero_()
    for seed in range(3):
        queue.push(mine(rows(seed, 5)))
    target = sinkhorn(mine(rows(0, 6)), temperature=0.5)
    center, chosen = Center(6).double(), mine(rows(0, 3, 6))[mine(some())]
    center.update_by(chosen.sum(dim=0), mine(some()).sum())
    return {
        "uneven center": center.mean,
        "queue": queue.items,
        "sinkhorn": comm.gather(target),
        "shares": comm.gather(mine(rows(0, 5))),
        **entropies(mine(rows(0, 6).softmax(dim=1))),
    }


def everything():
    return {
        "others": remembered(),
        **{f"loss {name}": gradient(name) for name in LOSSES},
        **{f"method {name}": trained(name) for name in VARIANTS},
    }


def process(rank, folder):
    torch.set_num_threads(1)
    store = f"file://{folder}/store"  # no port that another process could take
    patience = timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=patience)
    torch.save(everything(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    pair = mp.spawn(process, (str(folder),), nprocs=2, join=False)
    one = everything()
    while not pair.join():  # one rank that waits for the other gives up after its patience
        pass
    two = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return SimpleNamespace(one=one, two=two)


def assert_same(runs, what):
    expected = runs.one[what]
    assert expected
    for got in runs.two:
        assert set(got[what]) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(
                got[what][key], value, rtol=1e-8, atol=1e-11, msg=lambda m, k=key: f"{k}: {m}"
            )


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_gradient_of_the_whole_batch(runs, name):
    assert runs.one[f"loss {name}"]["gradient"].any()
    assert_same(runs, f"loss {name}")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_method_reaches_the_weights_and_buffers_of_one_process(runs, name):
    assert_same(runs, f"method {name}")


@pytest.mark.parametrize("name", METHODS)
def test_the_steps_compared_moved_every_trainable_matrix(runs, name):
    method = made(name)
    after = runs.one[f"method {name}"]
    still = {
        k
        for k, p in method.named_parameters()
        if p.requires_grad and p.ndim > 1 and torch.equal(p, after[k])
    }
    assert not still


def test_queues_assignments_and_shares_are_those_of_one_process(runs):
    assert_same(runs, "others")
