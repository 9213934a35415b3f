"""`embed_all`: every sample once, in the order of the data, whoever reads it."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from forks import run_ranks
from manyviews.core import Failure, comm
from manyviews.core.settings import struct
from manyviews.data.quarantine import Quarantine
from manyviews.encoders import ResNetSmallConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.recipes import RECIPES
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts

torch.set_num_threads(1)

COUNT, SHARES = 11, (range(6), range(6, 11))


def colour(i):
    return (20 * i, 255 - 20 * i, 7 * i)


@pytest.fixture
def data(tmp_path):
    """Images of one colour each; not as many as fill batches or equal shares."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(COUNT):
        Image.new("RGB", (20, 20), colour(i)).save(folder / f"{i:02}.png")
    return folder


def spoil(data, rows):
    for i in rows:
        (data / f"{i:02}.png").write_text("no image")


def assembled(data, *, workers=0, max_bad=0.9):
    run = RECIPES["simclr"](facts(str(data), channels=3))
    fed = replace(run.encoders.image.input, side=16, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    return assemble(
        replace(
            run,
            method=SimCLRConfig(hidden=16, out=16),
            data=replace(run.data, batch_size=4, workers=workers, max_bad=max_bad),
            encoders=struct("Encoders", {"image": ResNetSmallConfig(input=fed)}),
        )
    )


def means(views):
    """[B, 3]: what tells the images apart."""
    return views["image"].mean(dim=(2, 3)).double()


def wanted(bad=()):
    rows = torch.tensor([colour(i) for i in range(COUNT)], dtype=torch.float32)
    rows[list(bad)] = torch.nan
    return rows


def close(found, bad=()):
    torch.testing.assert_close(found, wanted(bad), rtol=0, atol=0.01, equal_nan=True)


@pytest.mark.parametrize("bad", [(), (0, 3, 10), range(4, 8)], ids=["all", "some", "a batch"])
def test_rows_are_in_the_order_of_the_data_and_nan_where_nothing_could_be_read(data, tmp_path, bad):
    assembly = assembled(data)
    spoil(data, bad)
    quarantine = Quarantine(tmp_path / "bad.jsonl")
    close(assembly.embed_all(means, quarantine=quarantine), bad)
    assert [entry.path for entry in quarantine.entries()] == [
        str(data / f"{i:02}.png") for i in bad
    ]


def test_worker_processes_find_the_same_and_draw_no_random_number(data):
    spoil(data, [5])
    one = assembled(data).embed_all(means)
    other = assembled(data, workers=1)
    before = torch.get_rng_state()
    two = other.embed_all(means)
    assert torch.equal(torch.get_rng_state(), before)
    close(one, [5])
    assert torch.equal(one.nan_to_num(-1), two.nan_to_num(-1))


def test_more_unreadable_files_than_allowed_are_a_failure_as_in_training(data):
    assembly = assembled(data, max_bad=0.2)
    spoil(data, [1, 2, 3])
    with pytest.raises(Failure, match=r"3 of 11 files cannot be read, more than --data.max-bad"):
        assembly.embed_all(means)


def on_two_ranks(tmp_path, action):
    """What each of two ranks makes."""

    def body(rank):
        torch.save(action(rank), tmp_path / f"{rank}.pt")

    assert run_ranks(2, body, meeting=tmp_path / "meeting") == [0, 0]
    return [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("bad", [(), (2,), *SHARES], ids=["all", "one", "first's", "second's"])
def test_two_ranks_find_what_one_does_also_where_all_of_ones_share_is_unreadable(
    data, tmp_path, bad
):
    spoil(data, bad)

    def action(rank):
        assembly = assembled(data)
        share = assembly.embed_all(means, share=True)
        assert share.shape == (len(SHARES[rank]), 3)
        return assembly.embed_all(means), share

    (one, first), (two, second) = on_two_ranks(tmp_path, action)
    for found in (one, two, torch.cat([first, second])):
        close(found, bad)


@pytest.mark.parametrize("fault", ["unreadable", "too many on one", "raises on one"])
def test_what_fails_on_one_rank_ends_both(data, tmp_path, fault):
    bad = {"unreadable": range(COUNT), "too many on one": SHARES[1]}.get(fault, ())

    def action(rank):
        def f(views):
            if fault == "raises on one" and rank == 1:
                raise ValueError("out of something")
            return means(views)

        assembly = assembled(data, max_bad=0.3 if fault == "too many on one" else 1.0)
        comm.barrier()  # the other has seen what the data are like
        spoil(data, bad)
        began = time.monotonic()
        try:
            assembly.embed_all(f)
        except (Failure, ValueError) as error:
            comm.barrier()
            return str(error), time.monotonic() - began
        return "nothing", 0.0

    (one, took), (two, _) = on_two_ranks(tmp_path, action)
    assert took < 60
    if fault == "unreadable":
        assert one == two == "No sample of the data can be read. Run `manyviews doctor`."
    else:
        assert one == "Another rank could not embed its share of the data, and says why."
        assert two.startswith("out of" if fault == "raises on one" else "4 of 11 files cannot")


def test_shares_are_put_together_in_the_order_of_ranks(tmp_path):
    rows = torch.from_numpy(np.arange(14, dtype=np.float32).reshape(7, 2))
    for found in on_two_ranks(tmp_path, lambda rank: comm.whole(comm.share(rows), 7)):
        assert torch.equal(found, rows)
