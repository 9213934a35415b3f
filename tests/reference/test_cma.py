"""CMA against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
import torch.nn.functional as F
from raw import Raw, gaussian, hashed, load

from manyviews.core import Batch, Clock, Given
from manyviews.methods.audiovisual.avid import AVID, AVIDConfig
from manyviews.methods.audiovisual.cma import CMA, CMAConfig
from manyviews.parts.agreement import UNMINED, agreeing

SAVED = load("cma")
MODALITIES = ("video", "audio")
SAMPLES, DIM, POSITIVES = 24, 6, 5
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


def bank(name):
    return F.normalize(hashed(f"bank.{name}", SAMPLES, DIM), dim=1)


def make(**settings):
    torch.manual_seed(0)
    sizes = {"positives": POSITIVES, "negatives": 10, "negatives_within": 4, "remine": 1}
    config = CMAConfig(hidden=7, out=DIM, **sizes | settings)
    method = CMA(Given({"video": Raw(5), "audio": Raw(3)}, SAMPLES), config).double()
    for name in MODALITIES:
        method.banks[name].items.copy_(bank(name))
    return method


def batch_of(video, audio, index):
    return Batch({"video": video[:, None], "audio": audio[:, None]}, index)


def nothing(f, *, share=False):
    raise AssertionError("banks that are there are not filled again")


def theirs(name):
    """Our name of a head's tensor -> theirs."""
    return name.removeprefix("branches.").replace("head", "projection")


@pytest.mark.parametrize("by", ["consensus", "union", "video", "audio"])
def test_mined_positives_are_those_of_the_authors_sampler(by):
    found = agreeing(bank("video"), bank("audio"), count=POSITIVES, by=by)
    assert torch.equal(found, SAVED[f"found.{by}"])


@pytest.mark.parametrize("by", ["consensus", "union", "video", "audio"])
def test_positives_are_what_a_loop_finds(by):
    video, audio = (F.normalize(gaussian(s, 7, 3).detach(), dim=1) for s in (0, 1))
    found = agreeing(video, audio, count=2, by=by)
    for i in range(7):
        alike = {}
        for j in range(7):
            seen, heard = float(video[i] @ video[j]), float(audio[i] @ audio[j])
            both = {"consensus": min(seen, heard), "union": max(seen, heard)}
            if i != j:
                alike[j] = (both | {"video": seen, "audio": heard})[by]
        assert found[i].tolist() == sorted(sorted(alike, key=alike.get)[-2:])


