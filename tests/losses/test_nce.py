"""NCE's algebra, its memory, and its methods from end to end: ranks, resuming, planted bugs.

What fails if a bug is planted in a method or its parts:

- the bank written from the transformed branch, or from the other modality:
  `test_the_bank_is_written_from_the_image_branch_alone`,
  `test_each_bank_takes_in_its_own_modality` (tests/reference).
- the partition estimated anew at each step, or taken times N: the authors' three steps, and
  `test_the_partition_is_of_the_first_transformed_branch_for_ever`.
- the positive among AVID's negatives: `test_a_sample_is_never_its_own_negative_unless_asked_for`
  (tests/parts/test_bank.py); left out of PIRL's: `test_pirl_may_draw_the_sample_itself`.
- rows written by the forward pass, or between micro-batches:
  `test_forward_writes_nothing_and_repeats_itself`, `test_micro_batches_read_the_bank_before_them`.
- the mean over negatives in place of their sum: the authors' three steps.
- each rank's own number of samples with a cluster in place of all ranks':
  `test_two_ranks_reach_the_losses_weights_and_banks_of_one_process`.
"""

import copy
import math

import pytest
import torch
from raw import Raw

import forks
from manyviews.core import Batch, Clock, Given, comm
from manyviews.losses import nce as module
from manyviews.losses.nce import nce, scores
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig
from manyviews.methods.clustering.deepcluster import DeepCluster, DeepClusterConfig
from manyviews.methods.contrastive.pirl import PIRL, PIRLConfig
from manyviews.parts.bank import mean_exp
from manyviews.parts.norm import convert

SAMPLES, SIZE, STEPS, MICRO = 24, 8, 3, 2
EXACTLY = {"rtol": 0.0, "atol": 0.0, "equal_nan": True}  # rows of unreadable samples are NaN


def gaussian(seed, *shape):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("elements", "dense"), [(1, 1), (40, 1), (2**24, 1), (1, 2)])
def test_scores_and_their_gradient_are_those_of_gathered_rows(elements, dense, monkeypatch):
    monkeypatch.setattr(module, "_ELEMENTS", elements)
    monkeypatch.setattr(module, "_DENSE", dense)  # 10 items, 7 of which are asked of
    query, items = gaussian(0, 4, 3).requires_grad_(), gaussian(1, 10, 3)
    index = torch.randint(10, (4, 7), generator=torch.Generator().manual_seed(2))
    index[:, 0] -= 10  # from the end, as CMA has it before it knows of positives
    weights = gaussian(3, 4, 7)
    ours = scores(query, items, index, temperature=0.3)
    plain = torch.stack([items[i] @ q for i, q in zip(index, query, strict=True)]) / 0.3
    torch.testing.assert_close(ours, plain)
    (got,) = torch.autograd.grad((ours * weights).sum(), query)
    (expected,) = torch.autograd.grad((plain * weights).sum(), query)
    torch.testing.assert_close(got, expected)


def test_scores_keep_full_precision_under_autocast():
    query, items = gaussian(0, 4, 3).float().requires_grad_(), gaussian(1, 10, 3).float()
    index = torch.randint(10, (4, 7), generator=torch.Generator().manual_seed(2))
    plain = scores(query, items, index, temperature=0.07)
    with torch.autocast("cpu", torch.bfloat16):
        cast = scores(query, items, index, temperature=0.07)
    assert torch.equal(plain, cast)


def test_the_partition_moves_the_border_between_data_and_noise():
    """Raising all scores by c and the partition by exp(c) changes nothing."""
    positive, negatives = gaussian(0, 4), gaussian(1, 4, 7)
    one = nce(positive, negatives, partition=mean_exp(negatives))
    two = nce(positive + 3, negatives + 3, partition=mean_exp(negatives + 3))
    torch.testing.assert_close(one, two)


def test_equal_scores_cost_what_the_docstring_says():
    same = torch.full((4, 7), 2.0)
    loss = nce(same[:, 0], same, partition=mean_exp(same))
    torch.testing.assert_close(loss.item(), math.log(8) + 7 * math.log(8 / 7))


