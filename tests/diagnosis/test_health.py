import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from manyviews.core import Clock, Given, Method, Step
from manyviews.core.schedules import Cosine
from manyviews.diagnosis.alarms import RULES, Alarm, Numbers
from manyviews.diagnosis.collapse import Health
from manyviews.losses.entropy import vmf_entropy, vmf_reconstruction
from manyviews.parts.targets import EMA

CHECKS = 40


def views(seed, *, n=64, d=32, noise=0.3, mean=0.0, rank=None):
    """[n, 2, d]: two noisy views of each of n images."""
    g = torch.Generator().manual_seed(seed)
    rank = rank or d
    x = torch.randn(n, 1, rank, generator=g) + noise * torch.randn(n, 2, rank, generator=g)
    mix = torch.randn(rank, d, generator=torch.Generator().manual_seed(999)) / rank**0.5
    return x @ mix + mean if rank != d else x + mean


def healthy(i, **changes):
    embedding = changes.pop("embedding", views(i, mean=0.8))
    projection = changes.pop("projection", views(100 + i))
    watch = {k: torch.tensor(float(v)) for k, v in changes.items()}
    return Step({"loss": torch.tensor(1.0)}, {"image": embedding}, projection, watch=watch)


class Taught(Method):
    """A method with a slow copy, and nothing else."""

    def __init__(self):
        super().__init__(Given({}))
        self.online = nn.Linear(3, 5)
        self.target = EMA(self.online, Cosine(0.9, 0.9))


def run(make, *, checks=CHECKS, stop=None, still=lambda i: False, **arguments):
    health, said, method = Health(stop=stop, **arguments), {}, Taught()
    for i in range(checks):
        with torch.no_grad():
            method.online.weight.add_(1.0)
        if not still(i):
            method.target.follow(method.online, Clock(i, checks))
        said = health(method, make(i), Clock(100 * i, 100 * checks), {})
    return health, said


STILL = "teacher_stands_still"


LAGGING = ("dimensional_collapse", "rank_falls")  # they look back on 16 checks


def inject(fault):
    checks = 3 * CHECKS if fault in LAGGING else CHECKS
    return run(FAULTS[fault], checks=checks, still=lambda i: fault == STILL)


def names(health):
    return [alarm.name for alarm in health.alarms]


def constant(i, d=32):
    return torch.ones(64, 2, d) + 1e-3 * views(i, d=d)