@pytest.mark.parametrize("compare", ["within", "cross"])
def test_three_steps_are_those_of_the_authors_class(compare, monkeypatch):
    method = make(compare=compare)
    parameters = {n: p for n, p in method.named_parameters() if "head" in n}
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(hashed(theirs(name), *p.shape) * (1.0 if p.ndim > 1 else 0.1))
    if compare == "within":  # as after AVID
        method.partition.value.fill_(2.5)
    else:  # a first estimate of its own: mined before, so that banks are not filled
        method.found.copy_(SAVED["cross.found_0"])
    optimizer = torch.optim.SGD(parameters.values(), lr=0.05)
    for s in range(3):
        clock = Clock(s, 3, s // 2, 2)
        if s != 1:
            method.before_epoch(clock, nothing)
        assert torch.equal(method.found, SAVED[f"{compare}.found_{s}"])
        drawn = SAVED[f"{compare}.drawn_{s}"]
        monkeypatch.setattr(method.banks["video"], "negatives", lambda _, d=drawn, **__: d)
        views = hashed(f"video.{s}", 4, 5), hashed(f"audio.{s}", 4, 3)
        step = method(batch_of(*views, SAVED[f"{compare}.index_{s}"]), clock)
        torch.testing.assert_close(step.total.detach(), SAVED[f"{compare}.loss_{s}"], **CLOSE)
        optimizer.zero_grad()
        step.total.backward()
        for name, p in parameters.items():
            expected = SAVED[f"{compare}.gradient_{s}.{theirs(name)}"]
            torch.testing.assert_close(p.grad, expected, **CLOSE)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        partition = SAVED[f"{compare}.partition_{s}"].squeeze()
        torch.testing.assert_close(method.partition.value, partition, **CLOSE)
        for name in MODALITIES:
            expected = SAVED[f"{compare}.{name}_bank_{s}"]
            torch.testing.assert_close(method.banks[name].items, expected, **CLOSE)


def by_hand(z, query, to, own, drawn, partition):
    """NCE by probabilities: the mean over a sample's positives, the sum over its negatives."""
    total = 0.0
    for i in range(len(drawn)):
        noise = drawn.shape[1] * partition
        for n in own[i].tolist():
            p = (z[query][i] @ bank(to)[n] / 0.07).exp()
            total = total - (p / (p + noise)).log() / own.shape[1]
        for n in drawn[i].tolist():
            p = (z[query][i] @ bank(to)[n] / 0.07).exp()
            total = total - (noise / (p + noise)).log()
    return total / len(drawn)


@pytest.mark.parametrize("compare", ["within", "cross"])
@pytest.mark.parametrize("by", ["consensus", "union", "video", "audio"])
def test_the_losses_are_the_papers_formula(by, compare):
    method = make(agreement=by, compare=compare)
    method.partition.value.fill_(3.0)
    method.before_epoch(Clock(0, 10), nothing)
    index = torch.tensor([2, 11, 7])
    batch = batch_of(gaussian(0, 3, 5).detach(), gaussian(1, 3, 3).detach(), index)
    step = method(batch, Clock(3, 10))
    z = dict(zip(MODALITIES, step.projection.detach().unbind(1), strict=True))
    alike = SAVED[f"found.{by}"][index]
    drawn = method.banks["video"].negatives(index, count=10, step=3, avoid=alike)
    v, a = MODALITIES
    own = index[:, None]
    instances = by_hand(z, v, a, own, drawn, 3.0) + by_hand(z, a, v, own, drawn, 3.0)
    if compare == "within":
        few = drawn[:, :4]
        sets = by_hand(z, v, v, alike, few, 3.0) + by_hand(z, a, a, alike, few, 3.0)
    else:
        sets = by_hand(z, v, a, alike, drawn, 3.0) + by_hand(z, a, v, alike, drawn, 3.0)
    expected = {"instances": instances / 4, "positives": sets / 4}
    torch.testing.assert_close(dict(step.losses), expected)


def test_negatives_are_all_but_the_positives_and_all_alike_often():
    items = make().banks["video"]
    avoid = SAVED["found.consensus"][:2]
    drawn = items.negatives(torch.tensor([0, 1]), count=20_000, step=0, avoid=avoid)
    for row, not_these in zip(drawn, avoid, strict=True):
        times = torch.bincount(row, minlength=SAMPLES)
        assert times[not_these].sum() == 0
        rest = times[[i for i in range(SAMPLES) if i not in not_these.tolist()]].double()
        assert (rest / rest.mean() - 1).abs().max() < 0.15
    assert torch.equal(
        drawn, items.negatives(torch.tensor([0, 1]), count=20_000, step=0, avoid=avoid)
    )


def test_positives_are_mined_every_few_epochs_in_the_banks_as_they_are_then():
    method = make(remine=2)
    method.partition.value.fill_(3.0)
    method.before_epoch(Clock(0, 10, 0, 5), nothing)
    first = method.found.clone()
    for name in MODALITIES:
        method.banks[name].items.copy_(bank(name).flip(0))
    method.before_epoch(Clock(2, 10, 1, 5), nothing)
    assert torch.equal(method.found, first)
    method.before_epoch(Clock(4, 10, 2, 5), nothing)
    expected = agreeing(bank("video").flip(0), bank("audio").flip(0), count=5, by="consensus")
    assert torch.equal(method.found, expected)


def test_banks_of_nothing_are_filled_by_the_networks_before_the_first_mining():
    method, plain = make(), {"video": gaussian(3, SAMPLES, 5), "audio": gaussian(4, SAMPLES, 3)}
    assert (method.found == UNMINED).all()
    method.before_epoch(Clock(0, 10), lambda f, share=False: f(plain))
    for name in MODALITIES:
        expected = F.normalize(method.branches[name](plain[name])[1], dim=1)
        torch.testing.assert_close(method.banks[name].items, expected.detach())
    banks = [method.banks[name].items for name in MODALITIES]
    assert torch.equal(method.found, agreeing(*banks, count=5, by="consensus"))


def test_it_holds_what_avid_holds_and_positives():
    given = Given({"video": Raw(5), "audio": Raw(3)}, SAMPLES)
    avid = AVID(given, AVIDConfig(hidden=7, out=DIM))
    ours = {name: value.shape for name, value in make().state_dict().items()}
    assert ours.pop("found") == (SAMPLES, POSITIVES)
    assert ours == {name: value.shape for name, value in avid.state_dict().items()}


def test_banks_are_filled_in_evaluation_mode():
    method, plain = make().train(), {"video": gaussian(3, 9, 5), "audio": gaussian(4, 9, 3)}
    for name, dim in (("video", 5), ("audio", 3)):
        norm = torch.nn.BatchNorm1d(dim).double()
        method.branches[name].head = torch.nn.Sequential(norm, method.branches[name].head)
    whole = method._embed(plain)
    alone = method._embed({name: x[:1] for name, x in plain.items()})
    torch.testing.assert_close(whole[:1], alone)
    assert all(module.training for module in method.branches.modules())
