"""ELo: the weighted sum of its tasks, and the distance of the main features from the sides'.

What fails if a bug is planted: a weight of another task or a squared distance,
`test_losses_are_the_tasks_and_the_distances`; gradient into the side,
`test_what_is_distilled_gives_no_gradient_to_the_side`; a task that sees another one's views,
`test_a_task_sees_its_own_views_alone`.
"""

import pytest
import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.settings import check, struct
from manyviews.losses.regression import mean_distance
from manyviews.methods.audiovisual.l3 import L3Config
from manyviews.methods.catalog import ELoConfig, build
from manyviews.methods.clustering.deepcluster import DeepClusterConfig
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.pretext.playback import PlaybackConfig
from manyviews.methods.redundancy.barlow import BarlowTwinsConfig
from tiny import TinyConv, batch_for, shrink

CLOCK = Clock(2, 10)


def made(tasks, on, weights, *, sides=("flow",), encoders=None):
    config = ELoConfig(tasks=struct("Tasks", tasks), on=on, weights=weights, sides=sides)
    check(config)
    torch.manual_seed(0)
    encoders = encoders or {name: TinyConv() for name in ("video", *sides)}
    return build(shrink(config), Given(encoders, samples=64)).double().train()


def three(**more):
    tasks = {
        "apart": SimCLRConfig(),
        "arrow": PlaybackConfig(classes=2),
        "moved": BarlowTwinsConfig(),
    }
    return made(tasks, ("video", "video", "flow"), (0.5, 2.0, 0.25, 3.0), **more)


def test_losses_are_the_tasks_and_the_distances():
    elo = three()
    batch = batch_for(elo, dtype=torch.float64)
    step = elo(batch, CLOCK)
    for task, weight in (("apart", 0.5), ("arrow", 2.0), ("moved", 0.25)):
        names = {"global": task, "local": f"{task}_local"}
        seen = {k: batch.views[own] for k, own in names.items() if own in batch.views}
        own = Batch(seen, batch.index)
        [(name, alone)] = elo.mixed[task](own, CLOCK).losses.items()
        torch.testing.assert_close(step.losses[f"{task}.{name}"], weight * alone)
    main, side = (elo.encoders[n](batch.views[n][:, 0]).pooled for n in ("video", "flow"))
    far = (main - side).square().sum(dim=1).sqrt().mean()
    torch.testing.assert_close(step.losses["from_flow"], 3.0 * far)
    assert len(step.losses) == 4
    assert set(step.embedding) == {"video", "flow"}
    torch.testing.assert_close(step.embedding["video"][:, 0], main)


def test_the_distance_and_its_gradient_are_the_formula():
    x, target = gaussian(0, 7, 5), gaussian(1, 7, 5)
    wanted = ((x - target.detach()) ** 2).sum(dim=1).sqrt().mean()
    assert_same(mean_distance(x, target), wanted, [x], rtol=1e-9, atol=1e-12)
    assert torch.autograd.grad(mean_distance(x, target), target, allow_unused=True) == (None,)


def test_what_is_distilled_gives_no_gradient_to_the_side():
    elo = three()
    step = elo(batch_for(elo, dtype=torch.float64), CLOCK)
    step.losses["from_flow"].backward()
    assert all(p.grad is None for p in elo.encoders["flow"].parameters())
    assert all(p.grad is not None for p in elo.encoders["video"].parameters())


def test_a_task_sees_its_own_views_alone():
    elo = three()
    batch = batch_for(elo, dtype=torch.float64)
    before = elo(batch, CLOCK).losses
    for family, moved in (
        ("apart", {"apart.nt_xent"}),
        ("arrow", {"arrow.playback"}),
        ("moved", {"moved.barlow_twins"}),
        ("video", {"from_flow"}),
        ("flow", {"from_flow"}),
    ):
        noise = torch.randn_like(batch.views[family])
        views = {**batch.views, family: batch.views[family] + noise}
        after = elo(Batch(views, batch.index), CLOCK).losses
        assert {name for name in before if before[name] != after[name]} == moved


