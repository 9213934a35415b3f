"""Short names of settings, from the command line and from Python, and where they land."""

import re
from dataclasses import dataclass, replace

import pytest
import torch
import yaml

import killing
import manyviews
from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.settings import override, parts, struct
from manyviews.encoders import TimmConfig, ViTConfig
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.recipes import RECIPES
from manyviews.runs import saved
from manyviews.runs.settings import Facts, Run
from manyviews.training import launch
from manyviews.verbs import train as training
from manyviews.verbs.cli import main
from manyviews.verbs.flags import lengthen, long, settle
from manyviews.verbs.parse import parse

torch.set_num_threads(1)

FACTS = Facts(
    **{"source": "DATA", "count": 900, "side": 28, "channels": 3, "device": "cpu", "cores": 2},
    **{"mean": (0.3,) * 3, "std": (0.3,) * 3},
)
SHORT = {
    "encoder.image_size": (32, "encoders.image.input.side"),
    "encoder.channels": (4, "encoders.image.input.channels"),
    "encoder.mean": ((0.1, 0.2, 0.4), "encoders.image.input.mean"),
    "encoder.std": ((0.1, 0.2, 0.4), "encoders.image.input.std"),
    "encoder.input.side": (32, "encoders.image.input.side"),
    "encoder.width": (7, "encoders.image.width"),
    "encoder.zero_init": (True, "encoders.image.zero_init"),
    "encoder.stem": ("small", "encoders.image.stem"),
    "data.channels": (4, "encoders.image.input.channels"),
    "data.mean": ((0.1, 0.2, 0.4), "encoders.image.input.mean"),
    "data.std": ((0.1,), "encoders.image.input.std"),
    "views.mask.ratio": (0.5, "views.global.mask.ratio"),
    "views.global.size": (32, "encoders.image.input.side"),
    "method.entropy_weight": (0.2, "entropy.weight"),
    "method.entropy_concentration": (3.0, "entropy.concentration"),
    "on_collapse": ("stop", "train.on_collapse"),
}
"""Short name -> a value that is not the default, and the whole name."""


def of(run, path):
    """The value of a setting by its whole name."""
    for key in path.split("."):
        run = getattr(run, f"{key}_" if key == "global" else key)
    return run


def from_flags(args, recipe="simclr", facts=FACTS):
    """A run as the command line makes it."""
    return training._flagged(
        training.recipe_of(recipe)(facts), [str(arg) for arg in args], "manyviews train simclr"
    )


def flag(name, value):
    """As one types it."""
    if isinstance(value, bool):
        room, _, last = name.rpartition(".")
        return [f"--{room}.{'' if value else 'no-'}{last.replace('_', '-')}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{name.replace('_', '-')}", *values]


@pytest.mark.parametrize("name", SHORT)
def test_a_short_name_lands_where_the_whole_one_does(name):
    value, whole = SHORT[name]
    default = RECIPES["simclr"](FACTS)
    assert of(default, whole) != value
    assert long(name, default) == whole
    wanted = override(default, {whole: value})
    assert of(wanted, whole) == value
    assert from_flags(flag(name, value)) == from_flags(flag(whole, value)) == wanted
    dashed = name.replace("_", "-")
    assert settle(default, {name: value}) == settle(default, {dashed: value}) == wanted
    if not isinstance(value, tuple | bool):
        assert from_flags([f"--{name}={value}"]) == wanted


def test_all_of_them_go_together():
    apart = [n for n in SHORT if n.startswith("data.") or n == "views.global.size"]
    apart += ["encoder.input.side"]  # as other short names of the same settings
    given = {name: value for name, (value, _) in SHORT.items() if name not in apart}
    run = from_flags([arg for name, value in given.items() for arg in flag(name, value)])
    assert run == settle(RECIPES["simclr"](FACTS), given)
    assert all(of(run, SHORT[name][1]) == value for name, value in given.items())