FAULTS = {
    "complete_collapse": lambda i: healthy(i, projection=constant(i)),
    "nearly_constant": lambda i: healthy(i, projection=1 + 0.12 * views(100 + i)),
    "constant_embedding": lambda i: healthy(i, embedding=constant(i) + 1e-4, projection=None),
    "uniform_assignments": lambda i: healthy(i, target_entropy=0.999, usage_entropy=1.0),
    "one_prototype": lambda i: healthy(i, target_entropy=0.01, usage_entropy=0.02),
    "same_assignment": lambda i: healthy(i, target_entropy=0.5, usage_entropy=0.501),
    "few_prototypes": lambda i: healthy(i, target_entropy=0.05, usage_entropy=0.15),
    "not_learning": lambda i: healthy(i, contrastive_floor=1.0),
    "predicts_the_mean": lambda i: healthy(i, prediction_std=0.001, projection=None),
    "answers_alike": lambda i: healthy(i, answer_std=0.001, projection=None),
    "dimensional_collapse": lambda i: healthy(
        i, embedding=views(i, d=128, rank=1) + 1e-3 * views(i, d=128)
    ),
    "identical_views": lambda i: healthy(
        i, embedding=views(i, noise=0.0), projection=views(100 + i, noise=0.0)
    ),
    "vanishing_variance": lambda i: healthy(
        i, projection=views(100 + i) * (1.0 if i < 10 else 1e-3)
    ),
    "rank_falls": lambda i: healthy(i, embedding=views(i, rank=None if i < 20 else 6)),
    "views_lost": lambda i: healthy(i, projection=views(100 + i, noise=0.3 if i < 20 else 9.0)),
    "follows_height": lambda i: healthy(i, height=0.9),
    STILL: lambda i: healthy(i),
}
HIGH = {"cosine_projection": 0.97, "alignment_projection": 0.049, "usage_entropy": 0.5}
EDGES = {
    "complete_collapse": [{"cosine_projection": 0.998}, {"cosine_projection": 0.997}],
    "nearly_constant": [HIGH, HIGH | {"alignment_projection": 0.051}],
    "constant_embedding": [{"cosine_embedding": 0.99995}, {"cosine_embedding": 0.99985}],
    "uniform_assignments": [{"target_entropy": 0.9985}, {"target_entropy": 0.9975}],
    "one_prototype": [{"usage_entropy": 0.099}, {"usage_entropy": 0.101}],
    "same_assignment": [HIGH | {"target_entropy": 0.496}, HIGH | {"target_entropy": 0.494}],
    "few_prototypes": [{"usage_entropy": 0.199}, {"usage_entropy": 0.201}],
    "not_learning": [{"contrastive_floor": 0.991}, {"contrastive_floor": 0.989}],
    "predicts_the_mean": [{"prediction_std": 0.0019}, {"prediction_std": 0.0021}],
    "answers_alike": [{"answer_std": 0.0019}, {"answer_std": 0.0021}],
    "vanishing_variance": [{"scale": 0.009}, {"scale": 0.011}],
    "dimensional_collapse": [
        {"rank_embedding": 1.9, "width": 100},
        {"rank_embedding": 2.1, "width": 100},
    ],
    "rank_falls": [
        {"rank_embedding": 4.9, "rank_peak": 10},
        {"rank_embedding": 5.1, "rank_peak": 10},
    ],
    "views_lost": [{"found": 0.49, "found_peak": 1.0}, {"found": 0.51, "found_peak": 1.0}],
    STILL: [{"target_moved": 0.0}, {"target_moved": 1e-9}],
    "follows_height": [{"height": 0.51}, {"height": 0.49}],
    "identical_views": [{"sameness_embedding": 9e-5}, {"sameness_embedding": 1.1e-4}],
}
"""Of each rule numbers that are just wrong, and just right."""
BORN_WRONG = [n for n in FAULTS if n not in ("vanishing_variance", "rank_falls", "views_lost")]