def test_no_score_overflows_and_none_is_cut_off():
    """softplus is cut off at 20; float32 exponentials overflow at 89."""
    positive, negatives = torch.tensor([-300.0, 300.0]), torch.tensor([[300.0], [-300.0]])
    loss = nce(positive, negatives, partition=torch.tensor(1.0))
    torch.testing.assert_close(loss.item(), 300.0)
    far = torch.tensor([25.0], dtype=torch.float64)
    tiny = nce(far, -far[:, None], partition=torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(tiny.item(), 2 * math.exp(-25.0), rtol=1e-6, atol=0)


def test_no_gradient_goes_through_the_partition():
    positive, negatives = gaussian(0, 4).requires_grad_(), gaussian(1, 4, 7).requires_grad_()
    assert not mean_exp(negatives).requires_grad
    constant = float(mean_exp(negatives))
    one, two = (
        torch.autograd.grad(nce(positive, negatives, partition=z), negatives)[0]
        for z in (mean_exp(negatives), torch.tensor(constant, dtype=torch.float64))
    )
    torch.testing.assert_close(one, two)


def pirl(**settings):
    config = PIRLConfig(**{"negatives": 40, "out": 4, **settings})
    return PIRL(Given({"image": Raw(5)}, SAMPLES), config)


def deepcluster():
    config = DeepClusterConfig(hidden=6, out=4, prototypes=(3, 4, 3))
    return DeepCluster(Given({"image": Raw(5)}, SAMPLES), config)


def avid():
    encoders = {"video": Raw(5), "audio": Raw(3)}
    return AVID(Given(encoders, SAMPLES), AVIDConfig(terms="joint", negatives=9, hidden=6, out=4))


MAKERS = {
    "pirl": pirl,
    "pirl by info_nce": lambda: pirl(loss="info_nce", hidden=6, temperature=0.2),
    "pirl by rotation": lambda: pirl(transform="rotation"),
    "avid": avid,
    "deepcluster": deepcluster,
}
SHAPES = {"global": (2, 5), "tiles": (9, 5), "turned": (1, 5), "video": (1, 5), "audio": (1, 3)}


def make(name, seed=0):
    torch.manual_seed(seed)
    method = MAKERS[name]()
    convert(method)
    return method.double().train()


def batch(method, seed, part=lambda x: x):
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(seed))[:SIZE]
    views = {
        name: part(gaussian(seed + i, SIZE, *SHAPES[name]))
        for i, name in enumerate(n for n in SHAPES if method.needs.get(n))
    }
    return Batch(views, part(order))


def embed_all(f):
    rows = torch.cat([f({"image": part}) for part in gaussian(77, SAMPLES, 5).split(7)])
    rows[:9] = math.nan  # unreadable in this epoch: they have no cluster, on one rank more often
    return rows


def train(method, start, stop, *, part=lambda x: x):
    """A trainer in miniature: an epoch of one step of two micro-batches; mean losses."""
    parameters = [p for g in method.param_groups() for p in g.params]
    optimizer, losses = torch.optim.SGD(parameters, lr=0.05), []
    for i in range(start, stop):
        clock = Clock(i, STEPS, epoch=i, epochs=STEPS)
        torch.manual_seed(i)
        method.before_epoch(clock, embed_all)
        for m in range(MICRO):
            torch.manual_seed(1000 * i + comm.rank())
            step = method(batch(method, 10 * i + m, part), clock)
            (step.total / MICRO).backward()
            method.after_backward(step, clock)
            losses.append(comm.mean(step.total.detach()))
        for p in parameters:  # as DistributedDataParallel does
            p.grad = None if p.grad is None else comm.mean(p.grad)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(clock)
    return losses


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


def state(method):
    skip = ("running_mean", "running_var", "num_batches_tracked")
    return {k: v.clone() for k, v in method.state_dict().items() if not k.endswith(skip)}


def test_forward_writes_nothing_and_repeats_itself(name):
    method = make(name)
    train(method, 0, 1)
    before = state(method)
    clock = Clock(1, STEPS)
    one, two = (dict(method(batch(method, 5), clock).losses) for _ in range(2))
    assert one
    assert all(torch.equal(two[k], v) for k, v in one.items())
    torch.testing.assert_close(state(method), before, **EXACTLY)


def test_a_loaded_method_continues_exactly(name):
    whole, first = make(name), make(name)
    losses = train(whole, 0, STEPS)
    assert losses[0] != losses[-1]
    again = train(first, 0, 1)
    second = make(name, seed=9)
    second.load_state_dict(first.state_dict())
    again += train(second, 1, STEPS)
    assert all(torch.equal(a, b) for a, b in zip(losses, again, strict=True))
    torch.testing.assert_close(dict(second.state_dict()), dict(whole.state_dict()), **EXACTLY)


def test_micro_batches_read_the_bank_before_them(name):
    method = make(name)
    train(method, 0, 1)
    clock = Clock(1, STEPS)
    alone = copy.deepcopy(method)(batch(method, 6), clock).total
    method.after_backward(method(batch(method, 5), clock), clock)
    assert torch.equal(method(batch(method, 6), clock).total, alone)


def test_every_matrix_has_a_gradient(name):
    method = make(name)
    train(method, 0, 1)
    method.zero_grad()
    method(batch(method, 5), Clock(1, STEPS)).total.backward()
    assert [k for k, p in method.named_parameters() if p.ndim > 1 and not p.grad.any()] == []


def test_pirl_may_draw_the_sample_itself():
    method = make("pirl")
    drawn = []
    draw = method.bank.negatives
    method.bank.negatives = lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1]
    given = batch(method, 0)
    method(given, Clock(0, STEPS))
    assert any((d == given.index[:, None]).any() for d in drawn)


def result(name, part=lambda x: x):
    method = make(name)
    return {"losses": train(method, 0, STEPS, part=part), **method.state_dict()}


def test_two_ranks_reach_the_losses_weights_and_banks_of_one_process(name, tmp_path):
    def on_rank(rank):
        torch.save(result(name, comm.share), tmp_path / f"{rank}.pt")

    assert forks.run_ranks(2, on_rank, meeting=tmp_path / "meet") == [0, 0]
    expected = result(name)
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-11, equal_nan=True)
