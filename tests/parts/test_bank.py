"""The bank: staged writes, negatives that are a function of the step, a partition set once."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import forks
from manyviews.core import Clock, UsageError, comm
from manyviews.methods.catalog import METHODS, build
from manyviews.parts.bank import Bank, Partition
from tiny import TinyConv, batch_for, given_for, shrink

SAMPLES, DIM = 12, 4


def bank(momentum=0.5, seed=0):
    torch.manual_seed(seed)
    return Bank(SAMPLES, DIM, momentum=momentum).double()


def rows(seed, count=4):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, DIM, generator=g, dtype=torch.float64), dim=1)


def test_a_bank_starts_with_unit_rows_that_the_seed_decides():
    one, two = bank(), bank()
    torch.testing.assert_close(one.items.norm(dim=1), torch.ones(SAMPLES).double())
    assert torch.equal(one.items, two.items)
    assert one.seed == two.seed != bank(seed=1).seed


def test_rows_enter_at_the_commit_and_not_before():
    store = bank()
    before, index, new = store.items.clone(), torch.tensor([5, 0, 7, 2]), rows(0)
    store.stage(index, new)
    assert torch.equal(store.items, before)
    store.commit()
    mixed = 0.5 * before[index] + 0.5 * new
    torch.testing.assert_close(store.items[index], mixed / mixed.norm(dim=1, keepdim=True))
    rest = [i for i in range(SAMPLES) if i not in index.tolist()]
    assert torch.equal(store.items[rest], before[rest])


def test_a_commit_is_done_once():
    store = bank()
    store.stage(torch.arange(4), rows(0))
    store.commit()
    after = store.items.clone()
    store.commit()
    assert torch.equal(store.items, after)


def test_micro_batches_enter_together():
    one, two = bank(), bank()
    one.stage(torch.arange(8), torch.cat([rows(0), rows(1)]))
    two.stage(torch.arange(4), rows(0))
    two.stage(torch.arange(4, 8), rows(1))
    one.commit()
    two.commit()
    assert torch.equal(one.items, two.items)


def test_a_skipped_step_leaves_the_bank_untouched():
    store = bank()
    before = {k: v.clone() for k, v in store.state_dict().items()}
    store.stage(torch.arange(4), rows(0))
    store.drop()
    store.commit()
    assert all(torch.equal(v, before[k]) for k, v in store.state_dict().items())


def test_of_rows_of_one_sample_the_last_counts_and_meets_the_row_before_the_step():
    store = bank(momentum=0.3)
    before = store.items.clone()
    first, second = rows(0), rows(1)
    store.stage(torch.tensor([3, 6, 3, 9]), first)
    store.stage(torch.tensor([9, 1, 2, 9]), second)
    store.commit()
    for sample, new in {3: first[2], 6: first[1], 9: second[3], 1: second[1]}.items():
        expected = F.normalize(0.3 * before[sample] + 0.7 * new, dim=0)
        torch.testing.assert_close(store.items[sample], expected)


def test_no_momentum_replaces_the_row_even_where_it_was_nan():
    store = bank(momentum=0.0)
    store.items[2] = torch.nan
    store.stage(torch.arange(4), rows(0))
    store.commit()
    torch.testing.assert_close(store.items[:4], rows(0))


def test_staged_rows_carry_no_gradient_and_are_no_state():
    store = bank()
    store.stage(torch.arange(4), rows(0).requires_grad_())
    assert set(store.state_dict()) == {"items", "seed"}
    store.commit()
    assert not store.items.requires_grad


def test_a_loaded_bank_draws_and_takes_in_what_the_first_one_does():
    one = bank()
    one.stage(torch.arange(4), rows(0))
    one.commit()
    two = bank(seed=5)
    two.load_state_dict(one.state_dict())
    index = torch.tensor([3, 8])
    for store in (one, two):
        store.stage(torch.arange(4), rows(1))
        store.commit()
    assert torch.equal(one.items, two.items)
    drawn = [store.negatives(index, count=50, step=7) for store in (one, two)]
    assert torch.equal(*drawn)


def test_a_sample_is_never_its_own_negative_unless_asked_for():
    store, index = bank(), torch.arange(SAMPLES)
    drawn = store.negatives(index, count=500, step=0)
    assert not (drawn == index[:, None]).any()
    assert drawn.min() == 0
    assert drawn.max() == SAMPLES - 1
    own = store.negatives(index, count=500, step=0, own=True)
    assert (own == index[:, None]).any()


@pytest.mark.parametrize("own", [True, False])
def test_negatives_are_uniform(own):
    store, count = bank(), 20000
    drawn = store.negatives(torch.tensor([4, 4, 11]), count=count, step=3, own=own)
    assert torch.equal(drawn[0], drawn[1])
    choices = SAMPLES if own else SAMPLES - 1
    for sample, row in zip((4, 11), drawn[[0, 2]], strict=True):
        counts = row.bincount(minlength=SAMPLES).double()
        if not own:
            assert counts[sample] == 0
            counts = torch.cat([counts[:sample], counts[sample + 1 :]])
        chi = ((counts - count / choices) ** 2 / (count / choices)).sum()
        assert chi < 35  # 11 degrees of freedom or fewer exceed that once in 4000


def test_draws_of_different_steps_branches_samples_and_runs_have_nothing_in_common():
    store = bank()
    draws = [
        store.negatives(torch.tensor([3]), count=20000, step=1, own=True),
        store.negatives(torch.tensor([3]), count=20000, step=2, own=True),
        store.negatives(torch.tensor([3]), count=20000, step=1, branch=1, own=True),
        store.negatives(torch.tensor([4]), count=20000, step=1, own=True),
        bank(seed=1).negatives(torch.tensor([3]), count=20000, step=1, own=True),
    ]
    deviation = math.sqrt(1 / SAMPLES * (1 - 1 / SAMPLES) / 20000)
    for i, one in enumerate(draws):
        for two in draws[:i]:
            assert abs((one == two).double().mean() - 1 / SAMPLES) < 4 * deviation


def test_negatives_do_not_depend_on_who_else_is_in_the_batch():
    store = bank()
    whole = store.negatives(torch.tensor([3, 8, 1]), count=20, step=4)
    torch.manual_seed(99)
    assert torch.equal(store.negatives(torch.tensor([8]), count=20, step=4), whole[1:2])


def test_a_bank_of_nothing_is_refused():
    with pytest.raises(UsageError, match=r"given 0\. Set Given\.samples"):
        Bank(0, DIM, momentum=0.5)


def test_a_partition_reads_until_it_is_stored_and_then_stays():
    partition, scores = Partition().double(), rows(0)
    first = partition(scores)
    torch.testing.assert_close(first, scores.exp().mean())
    assert partition.value == 0
    torch.testing.assert_close(partition(rows(1)), rows(1).exp().mean())
    partition.store(first)
    assert torch.equal(partition(rows(1)), first)
    partition.store(partition(rows(1)) * 2)
    assert torch.equal(partition.value, first)
    loaded = Partition().double()
    loaded.load_state_dict(partition.state_dict())
    assert torch.equal(loaded(rows(2)), first)


def work(part):
    """Two micro-batches, with a sample in two ranks' parts of one."""
    store, partition = bank(), Partition().double()
    scores = rows(3, 8) * 3
    estimate = partition(part(scores))
    partition.store(estimate)
    index = torch.tensor([5, 0, 7, 2, 5, 1, 3, 3])
    store.stage(part(index), part(rows(0, 8)))
    store.stage(part(index.flip(0)), part(rows(1, 8)))
    store.commit()
    drawn = comm.gather(store.negatives(part(index), count=9, step=2, branch=1))
    return [store.items, partition.value, drawn]