def test_every_rule_has_a_fault_that_these_tests_inject():
    assert {rule.name for rule in RULES} == set(FAULTS) == set(EDGES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_holds_up_to_its_threshold_and_no_further(rule):
    sound = {"cosine_embedding": 0.5, "sameness_projection": 1.0}
    wrong, right = (Numbers(sound | numbers) for numbers in EDGES[rule.name])
    assert rule.holds(wrong)
    assert not rule.holds(right)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_raises_its_alarm_alone_and_once(fault):
    health, said = inject(fault)
    assert names(health) == [fault]
    [rule] = [rule for rule in RULES if rule.name == fault]
    assert health.light == rule.light
    assert said["health"] == {"warn": 1.0, "bad": 2.0}[rule.light]
    assert list(health.active) == [fault]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alarm_says_what_why_and_which_flag(fault):
    health, _ = inject(fault)
    text = str(health.alarms[0])
    assert "\n" not in text
    assert "nan" not in text.lower().split()
    assert "{" not in text
    assert "Likely cause: " in text
    assert "--" in health.alarms[0].advice
    assert health.alarms[0].step > 0


@pytest.mark.parametrize("fault", BORN_WRONG)
def test_a_fault_that_begins_late_is_found_within_a_few_checks(fault):
    onset = 32
    health, _ = run(
        lambda i: FAULTS[fault](i) if i >= onset else healthy_like(fault, i),
        checks=60,
        still=lambda i: fault == STILL and i >= onset,
    )
    first = next(alarm for alarm in health.alarms if alarm.name == fault)
    assert first.step <= 100 * (onset + (28 if fault in LAGGING else 2))
    assert first.step >= 100 * (onset + 2)


def healthy_like(fault, i):
    """A healthy step with the same numbers to look at."""
    watch = {"target_entropy": 0.5, "usage_entropy": 0.9, "contrastive_floor": 0.6, "height": 0.2}
    if fault in ("constant_embedding", "predicts_the_mean"):
        return healthy(i, projection=None, prediction_std=0.4)
    if fault == "answers_alike":
        return healthy(i, projection=None, answer_std=0.4)
    if fault == "dimensional_collapse":
        return healthy(i, embedding=views(i, d=128))
    return healthy(i, **watch)


def test_a_healthy_training_raises_nothing():
    watch = {"target_entropy": 0.6, "usage_entropy": 0.95, "contrastive_floor": 0.7}
    health, said = run(lambda i: healthy(i, **watch, prediction_std=0.3, answer_std=0.2))
    assert health.alarms == []
    assert health.light == "ok"
    expected = {
        *("rank_embedding", "rank_projection", "std_embedding", "std_projection"),
        *("cosine_embedding", "cosine_projection", "alignment", "uniformity", "health"),
        *("entropy", "reconstruction", "consistency"),
        *(f"watch/{name}" for name in [*watch, "prediction_std", "answer_std"]),
    }
    assert set(said) == expected
    assert 25 < said["rank_embedding"] <= 32
    assert said["std_projection"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("projection", [True, False])
def test_entropy_and_reconstruction_are_those_of_the_losses(projection):
    step = healthy(0, **({} if projection else {"projection": None}))
    z = F.normalize(step.embedding["image"] if step.projection is None else step.projection, dim=-1)
    said = Health()(Method(Given({})), step, Clock(0, 100), {})
    assert said["entropy"] == pytest.approx(float(vmf_entropy(z[:, 0], kappa=10.0)), rel=1e-5)
    expected = float(vmf_reconstruction(z[:, 0], z[:, 1], kappa=10.0))
    assert said["reconstruction"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "cosine"), [("nearly_constant", 0.98), ("complete_collapse", 1)])
def test_a_contrastive_loss_far_below_chance_says_that_samples_are_told_apart(name, cosine):
    [rule] = [rule for rule in RULES if rule.name == name]
    near = Numbers({"cosine_projection": cosine, "alignment_projection": 0.01})
    assert rule.holds(near)  # methods without negatives say nothing of it
    assert rule.holds(Numbers(near | {"contrastive_floor": 0.91}))
    assert not rule.holds(Numbers(near | {"contrastive_floor": 0.89}))


def test_an_outlier_or_two_are_no_alarm():
    health, _ = run(lambda i: FAULTS["complete_collapse"](i) if i % 4 > 1 else healthy(i))
    assert health.alarms == []


def test_an_alarm_passes_when_the_numbers_are_right_again_and_may_return():
    bad = [*range(10, 16), *range(30, 36)]
    health, said = run(lambda i: FAULTS["complete_collapse"](i) if i in bad else healthy(i))
    assert names(health) == ["complete_collapse"] * 2
    assert health.light == "ok"
    assert said["health"] == 0.0


@pytest.mark.parametrize(
    ("fault", "progress"),
    [("complete_collapse", 0.05), ("uniform_assignments", 0.2), ("not_learning", 0.2)],
)
def test_what_is_wrong_from_the_start_is_given_time(fault, progress):
    health, _ = run(FAULTS[fault])
    assert health.alarms[0].step >= 100 * CHECKS * progress


def test_what_goes_wrong_after_a_right_start_is_given_none():
    health, _ = run(lambda i: FAULTS["complete_collapse"](i) if i else healthy(i), checks=200)
    assert health.alarms[0].step == 300  # 1.5 % of training, three checks


def test_stop_is_called_with_bad_alarms_only_and_may_raise():
    class Collapsed(Exception):
        pass

    def stop(alarm):
        raise Collapsed(alarm.name)

    with pytest.raises(Collapsed, match="complete_collapse"):
        run(FAULTS["complete_collapse"], stop=stop)
    health, _ = run(FAULTS["identical_views"], stop=stop)
    assert names(health) == ["identical_views"]


def test_an_alarm_is_one_line_in_the_log(caplog):
    with caplog.at_level(logging.WARNING, "manyviews"):
        run(FAULTS["one_prototype"])
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("step ")


def test_looking_changes_nothing():
    embedding, projection = views(0).requires_grad_(), views(1)
    step = Step(
        {"l": embedding.sum()}, {"image": embedding}, projection, watch={"x": torch.tensor(1.0)}
    )
    before = (embedding.detach().clone(), projection.clone(), torch.get_rng_state())
    Health()(Method(Given({})), step, Clock(0, 1), {})
    assert torch.equal(before[0], embedding)
    assert torch.equal(before[1], projection)
    assert torch.equal(before[2], torch.get_rng_state())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_batches_and_odd_types_are_no_trouble(n):
    embedding = views(0, n=n)[:, :1].bfloat16()
    step = Step({"l": torch.tensor(0.0)}, {"image": embedding})
    assert Health()(Method(Given({})), step, Clock(0, 0), {})["health"] == 0.0


def test_numbers_that_are_not_finite_are_not_logged_and_raise_nothing():
    health, said = run(lambda i: healthy(i, embedding=views(i) * float("nan")), checks=8)
    assert "std_embedding" not in said
    assert said["std_projection"] > 0.5
    assert health.alarms == []


class Net(nn.Module):
    """Images to features that are all positive, as a ReLU network's are, and a projection."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64)
        )
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))

    def forward(self, x):
        h = F.relu(self.body(x))
        return h, self.head(h)


def train(loss, *, steps=150, lr=3e-3, every=3, augment=0.5):
    """A short training on images that share most of what they show."""
    net = Net(0)
    health = Health()
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    g = torch.Generator().manual_seed(1)
    base = torch.randn(512, 64, generator=g) + 3
    for s in range(steps):
        x = base[torch.randint(0, 512, (96,), generator=g)]
        x = x[:, None] + augment * torch.randn(96, 2, 64, generator=g)
        h, z = net(x)
        value, watch = loss(z)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if s % every == 0:
            step = Step({"l": value.detach()}, {"image": h.detach()}, z.detach(), watch=watch)
            health(Method(Given({})), step, Clock(s, steps), {})
    return health


def attract(z):
    """No negatives, no predictor, no stopped gradient: a constant is the best answer."""
    return (1 - F.cosine_similarity(z[:, 0], z[:, 1], dim=-1)).mean(), {}


def contrast(z):
    a, b = F.normalize(z, dim=-1).unbind(1)
    loss = F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))
    return loss, {"contrastive_floor": loss.detach() / torch.tensor(float(len(a))).log()}


def test_a_training_without_negatives_collapses_and_is_caught():
    health = train(attract)
    assert "complete_collapse" in names(health)
    assert health.light == "bad"


def test_a_contrastive_training_that_learns_is_left_alone():
    assert train(contrast).alarms == []


def test_a_contrastive_training_that_learns_nothing_is_caught():
    assert "not_learning" in names(train(lambda z: contrast(0 * z + torch.ones_like(z)), every=2))


def test_an_untrained_network_is_left_alone_at_first():
    health = train(contrast, lr=0.0, steps=30, every=3)
    assert "complete_collapse" not in names(health)
    assert "constant_embedding" not in names(health)


def test_views_without_augmentation_are_caught():
    assert "identical_views" in names(train(contrast, augment=0.0))


def test_an_alarm_prints_as_one_line():
    alarm = Alarm("n", "the cause", "--x 1", message="It is so")
    assert str(alarm) == "It is so. Likely cause: the cause. Try: --x 1."


def test_views_that_were_seldom_found_may_be_lost_without_an_alarm():
    health, _ = run(
        lambda i: healthy(i, projection=views(100 + i, noise=2.0 if i < 20 else 9.0)), checks=60
    )
    assert names(health) == []


def test_how_often_views_were_found_is_remembered():
    make = FAULTS["views_lost"]
    whole, cut = run(make, checks=CHECKS)[0], Health()
    for i in range(CHECKS):
        if i == 21:  # the running mean has just begun to fall
            numbers, tensors = cut.state()
            cut = Health()
            cut.restore(numbers, tensors)
        cut(Taught(), make(i), Clock(100 * i, 100 * CHECKS), {})
    assert [a.step for a in cut.alarms if a.name == "views_lost"] == [whole.alarms[0].step]
