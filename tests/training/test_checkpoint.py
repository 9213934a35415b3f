import json
import logging
import os
import pickle
from itertools import pairwise

import pytest
import torch

from manyviews.core import Clock, Failure
from manyviews.training import checkpoint
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from toy import Toy, batches


def trained(steps=3, name="adamw"):
    """A toy method and its optimiser after a few steps."""
    method = Toy()
    updates = build(method, Optim(name=name, lr=0.01, lr_per=0), batch_size=8)
    for step, (batch,) in enumerate(batches()(0, steps)):
        clock = Clock(step, 8)
        updates.set_rates(clock)
        out = method(batch, clock)
        out.total.backward()
        updates.freeze(clock)
        updates.apply(updates.grad_norm())
        updates.clear()
    return method, updates


def save(folder, step, parts=None, keep=2, **state):
    method, updates = parts or trained()
    return checkpoint.save(
        folder, step=step, method=method, optimizer=updates.optimizer, state=state, keep=keep
    )


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", ["sgd", "lars", "larc", "adamw"])
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    method, updates = trained(name=name)
    path = save(tmp_path, 3, (method, updates), colour="red")
    other, fresh = trained(steps=1, name=name)
    state = checkpoint.load(path, method=other, optimizer=fresh.optimizer)
    assert (state["step"], state["colour"]) == (3, "red")
    for (n, a), b in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), n
    old, new = updates.optimizer.state, fresh.optimizer.state
    assert len(old) == len(new) > 0
    for p, q in zip(method.parameters(), other.parameters(), strict=True):
        assert old[p].keys() == new[q].keys()
        assert all(torch.equal(old[p][k], new[q][k]) for k in old[p])


def test_a_loaded_state_lies_in_memory_as_the_parameter_does(tmp_path):
    method = Toy()
    conv = method.online[1] = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    updates = build(method, Optim(name="lars"), batch_size=8)
    conv.weight.grad = torch.ones_like(conv.weight)
    updates.apply(updates.grad_norm())
    path = save(tmp_path, 1, (method, updates))
    checkpoint.load(path, method=method, optimizer=updates.optimizer)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    momentum = updates.optimizer.state[conv.weight]["momentum_buffer"]
    assert momentum.is_contiguous(memory_format=torch.channels_last)


def test_the_newest_are_kept_and_latest_names_the_last(tmp_path):
    parts = trained()
    for step in (0, 3, 6, 9):
        save(tmp_path, step, parts, keep=2)
    assert names(tmp_path) == ["latest", "step_3", "step_6", "step_9"]  # but for initial weights
    assert checkpoint.latest(tmp_path) == tmp_path / "step_9"
    assert (tmp_path / "latest").read_text() == "step_9\n"


def test_earlier_ones_stay_spread_over_the_training(tmp_path):
    parts = trained()
    for step in range(0, 1010, 10):
        save(tmp_path, step, parts, keep=2)
    kept = checkpoint.steps(tmp_path)
    assert len(kept) == checkpoint.SPREAD + 2
    assert kept[-2:] == [990, 1000]
    gaps = [later - earlier for earlier, later in pairwise([0, *kept[:-1]])]
    assert max(gaps) <= 3 * 1000 / (checkpoint.SPREAD + 1)
    assert min(kept) > 0


def test_one_that_is_asked_for_stays_alone(tmp_path):
    parts = trained()
    for step in (0, 3, 6, 9):
        save(tmp_path, step, parts, keep=1)
    assert names(tmp_path) == ["latest", "step_9"]


def test_a_gigabyte_is_the_most_that_earlier_ones_take():
    assert checkpoint.spread_of(10**6, keep=2) == checkpoint.SPREAD
    assert checkpoint.spread_of(2 * 10**8, keep=2) == 3
    assert checkpoint.spread_of(6 * 10**8, keep=2) == 0
    assert checkpoint.spread_of(1, keep=1) == 0


def test_the_closest_go_first():
    assert checkpoint.thinned([10, 20, 21, 60], 3, until=100) == [10, 21, 60]
    assert checkpoint.thinned([10, 20], 3, until=100) == [10, 20]
    assert checkpoint.thinned([10, 20], 0, until=100) == []


def test_no_checkpoint_is_none_not_an_error(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None
    assert not checkpoint.exists(tmp_path)


FILES = ["method.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "empty"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_used(tmp_path, caplog, file, harm):
    parts = trained()
    save(tmp_path, 3, parts)
    path = save(tmp_path, 6, parts) / file
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 4
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-7] if harm == "cut" else b"" if harm == "empty" else content)
    with caplog.at_level(logging.ERROR, "manyviews"):
        assert checkpoint.latest(tmp_path) == tmp_path / "step_3"
    assert "step_6" in caplog.text
    assert file in caplog.text or file == "manifest.json"
    assert any(n.startswith("step_6.damaged-") for n in names(tmp_path))
    save(tmp_path, 6, parts)
    assert checkpoint.latest(tmp_path) == tmp_path / "step_6"


