import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Failure, Features, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Unreadable
from manyviews.data.sources import Stored
from manyviews.evaluation.features import extract
from manyviews.evaluation.image import supervised
from manyviews.evaluation.image.finetune import finetune
from manyviews.evaluation.image.mix import mix, soft
from manyviews.evaluation.image.partial import param_groups, set_modes, thaw
from manyviews.evaluation.image.settings import MAE_BASE, FineTune
from manyviews.evaluation.image.supervised import Batches, Part, Setup, Training, fit, score
from manyviews.evaluation.labelled import Labelled
from manyviews.evaluation.linear import linear_probe
from manyviews.views.by_input import plain_of
from manyviews.views.image.plain import Plain
from tiny import CHANNELS, DIM, SIDE, TinyConv, TinyViT

PIXELS = Pixels(side=SIDE, channels=CHANNELS, mean=(0.5,), std=(0.25,))
PLAIN = Plain(PIXELS)
QUICK = FineTune(epochs=2, batch_size=16, mixup=0.8, cutmix=1.0)


def stripes(count, seed):
    """Class 0 has horizontal stripes, class 1 vertical ones, of any phase."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    ramp = np.arange(SIDE) * (2 * np.pi / 4)
    images = []
    for label in labels:
        wave = np.sin(ramp + rng.uniform(0, 2 * np.pi))
        plane = np.broadcast_to(wave[:, None] if label == 0 else wave, (SIDE, SIDE))
        image = 128 + 40 * plane[..., None] + rng.normal(0, 40, (SIDE, SIDE, CHANNELS))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return Labelled(
        Stored("stripes", np.stack(images)),
        torch.from_numpy(labels),
        ("lying", "standing"),
        "given",
    )


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return {name for name in a if torch.equal(a[name], b[name])}


def build(name, **changes):
    torch.manual_seed(0)
    return encoders.build(replace(encoders.named(name, input=PIXELS), **changes))


def vit(depth=3, **changes):
    return build("vit", patch=4, width=16, depth=depth, heads=2, **changes)


def trained(encoder, settings, *, lr=2e-3, part=None, workers=0):
    data = stripes(48, 1)
    part = part or Part(data.source, data.labels, torch.arange(len(data)))
    run = Setup(torch.device("cpu"), workers, None)
    return fit(encoder, part, Training(lr, settings, PIXELS, 2), run)


def scales(encoder, decay):
    """Parameter name -> factor on its rate in fine-tuning."""
    listed = {
        id(p): group["lr_scale"]
        for group in param_groups(encoder, nn.Linear(2, 2), layer_decay=decay, weight_decay=0)
        for p in group["params"]
    }
    return {name: listed[id(p)] for name, p in encoder.named_parameters()}


def test_a_vits_layers_are_those_of_maes_fine_tuning():
    # facebookresearch/mae util/lr_decay.py: tokens, positions and patches are layer 0, block i is
    # layer i + 1, everything else the last; the scale is decay^(blocks + 1 - layer)
    for name, scale in scales(vit(), 0.5).items():
        inner = name.removeprefix("model.")
        if inner.startswith("blocks."):
            assert scale == 0.5 ** (3 - int(inner.split(".")[1])), name
        else:
            assert scale == (1 if inner.startswith("norm.") else 0.5**4), name


@pytest.mark.parametrize(
    ("name", "powers"),
    [
        ("resnet_small", {"stem.0.weight": 4, "stages.0.0.conv1.weight": 3, "stages.2.0.conv2": 1}),
        ("resnet18", {"model.conv1.weight": 9, "model.layer1.0": 8, "model.layer4.1": 1}),
    ],
)
def test_a_resnets_layers_are_its_blocks(name, powers):
    found = scales(build(name), 0.5)
    for start, power in powers.items():
        assert {found[n] for n in found if n.startswith(start)} == {0.5**power}, start


def test_an_encoder_that_does_not_say_which_layers_it_has_trains_whole():
    class Flat(TinyConv):
        def by_depth(self):
            return []

    data = stripes(20, 1)
    for settings, said in (
        (FineTune(blocks=1), "Flat does not say which layers it has. Use -1 to train all"),
        (FineTune(), r"Set --finetune.layer-decay 1\."),
    ):
        with pytest.raises(UsageError, match=said):
            finetune(Flat(), data, data, input=PIXELS, settings=settings)
    assert set(scales(Flat(), 1).values()) == {1}


def test_groups_hold_every_trained_parameter_once_with_its_rule():
    encoder, head = vit(), nn.Linear(16, 2)
    groups = param_groups(encoder, head, layer_decay=0.7, weight_decay=0.3)
    listed = {id(p): g for g in groups for p in g["params"]}
    assert len(listed) == sum(len(g["params"]) for g in groups)
    named = dict(encoder.named_parameters())
    assert set(listed) == {id(p) for p in [*named.values(), *head.parameters()]}
    assert listed[id(head.weight)]["lr_scale"] == listed[id(head.bias)]["lr_scale"] == 1
    assert listed[id(head.weight)]["weight_decay"] == 0.3
    assert listed[id(head.bias)]["weight_decay"] == 0
    for name, p in named.items():
        spared = p.ndim < 2 or name in ("model.pos_embed", "model.cls_token")
        assert listed[id(p)]["weight_decay"] == (0 if spared else 0.3), name


@pytest.mark.parametrize(
    ("blocks", "trains"),
    [
        (0, ()),
        (0.5, ("model.blocks.2.norm2", "model.blocks.2.mlp", "model.norm.")),
        (1, ("model.blocks.2", "model.norm.")),
        (3, ("model.blocks", "model.norm.")),
        (-1, ("model",)),
    ],
)
def test_the_last_blocks_train_and_nothing_else_changes(blocks, trains):
    encoder = vit().requires_grad_(False)  # as an exported encoder is
    before = state(encoder)
    model = trained(encoder, FineTune(epochs=1, batch_size=24, blocks=blocks))
    kept = same(before, state(model.encoder))
    assert kept == {name for name in before if not name.startswith(trains)}
    assert same(before, state(encoder)) == set(before)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_batch_norm_of_frozen_stages_keeps_its_statistics():
    encoder = build("resnet_small", width=4, zero_init=False)
    before = state(encoder)
    model = trained(encoder, FineTune(epochs=1, batch_size=24, blocks=1))
    changed = set(before) - same(before, state(model.encoder))
    assert changed == {name for name in before if name.startswith("stages.2.")}


def test_parts_without_parameters_follow_the_mode_around_them():
    network = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    )
    network[0].requires_grad_(False)
    set_modes(network)
    assert [m.training for m in network.modules()] == [True, False, False, False, True, True, True]


@pytest.mark.parametrize(("blocks", "said"), [(4, "that has 3"), (1.5, "that has 3")])
def test_blocks_that_are_not_there_are_refused(blocks, said):
    with pytest.raises(UsageError, match=said):
        thaw(vit(), blocks)


def test_a_resnet_has_no_half_block():
    with pytest.raises(UsageError, match="no half blocks"):
        thaw(build("resnet_small"), 0.5)


def test_smoothed_targets_add_up():
    targets = soft(torch.tensor([2, 0]), 4, 0.1)
    assert targets[0].tolist() == pytest.approx([0.025, 0.025, 0.925, 0.025])
    assert targets.sum(dim=1).tolist() == pytest.approx([1, 1])


def marked(batch=5, side=20):
    """Images that are all 0 but the last, all 1; and targets that say who is who."""
    return torch.arange(batch).view(-1, 1, 1, 1).expand(-1, 1, side, side) / 1.0, torch.eye(batch)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_are_shared_as_the_pixels_are(kind):
    images, targets = marked()
    shares = []
    for seed in range(300):
        alphas = {"mixup": 0.0, "cutmix": 0.0} | {kind: 1.0}
        mixed, said = mix(images, targets, **alphas, rng=np.random.default_rng(seed))
        # of image i the pixels are share * i + (1 - share) * (4 - i) in the mean
        ids = torch.arange(5.0)
        assert torch.allclose(mixed.mean(dim=(1, 2, 3)), said @ ids, atol=1e-5)
        assert torch.allclose(said.sum(dim=1), torch.ones(5))
        values = set(mixed[0].unique().tolist())
        if kind == "cutmix":
            assert values <= {0.0, 4.0}
            assert (mixed[0, 0] == 4).any(dim=1).sum() * (mixed[0, 0] == 4).any(dim=0).sum() == (
                mixed[0, 0] == 4
            ).sum()  # one box
        else:
            assert len(values) == 1
        shares.append(float(said[0, 0]))
    assert torch.equal(images, marked()[0])
    if kind == "mixup":  # uniform
        assert np.quantile(shares, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.07)
    else:  # uniform, but boxes lose what lies outside the image
        assert 0.55 < np.mean(shares) < 0.75


def test_half_the_batches_are_cut_when_both_are_on():
    images, targets = marked()
    cut = 0
    for seed in range(400):
        mixed, _ = mix(images, targets, mixup=0.8, cutmix=1.0, rng=np.random.default_rng(seed))
        cut += mixed[0].unique().numel() == 2
    assert 150 < cut < 250


def test_nothing_is_mixed_when_both_are_off():
    images, targets = marked()
    mixed, said = mix(images, targets, mixup=0, cutmix=0, rng=np.random.default_rng(0))
    assert mixed is images
    assert said is targets


def test_fine_tuning_beats_a_linear_probe_where_features_lack_the_answer():
    train, test = stripes(192, 1), stripes(200, 2)
    torch.manual_seed(0)
    encoder = TinyConv()

    def features(part):
        return extract(lambda x: encoder(x).pooled, part.source, plain_of(PIXELS)).features

    encoder.eval()
    predicted, _ = linear_probe(features(train), train.labels, features(test))
    probed = float((predicted == test.labels).float().mean())
    plan = FineTune(epochs=12, batch_size=32, lr=(0.1,), mixup=0, cutmix=0, layer_decay=1, crop=0.8)
    tuned = finetune(encoder, train, test, input=PIXELS, settings=plan)
    assert tuned.protocol == "finetune"
    assert (tuned.train, tuned.n, tuned.classes) == (192, 200, 2)
    assert tuned.interval[0] < tuned.value < tuned.interval[1] or tuned.value == 1
    assert tuned.value > max(0.93, probed + 0.05), probed


def test_the_same_seed_trains_the_same_network():
    encoder = vit(drop_path=0.3)
    one = state(trained(encoder, QUICK))
    torch.manual_seed(99)  # the caller's state must not matter
    drawn = torch.get_rng_state()
    again = state(trained(encoder, QUICK))
    assert torch.equal(drawn, torch.get_rng_state())
    assert same(one, again) == set(one)
    other = state(trained(encoder, FineTune(epochs=2, batch_size=16, seed=1)))
    assert "head.weight" not in same(one, other)


def test_a_network_is_tested_as_it_stands():
    data = stripes(40, 1)
    part = Part(data.source, data.labels, torch.arange(40))
    model = trained(TinyConv(), QUICK)
    model.train()
    before = state(model)
    right, n = score(model, part, PIXELS, Setup(torch.device("cpu"), 0, None))
    assert n == 40
    assert same(before, state(model)) == set(before)  # batch norm has learnt nothing
    model.eval()
    with torch.no_grad():
        wanted = model(PLAIN(data.source.stack["image"])).argmax(dim=1) == data.labels
    assert right == int(wanted.sum())


def test_worker_processes_change_nothing():
    encoder = vit(drop_path=0.3)
    one, two = (state(trained(encoder, QUICK, workers=n)) for n in (0, 1))
    assert same(one, two) == set(one)


def test_every_image_is_seen_once_an_epoch_in_another_order():
    data = stripes(48, 1)
    part = Part(data.source, data.labels, torch.arange(0, 48, 2))
    batches = Batches(part, Training(1e-3, FineTune(batch_size=6), PIXELS, 2))
    epochs = [[row for step in range(e, e + 4) for row in batches(step)[0]] for e in (0, 4)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(0, 48, 2))
    assert epochs[0] != epochs[1]
    again = Batches(part, Training(1e-3, FineTune(batch_size=6), PIXELS, 2))
    rows, views, bad = again(5)
    assert rows == batches(5)[0]
    assert bad == []
    assert np.array_equal(views, batches(5)[1])
    first = batches(rows := 0)[1]
    assert not np.array_equal(first, batches(rows + 4)[1])


def test_learning_rates_rise_then_fall_and_keep_their_proportions(monkeypatch):
    seen = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            seen.append({g["lr_scale"]: g["lr"] for g in self.param_groups})
            return super().step(closure)

    monkeypatch.setattr(supervised.torch.optim, "AdamW", Watched)
    plan = FineTune(epochs=10, batch_size=16, layer_decay=0.5, warmup=0.2)
    trained(vit(), plan, lr=0.032)
    peak = 0.032 * 16 / 256
    assert len(seen) == 30  # 48 images: 3 steps an epoch
    for step, rates in enumerate(seen):
        share = step / 30
        rest = (share - 0.2) / 0.8
        wanted = share / 0.2 if share < 0.2 else (1 + math.cos(math.pi * rest)) / 2
        assert set(rates) == {0.5**4, 0.5**3, 0.5**2, 0.5, 1.0}
        for scale, lr in rates.items():
            assert lr == pytest.approx(peak * wanted * scale, abs=1e-12)


def test_the_learning_rate_is_chosen_without_the_test_labels():
    train, test = stripes(96, 1), stripes(40, 2)
    plan = FineTune(
        epochs=8, batch_size=32, lr=(1e-7, 0.1), mixup=0, cutmix=0, layer_decay=1, crop=0.8
    )
    calls = []
    torch.manual_seed(0)
    encoder = TinyConv()
    found = finetune(
        encoder, train, test, input=PIXELS, settings=plan, progress=lambda *c: calls.append(c)
    )
    lied = Labelled(test.source, 1 - test.labels, test.classes, "given")
    other = finetune(encoder, train, lied, input=PIXELS, settings=plan)
    assert found.settings["lr"] == 0.1
    assert found.settings["held_out_accuracy_at_0.1"] >= 0.9
    assert found.settings["held_out_accuracy_at_1e-07"] < 0.8
    assert dict(other.settings) == dict(found.settings)
    assert other.value == pytest.approx(1 - found.value)
    assert not found.saw_test
    steps = 8 * (86 // 32) * 2 + 8 * (96 // 32)
    assert calls == [(i + 1, steps) for i in range(steps)]


class Torn(Stored):
    """A source of which some images cannot be read."""

    def read(self, index):
        if index % 4 == 0:
            raise Unreadable(f"{index}.jpg", "truncated")
        return super().read(index)


def test_unreadable_images_are_left_out_and_counted(caplog):
    data = stripes(40, 1)
    torn = Labelled(Torn("torn", data.source.stack["image"]), data.labels, data.classes, "given")
    with caplog.at_level(logging.WARNING, "manyviews"):
        found = finetune(
            TinyConv(), torn, torn, input=PIXELS, settings=FineTune(epochs=1, batch_size=1)
        )
    assert (found.train, found.n) == (30, 30)
    assert "10 training images could not be read" in caplog.text


def test_a_loss_that_is_no_number_stops_with_advice():
    class Broken(TinyConv):
        def forward(self, x, **asked):
            found = super().forward(x, **asked)
            return Features(found.pooled * float("nan"), found.tokens)

    with pytest.raises(Failure, match=r"diverged.*step 1.*Lower lr"):
        finetune(Broken(), stripes(20, 1), stripes(20, 2), input=PIXELS, settings=QUICK)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "--finetune.epochs is 0; wanted 1"),
        ({"lr": ()}, "wanted a learning rate"),
        ({"lr": (1e-3, -1.0)}, r"--finetune.lr is 0.001 -1; wanted"),
        ({"smoothing": 1.0}, "smoothing is 1.0; wanted"),
        ({"blocks": 9}, "that has 2"),
    ],
)
def test_settings_out_of_range_are_refused(changes, said):
    data = stripes(20, 1)
    with pytest.raises(UsageError, match=said) as caught:
        finetune(TinyViT(), data, data, input=PIXELS, settings=FineTune(**changes))
    assert "\n" not in str(caught.value)


def test_labels_that_cannot_be_used_are_refused():
    data = stripes(20, 1)

    def use(train, test, encoder=None):
        with pytest.raises(UsageError) as caught:
            finetune(encoder or TinyViT(), train, test, input=PIXELS, settings=QUICK)
        return str(caught.value)

    one = Labelled(data.source, torch.zeros(20, dtype=torch.int64), data.classes, "given")
    assert "1 class" in use(one, data)
    far = Labelled(data.source, data.labels + 1, data.classes, "given")
    assert "2 classes" in use(data, far)
    other = Labelled(data.source, data.labels, ("cat", "dog"), "given")
    assert "cat, dog" in use(data, other)
    grey = Labelled(
        Stored("grey", data.source.stack["image"][..., :1]), data.labels, data.classes, "given"
    )
    assert "1 channels" in use(grey, data)
    few = Labelled(
        Stored("few", data.source.stack["image"][:2]), torch.tensor([0, 1]), data.classes, "given"
    )
    with pytest.raises(UsageError, match="too few training images"):
        finetune(TinyViT(), few, data, input=PIXELS, settings=FineTune(lr=(1e-3, 1e-4)))


def test_the_published_recipe_is_kept():
    # facebookresearch/mae FINETUNE.md, ViT-Base
    assert (MAE_BASE.epochs, MAE_BASE.batch_size, MAE_BASE.lr) == (100, 1024, (5e-4,))
    assert (MAE_BASE.layer_decay, MAE_BASE.weight_decay, MAE_BASE.warmup) == (0.65, 0.05, 0.05)
    assert (MAE_BASE.mixup, MAE_BASE.cutmix, MAE_BASE.smoothing) == (0.8, 1.0, 0.1)


def test_the_encoder_may_have_any_width():
    assert trained(TinyConv(), QUICK).head.weight.shape == (2, DIM)
