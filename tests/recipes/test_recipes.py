import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from manyviews import encoders
from manyviews.core import Given, UsageError, settings
from manyviews.core.settings import parts
from manyviews.methods import catalog
from manyviews.recipes import AUTHORS_DATA, RECIPES, one_duration
from manyviews.runs import saved
from manyviews.runs.assemble import check_needs, surplus
from manyviews.runs.facts import typical_facts
from manyviews.runs.settings import Facts
from manyviews.training.optim import build
from manyviews.views.pipeline import Fed, Pipeline
from tiny import COLOURED, given

SMALL = Facts(
    source="photos",
    count=900,
    side=28,
    channels=1,
    mean=(0.3,),
    std=(0.3,),
    device="cpu",
    cores=2,
)
LARGE = replace(SMALL, count=100_000, side=400, channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
GPU = replace(LARGE, device="cuda", cores=16)
COLOURS = replace(SMALL, channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
MANY = replace(SMALL, channels=5, mean=(0.5,) * 5, std=(0.2, 0.2, 0.0, 0.2, 0.2))
EARLIER = Path(__file__).parents[1] / "golden" / "runs" / "simclr" / "config.yaml"
"""What 0.1.0 wrote."""
OWN = [name for name in RECIPES if not name.endswith(AUTHORS_DATA)]


def on(names, **facts):
    """Recipes with facts that they take, as a test's cases."""
    return [
        pytest.param(name, fact, id=f"{name}-{kind}")
        for name in names
        for kind, fact in facts.items()
        if fact.channels == 3 or name not in COLOURED
    ]


def built(run):
    """A run's encoders by name, with random weights."""
    return {name: encoders.build(config) for name, config in parts(run.encoders).items()}


def teacher(run, *, whole):
    """Another encoder like a run's, or a method like its that learns from nobody."""
    if not whole:
        return built(run)["image"]
    return catalog.build(replace(run.method, target="patches"), Given(built(run)))


def pipeline_of(run, kept):
    """What makes a run's views for its encoders."""
    fed = {name: Fed(encoder.input, encoder.grid) for name, encoder in kept.items()}
    return Pipeline(parts(run.views), fed, seed=run.seed)


@pytest.mark.parametrize(("name", "facts"), on(RECIPES, small=SMALL, large=LARGE, gpu=GPU))
def test_a_saved_recipe_reads_back_exactly(name, facts):
    run = RECIPES[name](facts)
    assert saved.from_yaml(saved.to_yaml(run), name="config.yaml") == run
    assert run.recipe == name


@pytest.mark.parametrize(
    ("name", "facts"), on(OWN, small=SMALL, many=MANY, colours=COLOURS, large=LARGE, gpu=GPU)
)
def test_every_recipe_fits_together_on_any_data_and_machine(name, facts):
    run = RECIPES[name](facts)
    settings.check(run)
    with torch.device("meta"):
        kept = built(run)
    assert all(encoder.dim > 0 for encoder in kept.values())
    makes = pipeline_of(run, kept).makes
    if "image" in kept:
        fed = kept["image"].input
        assert (fed.mean, len(fed.std)) == (facts.mean, facts.channels)
        if "global" in makes:
            assert makes["global"].shape == (fed.side, fed.side, facts.channels)
        step = getattr(run.encoders.image, "patch", 0) or 4  # of a ViT; what halves twice
        assert all(layout.shape[0] % step == 0 for layout in makes.values())
    assert 2 * run.data.batch_size <= facts.count


@pytest.mark.parametrize(("name", "facts"), on(OWN, small=SMALL, many=MANY, colours=COLOURS))
def test_every_recipe_builds_its_method_and_optimiser(name, facts):
    run = RECIPES[name](facts)
    kept = built(run)
    teachers = {name: teacher(run, whole=t.whole) for name, t in parts(run.teachers).items()}
    method = catalog.build(run.method, Given(kept, samples=64, teachers=teachers))
    pipeline = pipeline_of(run, kept)
    check_needs(pipeline, method, name)
    assert not surplus(run, pipeline, method)
    build(method, run.optim, run.data.batch_size)


@pytest.mark.parametrize("name", sorted(COLOURED))
@pytest.mark.parametrize("facts", [SMALL, MANY], ids=["grey", "many"])
def test_recipes_of_colours_refuse_images_without_any(name, facts):
    with pytest.raises(UsageError, match=rf"{name} .* {facts.channels} channels,.* another recipe"):
        RECIPES[name](facts)


@pytest.mark.parametrize("name", ["avid", "avid-kinetics"])
def test_avids_sound_is_of_the_time_of_its_clip(name):
    run = RECIPES[name](GPU)
    with torch.device("meta"):
        pipeline = pipeline_of(run, built(run))
    item = pipeline.read(Film(), 3, epoch=2)
    clips, sounds = item.windows["video"], item.windows["audio"]
    off = [sound.start - clip.start for clip, sound in zip(clips, sounds, strict=True)]
    assert "audio.offset" in pipeline.cues
    assert all(abs(seconds) <= 0.5 for seconds in off)


def windows_of(name):
    """What a recipe asks of a long clip with sound, by family."""
    run = RECIPES[name](GPU)
    with torch.device("meta"):
        pipeline = pipeline_of(run, built(run))
    return pipeline.read(Film(), 3, epoch=2).windows


def test_the_frame_of_sync_is_in_the_middle_of_its_sound():
    windows = windows_of("cav-mae-sync")
    [clip], [sound] = windows["video"], windows["audio"]
    assert (sound.start + sound.stop) / 2 == pytest.approx(clip.start)


def test_one_sound_of_multisensory_goes_with_its_clip_and_the_other_shares_no_time_with_it():
    windows = windows_of("multisensory")
    [clip], [sound], [shifted] = (windows[name] for name in ("video", "audio", "apart"))
    assert (sound.start, sound.stop) == pytest.approx((clip.start, clip.stop))
    assert shifted.start >= clip.stop or shifted.stop <= clip.start


class Film:
    """Samples of a long clip with sound."""

    def open(self, index):
        return {"video": Silence(2, 2, 3), "audio": Silence()}


class Silence:
    """A stream of a thousand seconds of nothing."""

    span = 1000.0

    def __init__(self, *shape):
        self.shape = shape

    def read(self, window):
        return np.zeros((window.count, *self.shape))


@pytest.mark.parametrize("facts", [SMALL, MANY, LARGE], ids=["grey", "many", "rgb"])
def test_colours_that_need_rgb_are_planned_for_rgb_alone(facts):
    crops = RECIPES["simclr"](facts).views.global_
    planned = (crops.saturation > 0, crops.hue > 0, crops.grey > 0)
    assert planned == (facts.channels == 3,) * 3
    assert crops.brightness > 0
    assert crops.contrast > 0


def test_a_channel_that_is_the_same_everywhere_does_not_become_infinite():
    fed = RECIPES["simclr"](MANY).encoders.image.input
    assert fed.std == (0.2, 0.2, 1.0, 0.2, 0.2)


def test_mean_and_std_have_a_number_a_channel():
    run = RECIPES["simclr"](MANY)
    for name in ("mean", "std"):
        path = f"encoders.image.input.{name}"
        settings.check(settings.override(run, {path: (0.5,)}))
        wrong = settings.override(run, {path: (0.5,) * 3})
        with pytest.raises(UsageError, match=f"--{path} is .*; wanted one number for each of 5 ch"):
            settings.check(wrong)


def test_views_that_a_method_needs_and_the_plan_lacks_are_named():
    run = RECIPES["mae"](SMALL)
    encoder = encoders.build(run.encoders.image)
    method = catalog.build(run.method, given(encoder))
    without = settings.override(run, {"views.global.mask.ratio": 0.0})
    words = r"mae needs 1 'global.mask' a sample; .* makes 0. Set --views.global.mask.ratio 0.75"
    with pytest.raises(UsageError, match=words):
        check_needs(pipeline_of(without, {"image": encoder}), method, "mae")
    none = settings.override(run, {"views.global.count": 0})
    with pytest.raises(UsageError, match=r"mae needs 1 'global' .* Set --views.global.count 1"):
        check_needs(pipeline_of(none, {"image": encoder}), method, "mae")


def test_a_given_duration_replaces_the_recipes():
    default = RECIPES["simclr"](SMALL)
    given = replace(default, train=replace(default.train, steps=7))
    assert one_duration(given, default).train == replace(default.train, steps=7, minutes=0.0)
    assert one_duration(default, default) == default


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "holds no run"),
        ("version: 3\nmethod: {is: simclr}", "has version 3, and this manyviews reads up to 2"),
        ("method: {is: simclrr}", "config.method is of the kind 'simclrr'. Did you mean 'simclr'?"),
        ("method: {is: simclr, temprature: 1}", "config.method has no field 'temprature'"),
        ("method: {is: simclr}\nsed: 1", "has no field 'sed'. Did you mean 'seed'?"),
        ("method: {is: simclr}", "lacks 'recipe'"),
        ("encoders: [vit]", "config.encoders should be a mapping"),
        ("encoders: {image: vit}", "config.encoders.image should be a mapping; got 'vit'"),
        ("encoders: {image: {is: vitt}}", "config.encoders.image is of the kind 'vitt'. Did you"),
        ("encoders: {image: {is: vit, grid: 2}}", "config.encoders.image has no field 'grid'"),
        ("views: {global: {is: crop}}", "config.views.global is of the kind 'crop'. Did you mean"),
        ("views: {global: {count: 2}}", "config.views.global is of the kind 'None'. Known: crops"),
    ],
)
def test_a_damaged_config_is_named(text, words):
    whole = text
    if text[0] != "[" and "version" not in text:
        whole = "version: 2\n" + text + ("" if "method" in text else "\nmethod: {is: simclr}")
    with pytest.raises(UsageError, match=re.escape(words)):
        saved.from_yaml(whole, name="config.yaml")


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["method", "name"], "simclrr", "config.method is of the kind 'simclrr'. Did you mean 's"),
        (["method", "temprature"], 1, "config.method has no field 'temprature'"),
        (["sed"], 1, "has no field 'sed'. Did you mean 'seed'?"),
        (["recipe"], None, "lacks 'recipe'"),
        (["data"], None, "config.data should be a mapping; got None"),
        (["encoder"], [1], "config.encoder should be a mapping; got [1]"),
        (["data", "channels"], "x", "config.encoders.image.input.channels should be"),
        (["encoder", "width"], None, "The encoder's settings lack 'width'. Add it."),
        (["views"], 3, "config.views should be a mapping; got 3"),
        (["views", "global"], 3, "config.views.global should be a mapping; got 3"),
        (["views", "mask"], [], "config.views.mask should be a mapping; got []"),
    ],
)
def test_a_damaged_config_of_an_earlier_version_is_named(keys, value, words):
    tree = yaml.safe_load(EARLIER.read_text())
    *rooms, last = keys
    room = tree
    for key in rooms:
        room = room[key]
    if value is None:
        del room[last]
    else:
        room[last] = value
    with pytest.raises(UsageError, match=re.escape(words)):
        saved.from_yaml(yaml.safe_dump(tree), name="config.yaml")


@pytest.mark.parametrize(("recipe", "most"), [("xdc", 128), ("selavi", 300)])
def test_there_is_no_more_than_a_cluster_for_every_eight_videos(recipe, most):
    for videos, clusters in ((9, 2), (160, 20), (10**6, most)):
        facts = replace(typical_facts(), count=videos)
        assert RECIPES[recipe](facts).method.clusters == clusters
