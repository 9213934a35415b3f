"""What every method of the catalogue promises, whatever it computes."""

import copy
import dataclasses
import io
import pickle

import pytest
import torch
from torch import nn

from manyviews.core import Batch, Clock, Encoder, UsageError
from manyviews.methods.catalog import METHODS, build, name_of
from manyviews.parts.bank import Bank
from manyviews.parts.norm import BatchNorm
from manyviews.parts.targets import EMA
from tiny import DIM, TinyConv, TinyViT, batch_for, batch_of, begin, given, given_for, shrink

B = 8
CLASSES = {name: entry.method for name, entry in METHODS.items()}
CASES = [(name, TinyViT) for name in METHODS]
CASES += [(name, TinyConv) for name, method in CLASSES.items() if not method.tokens]
WHOLE = [
    n
    for n, m in CLASSES.items()
    if not any(need.endswith(".mask") for need in m.needs)
    and {"global", *m.trains} & set(m.needs)
    and n not in ("colorization", "pointing")  # which take the colours off
]
"""Methods whose encoder sees whole views, as they are."""


def build_one(name, encoder, seed=0):
    torch.manual_seed(seed)
    entry = METHODS[name]
    return build(shrink(entry.config()), given_for(entry.method, encoder)).train()


def make(name, encoder):
    method = build_one(name, encoder)
    begin(method)
    return method


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].__name__}")
def case(request):
    return request.param


@pytest.fixture
def method(case):
    return make(*case)


PACE = 2
"""Steps of an epoch."""


def at(step):
    return Clock(step, 10, step // PACE, 10 // PACE)


def train(method, steps, start=0):
    """A trainer in miniature, two micro-batches a step; the losses it saw.

    The first epoch has begun where the method was made.
    """
    optimizer = torch.optim.AdamW([p for g in method.param_groups() for p in g.params], lr=1e-3)
    losses = []
    for i in range(start, start + steps):
        clock = at(i)
        if i and i % PACE == 0:
            begin(method, clock)
        for part in range(2):
            step = method(batch_for(method, 2 * i + part), clock)
            (step.total / 2).backward()
            method.after_backward(step, clock)
            losses.append(step.total.detach())
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(clock)
    return losses


def norm_statistics(method):
    every = method.named_modules(remove_duplicate=False)  # of a mixture, one encoder several times
    norms = {n for n, m in every if isinstance(m, BatchNorm)}
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    return {f"{n}.{kind}" for n in norms for kind in kinds}


def state_but_norms(method):
    skip = norm_statistics(method)
    return {k: v.clone() for k, v in method.state_dict().items() if k not in skip}


def test_forward_reads_state_and_writes_only_batch_norm_statistics(method):
    train(method, 2)
    before, plain = state_but_norms(method), attributes(method)
    # the first of an epoch that the method has not seen
    first = method(batch_for(method, 9), at(2))
    second = method(batch_for(method, 9), at(2))
    after = method.state_dict()
    assert changed(attributes(method), plain) == []
    assert [k for k, v in before.items() if not torch.equal(v, after[k])] == []
    assert {k: v.item() for k, v in first.losses.items()} == {
        k: v.item() for k, v in second.losses.items()
    }


def attributes(method):
    """Name -> value, as bytes, of all that is neither a parameter, a buffer nor a module."""
    own = {id(x) for x in (*method.modules(), *method.parameters(), *method.buffers())}

    class ByNumber(pickle.Pickler):  # a method: Python 3.13 lets nobody set it on an object
        def persistent_id(self, x):
            return id(x) if id(x) in own else None

    def written(value):
        out = io.BytesIO()
        ByNumber(out).dump(value)
        return out.getvalue()

    apart = {"_parameters", "_buffers", "_modules"}
    return {
        f"{name}.{key}": written(value)
        for name, module in method.named_modules()
        for key, value in vars(module).items()
        if key not in apart
    }


def changed(one, other):
    return sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))


def test_training_changes_parameters_and_buffers_and_nothing_else(method):
    before = attributes(method)
    train(method, 3)  # into a second epoch
    assert changed(attributes(method), before) == []


def test_no_norm_of_torchs_own_is_left(method):
    common = nn.modules.batchnorm._BatchNorm
    assert [n for n, m in method.named_modules() if isinstance(m, common)] == []


def test_losses_are_finite_and_reach_every_trainable_parameter(method):
    step = method(batch_for(method), Clock(1, 10))
    assert all(x.shape == () and x.isfinite() and x.requires_grad for x in step.losses.values())
    step.total.backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # A bias before a batch norm has no effect, so only matrices must have one.
            assert parameter.ndim == 1 or parameter.grad.any(), name