def test_other_names_are_left_alone():
    run = RECIPES["swav"](FACTS)
    for name in ("data.batch_size", "views.local.size", "method.hidden", "seed", "encoders.x.y"):
        assert long(name, run) == name
    sized = override(run, {"views.global.size": 20})
    assert long("views.global.size", sized) == "views.global.size"
    args = ["--data.batch-size", "8", "--seed=-3", "-h", "word"]
    assert lengthen(args, run) == (run, args)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("resnet18", TimmConfig), ("vit", ViTConfig), ("vit_tiny_patch16_224", ViTConfig)],
)
@pytest.mark.parametrize("room", ["encoder", "encoders.image"])
def test_another_encoder_is_fed_the_same_and_has_its_own_sizes(name, kind, room):
    default = RECIPES["simclr"](FACTS)
    by_flags = from_flags([f"--{room}.name", name, "--encoder.drop-path", 0.1])
    by_words = settle(default, {"encoder.drop_path": 0.1, f"{room}.name": name})
    assert by_flags == by_words == from_flags([f"--{room}.name={name}", "--encoder.drop-path=0.1"])
    fed = default.encoders.image.input
    patch = {"patch": 4} if name == "vit" else {}  # the images are small
    assert by_flags.encoders.image == kind(name=name, input=fed, drop_path=0.1, **patch)
    assert replace(by_flags, encoders=default.encoders) == default


@pytest.mark.parametrize(("side", "patch"), [(28, 4), (64, 4), (96, 0)])
@pytest.mark.parametrize("first", [True, False])
def test_patches_of_a_vit_suit_the_size_that_is_asked_for(side, patch, first):
    names = ["encoder.name", "encoder.image_size"]
    given = {name: "vit" if "name" in name else side for name in (names if first else names[::-1])}
    by_words = settle(RECIPES["simclr"](FACTS), given)
    assert (
        from_flags([arg for name, value in given.items() for arg in flag(name, value)]) == by_words
    )
    assert (by_words.encoders.image.input.side, by_words.encoders.image.patch) == (side, patch)
    assert settle(by_words, {"encoder.patch": 2}).encoders.image.patch == 2


@pytest.mark.parametrize(("recipe", "name"), [("simclr", "resnet_small"), ("mae", "vit")])
def test_naming_the_encoder_that_a_recipe_has_changes_nothing(recipe, name):
    default = RECIPES[recipe](FACTS)
    assert default.encoders.image.name == name
    assert settle(default, {"encoder.name": name}) == default
    assert from_flags(["--encoder.name", name], recipe) == default


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encoder.name": "resnet18", "encoder.grid": 2}, "no setting 'encoders.image.grid'"),
        ({"encoder.patch": 4}, "no setting 'encoders.image.patch'"),
        ({"encoder.name": 18}, "encoder.name should be a name; got 18"),
        ({"encoder.name": "resnet81"}, "There is no encoder 'resnet81'. Did you mean"),
        ({"encoder.image-size": "big"}, "encoders.image.input.side should be a value of type int"),
        ({"encoder.image_size": 16, "views.global.size": 32}, "--views.global.size contradicts"),
        ({"data.channels": 1, "encoders.image.input.channels": 3}, "contradicts --data.channels"),
    ],
)
def test_what_cannot_be_is_one_line_from_python(given, words):
    with pytest.raises(UsageError, match=words) as caught:
        settle(RECIPES["simclr"](FACTS), given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--encoder.name", "resnet18", "--encoder.grid", 2], "Unrecognized .*--encoders.image.gr"),
        (["--encoder.patch", 4], "Unrecognized options: --encoders.image.patch"),
        (["--encoder.name"], "--encoders.image.name wants a value"),
        (["--encoder.name", "resnet81"], "There is no encoder 'resnet81'. Did you mean"),
        (["--encoder.image-size=16", "--views.global.size", 32], "--views.global.size contradicts"),
        (["--data.mean", 0.1, "--encoder.mean", 0.2], "--encoder.mean contradicts --data.mean"),
    ],
)
def test_what_cannot_be_is_one_line_from_the_command_line(args, words):
    with pytest.raises(UsageError, match=words) as caught:
        from_flags(args)
    assert "\n" not in str(caught.value)


def test_two_names_of_one_setting_may_agree():
    run = from_flags(["--views.global.size", 32, "--encoder.image-size", 32])
    assert run.encoders.image.input.side == 32
    given = {"encoder.channels": 1, "data.channels": 1}
    assert settle(RECIPES["simclr"](FACTS), given).encoders.image.input.channels == 1


@dataclass(frozen=True, kw_only=True)
class Both:
    """Settings of a method that takes two encoders."""

    hidden: int = 8