def test_when_all_are_damaged_the_message_says_what_to_do(tmp_path):
    path = save(tmp_path, 3)
    (path / "state.json").write_text("{}")
    with pytest.raises(Failure, match=r"Every checkpoint in .* is damaged\. Restore one"):
        checkpoint.latest(tmp_path)


def test_a_lost_or_wrong_pointer_does_no_harm(tmp_path):
    parts = trained()
    for step in (3, 6):
        save(tmp_path, step, parts)
    (tmp_path / "latest").write_text("step_3\n")
    assert checkpoint.latest(tmp_path) == tmp_path / "step_3"
    (tmp_path / "latest").write_bytes(b"\xff\x00")
    assert checkpoint.latest(tmp_path) == tmp_path / "step_6"
    (tmp_path / "latest").unlink()
    assert checkpoint.latest(tmp_path) == tmp_path / "step_6"


def test_half_written_and_foreign_folders_are_never_chosen(tmp_path):
    save(tmp_path, 3)
    (tmp_path / "step_9.tmp-abc").mkdir()
    (tmp_path / "step_9.tmp-abc" / "state.json").write_text("{}")
    (tmp_path / "step_best").mkdir()
    (tmp_path / "step_12").write_text("a file")
    assert checkpoint.latest(tmp_path) == tmp_path / "step_3"
    checkpoint.sweep(tmp_path)
    assert not (tmp_path / "step_9.tmp-abc").exists()
    assert (tmp_path / "step_best").exists()


def test_going_back_drops_the_future_that_was_abandoned(tmp_path):
    parts = trained()
    for step in (3, 6, 9):
        save(tmp_path, step, parts, keep=9)
    save(tmp_path, 4, parts, keep=2)
    assert names(tmp_path) == ["latest", "step_3", "step_4"]


def test_the_same_step_can_be_saved_again(tmp_path):
    save(tmp_path, 3, colour="red")
    path = save(tmp_path, 3, colour="blue")
    assert checkpoint.latest(tmp_path) == path
    assert json.loads((path / "state.json").read_text())["colour"] == "blue"
    assert names(tmp_path) == ["latest", "step_3"]


def test_files_are_on_disk_before_they_get_their_name(tmp_path, monkeypatch):
    """Everything is synced before the rename, the parent after it; only then `latest` moves."""
    seen = []
    sync = checkpoint.sync
    monkeypatch.setattr(checkpoint, "sync", lambda path: (seen.append(path.name), sync(path)))
    for name in ("rename", "replace"):
        move = getattr(checkpoint.Path, name)
        monkeypatch.setattr(
            checkpoint.Path,
            name,
            lambda self, to, move=move: (seen.append(f"-> {to.name}"), move(self, to)),
        )
    folder = tmp_path / "checkpoints"
    save(folder, 3)
    at = seen.index("-> step_3")
    assert set(FILES) < set(seen[:at])
    assert seen[at - 1].startswith("step_3.tmp-")
    assert seen[at + 1 :] == ["checkpoints", "latest.tmp", "-> latest", "checkpoints"]


def test_a_failing_write_leaves_the_old_one_and_no_litter(tmp_path, monkeypatch):
    parts = trained()
    save(tmp_path, 3, parts)

    def full(path):
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(checkpoint, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 6, parts)
    assert names(tmp_path) == ["latest", "step_3"]
    assert checkpoint.latest(tmp_path) == tmp_path / "step_3"


def test_another_method_or_optimiser_is_refused_in_one_line(tmp_path):
    path = save(tmp_path, 3)
    other = Toy(norm=False)
    with pytest.raises(Failure, match=r"does not fit this configuration: online\.2\.\w+ differs"):
        checkpoint.load(path, method=other)
    method = Toy()
    updates = build(method, Optim(name="lars"), batch_size=8)
    with pytest.raises(Failure, match="with the optimiser AdamW, not LARS"):
        checkpoint.load(path, method=method, optimizer=updates.optimizer)


def test_tied_weights_are_saved_and_loaded(tmp_path):
    method, _ = trained()
    method.head.weight = method.target[5].weight = torch.nn.Parameter(torch.randn(8, 12))
    path = checkpoint.save(
        tmp_path,
        step=1,
        method=method,
        optimizer=torch.optim.SGD([torch.ones(1)]),
        state={},
        keep=1,
    )
    wanted = method.head.weight.detach().clone()
    with torch.no_grad():
        method.head.weight.zero_()
    checkpoint.load(path, method=method)
    assert torch.equal(method.head.weight.detach(), wanted)
    assert method.head.weight is method.target[5].weight


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_never_read_not_even_with_a_right_hash(tmp_path):
    path = save(tmp_path / "c", 3)
    (path / "method.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["method.safetensors"] = checkpoint._describe(path / "method.safetensors")
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert checkpoint.latest(tmp_path / "c") == path
    with pytest.raises(Failure, match="is no safetensors file"):
        checkpoint.load(path, method=Toy())
    assert not (tmp_path / "sprung").exists()