def test_losses_keep_full_precision_under_autocast(method):
    batch = batch_for(method)
    full = method(batch, Clock(1, 10)).losses
    with torch.autocast("cpu", torch.bfloat16):
        half = method(batch, Clock(1, 10)).losses
    for name, loss in half.items():
        assert loss.dtype == torch.float32
        # An entropy can be near zero, so the least difference that counts is 0.05.
        assert loss.item() == pytest.approx(full[name].item(), rel=0.1, abs=0.05)


def test_the_step_has_the_promised_shapes(method):
    step = method(batch_for(method), Clock(1, 10))
    assert step.losses
    assert set(step.embedding) == set(method.encoders)
    for embedding in step.embedding.values():
        assert embedding.shape == (B, embedding.shape[1], DIM)
        assert 1 <= embedding.shape[1] <= 2
        assert not embedding.requires_grad
    if step.projection is not None:
        assert step.projection.ndim == 3
        assert len(step.projection) == B
        assert step.projection.requires_grad  # so that its entropy can be added from outside
    assert not any(x.requires_grad for x in step.fresh.values())
    known = {"target_entropy", "usage_entropy", "prediction_std", "contrastive_floor", "height"}
    known |= {"over_guess", "answer_std"}
    assert set(step.watch) <= known
    assert all(x.shape == () and not x.requires_grad for x in step.watch.values())
    assert torch.equal(step.total, torch.stack(list(step.losses.values())).sum())


def test_a_bank_whose_rows_are_random_still_tells_nothing_of_what_is_learnt(method):
    if any(isinstance(part, Bank) for part in method.modules()):
        batch = batch_for(method)
        early, later = (method(batch, Clock(0, 10, epoch=epoch)).watch for epoch in (1, 2))
        assert all(value.isnan() for name, value in early.items() if name == "contrastive_floor")
        assert all(value.isfinite() for value in later.values())


@pytest.mark.parametrize("name", WHOLE)
def test_the_embedding_is_what_the_kept_encoder_gives(name):
    method = make(name, TinyViT)
    batch = batch_for(method)
    for kept, embedding in method(batch, Clock(0, 10)).embedding.items():
        views = batch.views.get(kept, batch.views.get("global"))
        for v in range(embedding.shape[1]):
            expected = method.encoders[kept](views[:, v]).pooled
            torch.testing.assert_close(embedding[:, v], expected, rtol=1e-4, atol=1e-5)


class Watched(dict):
    """A dictionary that remembers what was read."""

    def __init__(self, items):
        super().__init__(items)
        self.seen = set()

    def __getitem__(self, key):
        self.seen.add(key)
        return super().__getitem__(key)


def everything(method):
    """What methods need, and families and cues that this one does not."""
    families = {"global": 2, "local": 2, "tiles": 9, "mask": 2}
    return batch_of(families | {k: max(2, v) for k, v in method.needs.items()}, 0, size=B)


def test_needs_are_what_the_method_reads(method):
    batch = everything(method)
    views, cues = Watched(batch.views), Watched(batch.cues)
    method(Batch(views, batch.index, cues), Clock(1, 10))
    read = views.seen | cues.seen
    assert read <= set(method.needs)
    assert {name for name, count in method.needs.items() if count > 0} <= read


def test_the_least_that_is_needed_is_enough(method):
    batch = everything(method)
    views = {k: v[:, : method.needs.get(k, 0)] for k, v in batch.views.items()}
    cues = {k: v[:, : method.needs.get(k, 0)] for k, v in batch.cues.items()}
    views = {k: v for k, v in views.items() if v.shape[1]}
    assert method(Batch(views, batch.index, cues), Clock(1, 10)).total.isfinite()


@pytest.mark.parametrize("name", METHODS)
def test_every_view_is_read_that_is_not_said_to_be_left_out(name):
    method = make(name, TinyViT)
    for family, least in method.needs.items():
        if "." in family:
            continue
        counts = {k: max(1, v) for k, v in method.needs.items()}
        counts[family] = method.most.get(family, least + 1)
        for need in counts:  # a cue has as many rows as its family has views
            counts[need] = counts[need.partition(".")[0]]
        batch = batch_of(counts, 0, size=B)
        changed = {k: v.clone() for k, v in batch.views.items()}
        changed[family][:, -1] += torch.randn_like(changed[family][:, -1])
        one = method(batch, Clock(1, 10)).total
        two = method(Batch(changed, batch.index, batch.cues), Clock(1, 10)).total
        assert one != two, f"{name} does not read view {counts[family]} of '{family}'"


def test_the_groups_hold_every_trainable_parameter_once(method):
    grouped = [id(p) for group in method.param_groups() for p in group.params]
    trainable = [id(p) for p in method.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)