def of_two():
    """A run with an encoder of video and one of sound."""
    kept = {
        "video": R2Plus1DConfig(input=Frames(side=32, frames=8), width=8, depth=1),
        "audio": AudioConvConfig(input=LogMel(), width=8, depth=1),
    }
    run = RECIPES["simclr"](FACTS)
    return replace(run, method=Both(), encoders=struct("Encoders", kept), views=struct("Views", {}))


@pytest.mark.parametrize(
    "name", ["encoder.width", "encoder.name", "encoder.image_size", "data.mean"]
)
def test_of_several_encoders_short_names_mean_none(name):
    run = of_two()
    assert long(name, run) == name
    args = [f"--{name.replace('_', '-')}", "3"]
    assert lengthen(args, run) == (run, args)
    with pytest.raises(UsageError, match=f"no setting '{name}'"):
        settle(run, {name: 3})


def test_several_encoders_are_set_by_their_names():
    run = of_two()
    given = {"encoders.video.width": 4, "encoders.audio.input.bins": 40, "on-collapse": "stop"}
    by_words = settle(run, given)
    _, flags = lengthen([f"--{n}={v}" for n, v in given.items()], run)
    kind = Run[type(run.method), type(run.encoders), type(run.views)]
    assert parse(kind, flags, prog="x", default=run) == by_words
    kept = parts(by_words.encoders)
    assert (kept["video"].width, kept["audio"].width) == (4, 8)
    assert kept["audio"].input.bins == 40
    assert by_words.train.on_collapse == "stop"


def test_only_an_encoder_of_images_has_others_to_choose_from():
    run = of_two()
    with pytest.raises(
        UsageError, match=r"encoder 'video' is r2plus1d.*Change its sizes: --encoders.video"
    ):
        settle(run, {"encoders.video.name": "resnet18"})
    alone = replace(run, encoders=struct("Encoders", {"video": run.encoders.video}))
    with pytest.raises(UsageError, match=r"encoder 'video' is .*only encoders of images"):
        lengthen(["--encoder.name", "resnet18"], alone)


@pytest.mark.parametrize(
    ("recipe", "name", "kind"), [("simclr", "resnet18", "timm"), ("dino", "vit", "vit")]
)
def test_a_recipe_starts_with_another_encoder_on_a_processor(recipe, name, kind, tmp_path):
    """The recipes' own is resnet_small with a grid, which these have not."""
    short = ["--train.steps", 1, "--data.batch-size", 4, "--data.workers", 0]
    short += ["--train.precision", "fp32"]
    out = tmp_path / "run"
    command = ["train", recipe, "--data", killing.few(tmp_path / "data"), "--out", out]
    with pytest.raises(SystemExit) as stop:
        main([str(x) for x in [*command, "--encoder.name", name, *short]])
    assert stop.value.code == 0
    text = (out / "config.yaml").read_text()
    assert yaml.safe_load(text)["encoders"]["image"]["is"] == kind
    config = saved.from_yaml(text, name="config.yaml").encoders.image
    assert (config.name, config.input.side, config.input.channels) == (name, 28, 1)
    assert manyviews.load(out).pixels == config.input
    assert isinstance(config.input, Pixels)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "encoder: resnet_small at 28 px: small images and no GPU."),
        (["--train.steps", "3"], "encoder: resnet_small at 28 px: small images and no GPU."),
        (["--encoder.image-size", "20"], "encoder: resnet_small at 20 px, by your flags."),
        (["--views.global.size=24"], "encoder: resnet_small at 24 px, by your flags."),
        (["--encoder.name", "resnet18"], "encoder: resnet18 at 28 px, by your flags."),
    ],
)
def test_the_encoder_that_is_told_is_the_one_that_is_trained(flags, line, monkeypatch, caplog):
    monkeypatch.setattr(training, "execute", lambda run, out=None: None)
    monkeypatch.setattr(training, "finish", lambda result, as_json: 0)
    monkeypatch.setattr(launch, "device", lambda: torch.device("cpu"))
    caplog.set_level("INFO", "manyviews")

    def told():
        lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("encoder:")]
        caplog.clear()
        return lines

    training.command(["simclr", "--data", "builtin:fashion", *flags])
    assert told() == [line]
    pairs = [part for flag in flags for part in flag.removeprefix("--").split("=")]
    given = {
        k: int(v) if v.isdecimal() else v for k, v in zip(pairs[::2], pairs[1::2], strict=True)
    }
    training.train("simclr", data="builtin:fashion", overrides=given)
    assert told() == [line]


