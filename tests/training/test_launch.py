import os
import socket

import pytest
import torch
import torch.distributed as dist

from forks import fork, wait
from manyviews.core import Failure
from manyviews.training import launch


def test_mix_spreads_neighbours_and_tells_the_order_of_its_numbers():
    seeds = {launch.mix(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 512
    assert all(0 <= s < 2**63 for s in seeds)
    bits = [bin(launch.mix(1, s, 0) ^ launch.mix(1, s + 1, 0)).count("1") for s in range(200)]
    assert 28 < sum(bits) / len(bits) < 35


def test_random_numbers_are_a_function_of_seed_step_and_rank(monkeypatch):
    def draw(seed, step, rank=0):
        monkeypatch.setattr(launch.comm, "rank", lambda: rank)
        launch.seed_step(seed, step)
        return torch.rand(3).tolist()

    assert draw(0, 5) == draw(0, 5)
    assert len({tuple(draw(*a)) for a in ((0, 5), (0, 6), (1, 5), (0, 5, 1))}) == 4


def test_what_ranks_agree_on_is_seeded_alike(monkeypatch):
    draws = []
    for rank in (0, 1):
        monkeypatch.setattr(launch.comm, "rank", lambda rank=rank: rank)
        launch.seed_epoch(0, 5)
        draws.append(torch.rand(3).tolist())
    launch.seed_step(0, 5)
    assert draws[0] == draws[1] != torch.rand(3).tolist()


def test_each_epoch_and_each_run_begins_with_other_numbers():
    draws = []
    for seed, step in ((0, 5), (0, 10), (1, 5), (0, 5)):
        launch.seed_epoch(seed, step)
        draws.append(tuple(torch.rand(3).tolist()))
    assert len(set(draws[:3])) == 3
    assert draws[3] == draws[0]


def test_one_process_joins_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with launch.ranks(torch.device("cpu")):
        assert not torch.distributed.is_initialized()


def test_the_rank_that_failed_says_so_and_the_one_that_lost_it_does_not(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rank_of(rank):
        def action():
            told = {"WORLD_SIZE": "2", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
            os.environ |= {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
            try:
                with launch.ranks(torch.device("cpu")):
                    if rank == 1:
                        raise Failure("the disk of rank 1")
                    launch.comm.total(torch.ones(()))
            except Failure as failure:
                (tmp_path / f"{rank}").write_text(f"{type(failure).__name__} {failure}")

        return action

    assert [wait(child) for child in [fork(rank_of(0)), fork(rank_of(1))]] == [0, 0]
    assert (tmp_path / "0").read_text().startswith("SaidElsewhere")
    assert (tmp_path / "1").read_text() == "Failure the disk of rank 1"


def test_ranks_wait_for_one_another_and_say_who_is_missing():
    store = dist.HashStore()
    with pytest.raises(Failure, match="Only 1 of 2 ranks have started"):
        launch._meet(store, 2, seconds=0.05)
    launch._meet(store, 2)  # the second has come


def test_a_rank_goes_on_when_the_one_that_held_the_store_has_left():
    class Gone:
        def add(self, key, amount):
            raise RuntimeError("Connection reset by peer")

    launch._meet(Gone(), 2)