def test_two_ranks_hold_and_draw_what_one_process_does(tmp_path):
    def on_rank(rank):
        torch.save(work(comm.share), tmp_path / f"{rank}.pt")

    assert forks.run_ranks(2, on_rank, meeting=tmp_path / "meet") == [0, 0]
    expected = work(lambda x: x)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)


def test_rows_that_are_filled_in_are_of_unit_length_and_unreadable_samples_keep_theirs():
    store = bank()
    before, new = store.items.clone(), 3 * rows(1, SAMPLES)
    new[4] = torch.nan
    store.fill(new)
    expected = F.normalize(new, dim=1)
    expected[4] = before[4]
    torch.testing.assert_close(store.items, expected)


@pytest.mark.parametrize("name", ["npid", "pirl", "local-aggregation"])
@pytest.mark.parametrize("filled", [False, True])
def test_a_bank_begins_as_what_the_network_makes_of_the_samples(name, filled):
    entry = METHODS[name]
    torch.manual_seed(0)
    config = replace(shrink(entry.config()), filled=filled)
    method = build(config, given_for(entry.method, TinyConv)).train()
    random = method.bank.items.clone()
    seen = []

    def embed_all(f):
        views = batch_for(method, 1, size=64).views["global"][:, 0]
        seen.append(f({next(iter(method.encoders)): views}))
        return seen[-1]

    statistics = {k: v.clone() for k, v in method.named_buffers() if "running" in k}
    method.before_epoch(Clock(2, 10, epoch=1), embed_all)  # of a run that goes on
    assert torch.equal(method.bank.items, random)
    method.before_epoch(Clock(0, 10), embed_all)
    assert len(seen) == filled
    still = copy.deepcopy(method).eval()
    images = batch_for(method, 1, size=64).views["global"][:, 0]
    made = still.head(still.backbone(images).pooled).detach()
    wanted = F.normalize(made, dim=1) if filled else random
    torch.testing.assert_close(method.bank.items, wanted)
    assert all(m.training for m in method.modules())
    assert all(torch.equal(v, statistics[k]) for k, v in method.named_buffers() if k in statistics)