@pytest.mark.parametrize("given", ["2", "0.5"])
def test_the_recipe_hears_of_the_minutes_that_are_given(given, monkeypatch):
    heard = []

    def recipe(facts):
        heard.append(facts.minutes)
        return simclr(facts)

    simclr = training.recipe_of("simclr")
    monkeypatch.setattr(training, "recipe_of", lambda name: recipe)
    monkeypatch.setattr(training, "execute", lambda run, out=None: None)
    monkeypatch.setattr(training, "finish", lambda result, as_json: 0)
    training.command(["simclr", "--data", "builtin:fashion", "--train.minutes", given])
    overrides = {"train.minutes": float(given) if "." in given else int(given)}
    training.train("simclr", data="builtin:fashion", overrides=overrides)
    training.command(["simclr", "--data", "builtin:fashion"])
    assert heard == [float(given), float(given), 0.0]
    with pytest.raises(UsageError, match=r"--train.minutes wants a number; got 'two'\."):
        training.command(["simclr", "--data", "builtin:fashion", "--train.minutes", "two"])


def test_small_sizes_for_a_processor_are_told_unless_flags_choose_others(monkeypatch, caplog):
    monkeypatch.setattr(training, "execute", lambda run, out=None: None)
    monkeypatch.setattr(training, "finish", lambda result, as_json: 0)
    caplog.set_level("INFO", "manyviews")
    monkeypatch.setattr(launch, "device", lambda: torch.device("cpu"))
    training.command(["ibot", "--data", "builtin:fashion"])
    assert "encoder: a ViT of width 96, depth 4 and patch 7 at 28 px: no GPU" in caplog.text
    assert "width 192" not in caplog.text  # which the recipe makes lighter
    caplog.clear()
    training.command(["ibot", "--data", "builtin:fashion", "--encoder.image-size", "20"])
    assert "encoder: vit at 20 px, by your flags." in caplog.text
    assert "28 px" not in caplog.text
    assert "width 96" not in caplog.text


def test_a_preset_comes_before_the_flags_and_before_overrides(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(training, "execute", lambda run, out=None: runs.append(run))
    monkeypatch.setattr(training, "finish", lambda result, as_json: 0)
    flags = ["--views.preset", "no-up", "--views.global.rotate", "30"]
    training.command(["simclr", "--data", "builtin:fashion", *flags])
    given = {"views.preset": "no-up", "views.global.rotate": 30.0}
    training.train("simclr", data="builtin:fashion", overrides=given)
    for run in runs:
        crops = run.views.global_
        assert (crops.flip_vertical, crops.turn, crops.rotate) == (0.5, 0.75, 30.0)
    assert len(runs) == 2


def test_a_run_s_file_gives_all_settings_and_flags_change_them(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(training, "execute", lambda run, out=None: runs.append(run))
    monkeypatch.setattr(training, "finish", lambda result, as_json: 0)
    first = ["--method.temperature", "0.3", "--train.steps", "7", "--views.preset", "no-up"]
    training.command(["simclr", "--data", "builtin:fashion", *first])
    file = tmp_path / "config.yaml"
    file.write_text(saved.to_yaml(runs[0]))
    training.command(["--config", str(file)])
    assert runs[1] == runs[0]
    training.command([f"--config={tmp_path}", "--seed", "3", "--train.epochs", "2"])
    changed = replace(runs[0].train, steps=0, epochs=2)
    assert runs[2] == replace(runs[0], seed=3, train=changed)
    training.train(config=tmp_path, overrides={"seed": 3, "train.epochs": 2})
    assert runs[3] == runs[2]
    training.command(["--config", str(file), "--data", str(tmp_path)])
    assert runs[4].data.source == str(tmp_path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["simclr", "--config", "x"], "leave out the recipe simclr"),
        (["--config", "/no/such/file"], "--config /no/such/file cannot be read"),
        (["--config"], "--config wants a value"),
    ],
)
def test_a_file_of_settings_that_cannot_be_used_is_one_line(args, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        training.command(args)