def test_needs_are_those_of_the_tasks_under_their_names():
    elo = three()
    least = {"video": 1, "flow": 1, "apart": 2, "apart_local": 0, "arrow": 2, "moved": 2}
    assert elo.needs == least
    assert elo.most == {"video": 1, "flow": 1, "arrow": 2, "moved": 2}
    assert elo.of_one == ("arrow",)


def test_a_task_of_two_encoders_has_a_family_for_each_and_widths_are_bridged():
    encoders = {"video": Raw(3), "audio": Raw(5)}
    elo = made(
        {"match": L3Config()}, ("video+audio",), (1.0, 1.0), sides=("audio",), encoders=encoders
    )
    assert elo.needs == {"video": 1, "audio": 1, "match_video": 1, "match_audio": 1}
    views = {
        name: gaussian(k, 8, 1, 3 + 2 * name.endswith("audio")) for k, name in enumerate(elo.needs)
    }
    step = elo(Batch(views, torch.arange(8)), CLOCK)
    bridge = elo.bridges["audio"]
    assert bridge.weight.shape == (5, 3)
    far = bridge(views["video"][:, 0]) - views["audio"][:, 0]
    torch.testing.assert_close(step.losses["from_audio"], far.norm(dim=1).mean())
    grouped = [id(p) for group in elo.param_groups() for p in group.params]
    assert sorted(grouped) == sorted(id(p) for p in elo.parameters() if p.requires_grad)


def test_hooks_reach_every_task_with_what_it_made_and_with_its_own_encoders():
    tasks = {"queue": MoCoConfig(), "groups": DeepClusterConfig()}
    elo = made(tasks, ("video", "flow"), (1.0, 1.0, 1.0))
    batch = batch_for(elo, dtype=torch.float64)
    asked = []

    def embed_all(f, *, share=False):
        plain = {
            n: torch.randn(64, *TinyConv.input.shape, dtype=torch.float64) for n in elo.encoders
        }
        plain["flow"] += 5.0
        asked.append(f(plain))
        return asked[-1].float()

    elo.before_epoch(Clock(0, 10), embed_all)
    assert len(asked) == 1
    head = int(elo.mixed["queue"].queue.head)
    elo.after_backward(elo(batch, CLOCK), CLOCK)
    assert elo.mixed["queue"].queue.head != head
    slow = [p.clone() for p in elo.mixed["queue"].target.copy.parameters()]
    with torch.no_grad():
        for p in elo.mixed["queue"].online.parameters():
            p.add_(0.5)
    elo.after_step(CLOCK)
    now = list(elo.mixed["queue"].target.copy.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(slow, now, strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"sides": ()},
            r"--on is .*; wanted one for each of contrast, flow_contrast, in which all",
        ),
        ({"sides": ("flow", "flow")}, r"--sides is .*; wanted different encoders"),
        ({"sides": ("video",)}, r"--sides is .*; wanted different encoders, without the main"),
        ({"on": ("video",)}, r"--on is video; wanted one for each of contrast, flow_contrast"),
        ({"on": ("video", "video")}, r"--on is .*; wanted one .* all of flow, video are named"),
        ({"main": "contrast", "on": ("contrast", "flow")}, r"--tasks is .*; wanted other names"),
        (
            {"weights": (1.0, 1.0)},
            r"--weights is .*one number for each of contrast, flow_contrast, from_flow",
        ),
        ({"weights": (1.0, 1.0, -1.0)}, r"--weights is 1 1 -1; wanted 0 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_their_flag(change, words):
    with pytest.raises(UsageError, match=words):
        check(ELoConfig(**change))


def test_its_weights_have_names():
    assert ELoConfig().weighed == ("contrast", "flow_contrast", "from_flow")
    assert not three().bridges