def test_targets_start_as_copies_get_no_gradient_and_move_after_the_step(method):
    targets = [m for m in method.modules() if isinstance(m, EMA)]
    if not targets:
        assert not hasattr(method, "target")
        return
    assert targets == [method.target]
    online = list(method.online.parameters())
    slow = list(method.target.copy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(online, slow, strict=True))
    assert {a.data_ptr() for a in online}.isdisjoint(a.data_ptr() for a in slow)
    assert not any(p.requires_grad for p in slow)
    batch, clock = batch_for(method), Clock(3, 10)
    method(batch, clock).total.backward()
    assert not any(p.grad is not None for p in slow)
    before = [p.clone() for p in slow]
    with torch.no_grad():
        for p in online:
            p.add_(1.0)
    method.after_step(clock)
    m = method.target.momentum.at(clock)
    for old, new, source in zip(before, slow, online, strict=True):
        torch.testing.assert_close(new, m * old + (1 - m) * source, rtol=1e-4, atol=1e-6)
        assert not torch.equal(new, old)


def test_targets_keep_their_own_norm_statistics(method):
    if not hasattr(method, "target"):
        return
    method(batch_for(method), Clock(0, 10))
    before = {k: v.clone() for k, v in method.target.named_buffers()}
    with torch.no_grad():
        for buffer in method.online.buffers():
            buffer.add_(1)
    method.after_step(Clock(0, 10))
    assert all(torch.equal(v, before[k]) for k, v in method.target.named_buffers())


def test_a_loaded_checkpoint_continues_exactly(case, method):
    train(method, 3)
    saved = {k: v.clone() for k, v in method.state_dict().items()}
    expected = train(method, 2, start=3)  # the last step of the second epoch, the first of the next
    resumed = build_one(*case, seed=1)  # whose first epoch never begins, as in a resumed run
    resumed.load_state_dict(saved)
    assert torch.equal(torch.stack(train(resumed, 2, start=3)), torch.stack(expected))


def test_training_on_one_batch_lowers_the_loss(method):
    parameters = [p for g in method.param_groups() for p in g.params]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    batch, clock, losses = batch_for(method), Clock(0, 100), []
    for _ in range(30):  # without hooks: the loss itself stays the same function
        step = method(batch, clock)
        step.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(step.total.item())
    assert losses[-1] < 0.95 * losses[0]


def test_a_copy_of_a_method_shares_nothing(method):
    twin = copy.deepcopy(method)
    train(twin, 1)
    fresh = {k: v.clone() for k, v in method.state_dict().items()}
    train(twin, 1, start=1)
    assert all(torch.equal(v, fresh[k]) for k, v in method.state_dict().items())


def test_the_kept_encoder_is_part_of_the_method(method):
    assert method.encoders
    for encoder in method.encoders.values():
        assert isinstance(encoder, Encoder)
        assert any(m is encoder for m in method.modules())


@pytest.mark.parametrize("name", METHODS)
def test_a_config_is_frozen_has_defaults_and_knows_its_name(name):
    config = METHODS[name].config()
    assert name_of(config) == name
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, None)
    assert all(f.kw_only for f in dataclasses.fields(config))
    documented = METHODS[name].config.__doc__
    assert [f.name for f in dataclasses.fields(config) if f"{f.name}:" not in documented] == []


def test_a_config_of_no_method_is_refused_by_name():
    with pytest.raises(UsageError, match=r"Clock configures no method; use one of SimCLRConfig"):
        build(Clock(0, 1), given(TinyConv()))


@pytest.mark.parametrize("name", [name for name, method in CLASSES.items() if method.tokens])
def test_an_encoder_without_tokens_is_refused_with_a_remedy(name):
    with pytest.raises(UsageError, match=r"TinyConv has none\. Use a ViT"):
        make(name, TinyConv)


@pytest.mark.parametrize("name", [name for name, method in CLASSES.items() if method.trains])
def test_encoders_of_other_names_are_refused(name):
    with pytest.raises(UsageError, match=r"trains the encoders .*; it was given image\."):
        build(METHODS[name].config(), given(TinyViT()))


@pytest.mark.parametrize("name", [name for name, method in CLASSES.items() if method.asks])
def test_a_missing_teacher_is_asked_for(name):
    with pytest.raises(UsageError, match=r"learns from a teacher\. Give one: --teachers\."):
        build(
            METHODS[name].config(),
            dataclasses.replace(given_for(CLASSES[name], TinyViT), teachers={}),
        )


def test_an_encoder_of_patches_that_cannot_drop_them_is_refused_by_mae():
    class Stubborn(TinyConv):
        patch = TinyViT.patch

    method = make("mae", Stubborn)
    with pytest.raises(UsageError, match="no tokens to keep"):
        method(batch_for(method), Clock(0, 10))
