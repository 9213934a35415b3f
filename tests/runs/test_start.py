"""Beginning from weights: what is taken, resized, left and refused, and that a resume is exact."""

import json
import logging
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

import killing
import manyviews
from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import override, parts, struct
from manyviews.encoders import TimmConfig, ViTConfig
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.resample import resample
from manyviews.runs import saved
from manyviews.runs.assemble import assemble
from manyviews.runs.embedder import save_encoder
from manyviews.runs.settings import Teacher
from manyviews.runs.start import Start, digest_of, open_start, paired
from manyviews.runs.subject import open_subject
from manyviews.verbs import train as training
from manyviews.verbs.cli import main
from manyviews.verbs.train import execute

torch.set_num_threads(1)

NAME = "vit_tiny_patch16_224"
SHORT = {
    "train.steps": 2,
    "train.precision": "fp32",
    "data.batch_size": 8,
    "data.workers": 0,
    "train.log_every": 1,
}
NARROW = {"encoder.width": 8, "encoder.grid": 1, "method.hidden": 8, "method.out": 4}
ROWS = {"method.prototypes": 8, "method.bottleneck": 4, "views.local.count": 0}


def photos_in(root, count=16, seed=0):
    root.mkdir()
    random = np.random.default_rng(seed)
    for i in range(count):
        pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02}.png")
    return str(root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("starts")


@pytest.fixture(scope="module")
def photos(folder):
    return photos_in(folder / "photos")


@pytest.fixture(scope="module")
def simclr(folder, photos):
    manyviews.train("simclr", data=photos, out=folder / "simclr", overrides=SHORT | NARROW)
    return folder / "simclr"


def run_of(recipe, photos, start, given=None, early=None):
    """The settings that `train` makes of a recipe, a start and overrides."""
    begun = training._Begun.of(recipe, str(start), early or {})
    default = begun.default(begun.facts(photos))
    return override(default, {"train.minutes": 0.0} | SHORT | (given or {}))


def begun(run):
    """The live pieces of a run, as they are before the first step."""
    return assemble(run, start=open_start(run))


def weights(path):
    return load_file(path / "encoder.safetensors")


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[n], other[n]) for n in state)


@pytest.mark.parametrize("file", ["", "encoder.safetensors"], ids=["run", "file"])
def test_another_method_takes_the_encoder_and_its_settings(simclr, photos, file, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    run = run_of("vicreg", photos, simclr / file)
    assert parts(run.encoders) == parts(saved_settings(simclr).encoders)
    assert same(begun(run).method.encoder.state_dict(), weights(simclr))
    assert "tensors of the encoder 'image' taken" in caplog.text
    assert ("left: this is another method" in caplog.text) == (not file)


def saved_settings(path):
    return saved.from_yaml((path / "config.yaml").read_text(), name="config.yaml")


def test_a_slow_copy_begins_where_its_student_does(simclr, photos):
    method = begun(run_of("byol", photos, simclr, {"method.hidden": 8})).method
    assert same(method.online.encoder.state_dict(), weights(simclr))
    assert same(method.target.copy.encoder.state_dict(), weights(simclr))


@pytest.mark.parametrize(
    ("recipe", "given"), [("simclr", NARROW), ("dino", {**NARROW, **ROWS})], ids=["simclr", "dino"]
)
def test_the_same_method_takes_its_whole_state(recipe, given, photos, tmp_path):
    given = {k: v for k, v in given.items() if recipe != "dino" or k != "method.out"}
    manyviews.train(recipe, data=photos, out=tmp_path / "run", overrides=SHORT | given)
    late = {k: v for k, v in given.items() if not k.startswith("encoder.")}
    method = begun(run_of(recipe, photos, tmp_path / "run", late)).method
    last = tmp_path / "run" / "checkpoints" / "step_2" / "method.safetensors"
    assert same(method.state_dict(), load_file(last))


def test_a_head_of_another_size_is_left_whole_and_named(simclr, photos, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    run = run_of("simclr", photos, simclr, {"method.hidden": 8, "method.out": 6})
    method = begun(run).method
    fresh = assemble(run).method.state_dict()
    ours = method.state_dict()
    assert same(method.encoder.state_dict(), weights(simclr))
    heads = [name for name in ours if name.startswith("projector.")]
    assert heads
    assert all(torch.equal(ours[name], fresh[name]) for name in heads)  # as built, all of it
    assert "left: projector: 3.weight is 4x8 there and 6x8 here" in caplog.text


PIRL = {"encoder.width": 8, "encoder.grid": 1, "method.out": 4, "method.negatives": 4}


def late(given):
    return {k: v for k, v in given.items() if not k.startswith("encoder.")}


@pytest.fixture(scope="module")
def pirl(folder, photos):
    manyviews.train("pirl", data=photos, out=folder / "pirl", overrides=SHORT | PIRL)
    return folder / "pirl"


def test_what_other_heads_made_is_left_with_them(pirl, photos, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    run = run_of("pirl", photos, pirl, late(PIRL) | {"method.hidden": 6})
    ours, fresh = begun(run).method.state_dict(), assemble(run).method.state_dict()
    assert torch.equal(ours["bank.items"], fresh["bank.items"])
    assert "left: head: 0.weight is 512x32 there and 6x32 here" in caplog.text
    assert "left: bank: made by heads that are left" in caplog.text


def test_what_there_is_no_place_for_is_named(simclr, photos):
    start = open_start(run_of("simclr", photos, simclr, late(NARROW)))
    start.method.spare = torch.nn.Linear(2, 2)
    method = assemble(run_of("simclr", photos, simclr, late(NARROW))).method
    said = start.into_method(method, same_data=True)
    assert "left: spare: there is no place for it here" in said


@pytest.mark.parametrize("data", ["same", "copied", "other"])
def test_rows_of_samples_go_with_their_samples(pirl, photos, tmp_path, caplog, data):
    caplog.set_level(logging.INFO, "manyviews")
    if data == "copied":  # with other times
        shutil.copytree(photos, tmp_path / "copied", copy_function=shutil.copyfile)
    where = {"same": photos, "copied": str(tmp_path / "copied")}.get(data)
    where = where or photos_in(tmp_path / "others", seed=1)
    method = begun(run_of("pirl", where, pirl, late(PIRL))).method
    theirs = load_file(pirl / "checkpoints" / "step_2" / "method.safetensors")
    assert torch.equal(method.bank.items, theirs["bank.items"]) == (data != "other")
    assert torch.equal(method.state_dict()["head.0.weight"], theirs["head.0.weight"])
    assert ("left: bank: of the samples of other data" in caplog.text) == (data == "other")


def test_a_queue_on_other_data_does_not_know_whose_its_rows_are(photos, tmp_path):
    given = NARROW | {"method.queue": 32}
    manyviews.train("nnclr", data=photos, out=tmp_path / "run", overrides=SHORT | given)
    other = photos_in(tmp_path / "others", seed=1)
    for data, known in ((photos, True), (other, False)):
        method = begun(run_of("nnclr", data, tmp_path / "run", late(given))).method
        [owner] = [value for name, value in method.named_buffers() if name.endswith("owner")]
        assert bool((owner >= 0).any()) == known


def test_what_a_teacher_taught_is_a_start(photos, tmp_path):
    taught = killing.settings("distill", tmp_path)
    data = replace(taught.data, source=photos, batch_size=8)
    execute(
        replace(taught, data=data, train=replace(taught.train, steps=2, checkpoint_every=2)),
        out=tmp_path / "run",
    )
    encoder = weights(tmp_path / "run")
    for recipe in ("simclr", "distill"):
        run = run_of(recipe, photos, tmp_path / "run")
        if recipe == "distill":
            run = replace(run, teachers=taught.teachers, method=taught.method)
        assert same(begun(run).method.encoder.state_dict(), encoder)


def test_a_start_whose_teacher_is_gone_says_what_to_give(photos, tmp_path):
    teacher = tmp_path / "teacher"
    shutil.copytree(killing.TEACHER, teacher)
    taught = killing.settings("distill", tmp_path)
    told = struct("Teachers", {"teacher": Teacher(source=str(teacher))})
    data = replace(taught.data, source=photos, batch_size=8)
    short = replace(taught.train, steps=2, checkpoint_every=2)
    execute(replace(taught, teachers=told, data=data, train=short), out=tmp_path / "run")
    shutil.rmtree(teacher)
    with pytest.raises(UsageError, match=r"a teacher that cannot be read .*encoder.safetensors\.$"):
        open_start(run_of("simclr", photos, tmp_path / "run"))


def test_a_start_of_sound_is_refused_whatever_side_is_asked_for(photos, tmp_path):
    heard = AudioConvConfig(width=4)
    path = tmp_path / "audio.safetensors"
    save_encoder(path, encoders.build(heard), config=heard, info={})
    for side in ({}, {"encoder.image_size": 64}):
        with pytest.raises(UsageError):
            manyviews.train(
                "simclr",
                data=photos,
                start=path,
                overrides=SHORT | side,
                out=tmp_path / "run",
            )


def test_an_encoder_of_another_architecture_is_refused_and_nothing_changes(simclr, photos):
    run = run_of("vicreg", photos, simclr, {"encoders.image.width": 12})
    with pytest.raises(UsageError, match=r"another encoder .*'image': stem.0.weight is 8x3x3x3"):
        open_start(run).into_encoders({"image": encoders.build(parts(run.encoders)["image"])})
    whole = override(saved_settings(simclr), {"encoders.image.width": 12, "start": str(simclr)})
    fresh = assemble(whole).method
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(UsageError, match=r"^[^\n]*\. Leave out settings of the encoder[^\n]*$"):
        open_start(whole).into_method(fresh, same_data=True)
    assert same(fresh.state_dict(), before)


def test_strides_that_shapes_do_not_show_are_compared(simclr, photos):
    run = run_of("vicreg", photos, simclr, {"encoders.image.stem": "small"})
    with pytest.raises(UsageError, match=r"stem.0 has stride and padding \(2, 2\)"):
        begun(run)


@pytest.fixture(scope="module")
def official(folder):
    """A DINO checkpoint for 32 px, with random weights."""
    torch.manual_seed(1)
    state = timm.create_model(NAME, num_classes=0, img_size=32).state_dict()
    student = {f"module.backbone.{k}": v + 1 for k, v in state.items()}
    teacher = {f"backbone.{k}": v for k, v in state.items()} | {"head.w": torch.zeros(2)}
    torch.save({"student": student, "teacher": teacher}, folder / "dino.pth")
    return folder / "dino.pth", state


def test_another_projects_checkpoint_wants_the_name_of_its_network(official, photos):
    with pytest.raises(
        UsageError, match=r"dino.pth does not say what network.*--encoder.name NAME"
    ):
        run_of("simclr", photos, official[0])


@pytest.mark.parametrize("side", [32, 48])
def test_another_projects_checkpoint_is_resized_by_its_own_rule(official, photos, side):
    path, state = official
    run = run_of("simclr", photos, path, early={"name": NAME, "side": side})
    fed = parts(run.encoders)["image"].input
    assert (fed.side, fed.channels, fed.mean) == (side, 3, (0.485, 0.456, 0.406))  # DINO's
    found = begun(run).method.encoder.model.state_dict()
    grid = (side // 16, side // 16)
    table = resample(state["pos_embed"], grid, old=(2, 2), prefix=1, rule="dino")
    assert torch.equal(found["pos_embed"], table)
    assert torch.equal(found["blocks.3.attn.qkv.weight"], state["blocks.3.attn.qkv.weight"])


@pytest.mark.parametrize(
    ("file", "name", "variant"),
    [
        ("pretrain_res50x1.pth", "test_resnet", "same-padding"),
        ("solo.ckpt", "resnet18", "wide-stem"),
    ],
)
def test_what_a_project_did_otherwise_than_timm_is_a_setting(photos, tmp_path, file, name, variant):
    stem = "small" if variant == "wide-stem" else "imagenet"
    torch.manual_seed(2)
    made = encoders.build(TimmConfig(name=name, input=Pixels(side=32), stem=stem))
    state = made.model.state_dict()
    if variant == "wide-stem":
        names = {f"backbone.{k}": v for k, v in state.items()}
        state = {"state_dict": names | {"projector.0.weight": torch.zeros(2)}}
    torch.save(state, tmp_path / file)
    run = run_of("simclr", photos, tmp_path / file, early={"name": name, "side": 32})
    assert parts(run.encoders)["image"].variant == variant
    x = torch.randn(2, 3, 32, 32)
    wanted = open_subject(tmp_path / file, encoder=name, image_size=32)
    started, plain = (assemble(run, start=s).method.encoder for s in (open_start(run), None))
    plain.load_state_dict(started.state_dict())  # as when it is resumed
    for encoder in (started, plain):
        torch.testing.assert_close(encoder.eval()(x).pooled, wanted(x))
    assert not torch.allclose(made.eval()(x).pooled, wanted(x), rtol=1e-3)


def test_the_command_line_takes_the_name_of_the_network(official, photos, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "execute", lambda run, out: seen.append(run) or 1 / 0)
    flags = ["--start", str(official[0]), "--encoder.name", NAME, "--encoder.image-size", "32"]
    with pytest.raises(ZeroDivisionError):
        training.command(["simclr", "--data", photos, *flags, "--train.steps", "1"])
    [run] = seen
    assert parts(run.encoders)["image"].name == NAME
    assert (run.start, parts(run.encoders)["image"].input.side) == (str(official[0]), 32)


def test_positions_of_a_run_come_to_another_size(photos, tmp_path, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    small = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=2, heads=2)
    small = replace(small, interpolation="mae")
    torch.manual_seed(3)
    theirs = encoders.build(small)
    save_encoder(tmp_path / "e.safetensors", theirs, config=small, info={})
    run = run_of("simclr", photos, tmp_path / "e.safetensors", early={"side": 24})
    model = begun(run).method.encoder.model
    wanted = resample(theirs.model.pos_embed, (6, 6), old=(4, 4), prefix=1, rule="mae")
    assert torch.equal(model.pos_embed, wanted)
    assert "positions resized from 4x4 to 6x6 as mae does" in caplog.text
    with pytest.raises(UsageError, match="it has 2 heads there, 4 in this run"):
        begun(override(run, {"encoders.image.heads": 4}))


def test_timms_weights_bring_their_size_and_normalisation(photos, monkeypatch):
    make, state = timm.create_model, {}

    def create(name, *, pretrained=False, **given):
        made = make(name, pretrained=False, **given)
        state.update(made.state_dict() if pretrained else {})
        return made

    monkeypatch.setattr(timm, "create_model", create)
    run = run_of("simclr", photos, "timm:test_vit.r160_in1k")
    fed = parts(run.encoders)["image"].input
    assert (fed.side, fed.mean) == (160, (0.5, 0.5, 0.5))
    found = begun(run).method.encoder.model.state_dict()
    assert torch.equal(found["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])


def test_several_encoders_are_found_by_name():
    assert paired({"a": 1}, {"image": 2}, "RUN") == {"image": 1}
    assert paired({"video": 1, "audio": 2}, {"video": 3, "points": 4}, "RUN") == {"video": 1}
    with pytest.raises(UsageError, match="--start RUN has the encoder a, b, and this run trains c"):
        paired({"a": 1, "b": 2}, {"c": 3}, "RUN")


def test_an_encoder_that_is_not_in_the_start_is_told(simclr, photos):
    config = parts(saved_settings(simclr).encoders)["image"]
    start = Start("RUN", "", {"image": encoders.build(config)})
    ours = {"image": encoders.build(config), "second": encoders.build(config)}
    before = {n: v.clone() for n, v in ours["second"].state_dict().items()}
    said = start.into_encoders(ours)
    assert said[-1] == "the encoder 'second' is not in it and begins with random weights"
    assert same(ours["second"].state_dict(), before)
    assert same(ours["image"].state_dict(), start.encoders["image"].state_dict())


def test_starts_that_are_not_there_or_broken_are_refused(simclr, photos, tmp_path):
    for path, words in [(tmp_path / "x", "is not there"), (tmp_path, "is no run directory")]:
        with pytest.raises(UsageError, match=words):
            run_of("simclr", photos, path)
    broken = tmp_path / "broken"
    shutil.copytree(simclr, broken)
    file = broken / "checkpoints" / "step_2" / "method.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match="broken is damaged"):
        begun(run_of("simclr", photos, broken))
    assert (broken / "checkpoints" / "step_2").is_dir()  # it is somebody else's to mend


def test_adapt_wants_something_to_go_on_from(photos):
    with pytest.raises(UsageError, match="adapt goes on from weights that are there: add --start"):
        manyviews.train("adapt", data=photos)


def test_help_shows_the_start(capsys):
    with pytest.raises(SystemExit):
        main(["train", "adapt", "--help"])
    said = capsys.readouterr().out
    assert "--start" in said
    assert "--optim.layer-decay" in said
    assert "--train.freeze-encoder" in said


def test_settings_saved_before_there_were_starts_are_read(simclr):
    text = (simclr / "config.yaml").read_text()
    assert "start: ''" in text
    older = "".join(line for line in text.splitlines(keepends=True) if "start: ''" not in line)
    assert saved.from_yaml(older, name="config.yaml").start == ""


FROZEN, STEPS = 3, 6


@pytest.fixture(scope="module")
def adapted(folder, photos, simclr):
    """BYOL from SimCLR's encoder, which stands still for three of six steps."""
    begin = folder / "begin"
    shutil.copytree(simclr, begin)
    given = {"method.hidden": 8, "method.out": 4, "train.freeze_encoder": float(FROZEN)}
    given |= {"train.checkpoint_every": 1, "train.keep": 9, "train.steps": STEPS}
    given |= {"optim.layer_decay": 0.5}
    out = folder / "adapted"
    result = manyviews.train("byol", data=photos, start=begin, out=out, overrides=SHORT | given)
    return out, begin, result


def test_a_slow_copy_that_does_not_fit_leaves_all_else_as_it_was(adapted):
    run = replace(saved_settings(adapted[0]), start=str(adapted[0]))
    start, fresh = open_start(run), assemble(run).method
    start.method.target.copy.encoder.stem[0].stride = (1, 1)  # the student still fits
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(UsageError, match=r"'target.copy.encoder': stem.0 has stride"):
        start.into_method(fresh, same_data=False)
    assert same(fresh.state_dict(), before)


def states(path, step):
    return load_file(path / "checkpoints" / f"step_{step}" / "method.safetensors")


def test_a_frozen_encoder_stays_to_the_last_bit_with_its_statistics(adapted):
    first = states(adapted[0], 0)
    inside = [name for name in first if ".encoder." in name]
    assert any("running_var" in name for name in inside)
    assert any(name.startswith("target.") for name in inside)
    for step in range(1, STEPS + 1):
        now = states(adapted[0], step)
        moved = {n for n in first if not torch.equal(first[n], now[n])}
        assert any(name.startswith("predictor.") for name in moved) or step == 1  # warm-up from 0
        assert (not moved & set(inside)) == (step <= FROZEN), step
    heads = [name for name in moved if name.startswith("online.head")]
    assert heads
    assert {n for n in inside if "running" in n} <= moved


def test_a_resumed_run_goes_on_through_the_thaw_without_its_start(adapted, tmp_path, caplog):
    whole, begin, _ = adapted
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for step in range(2, STEPS + 1):
        shutil.rmtree(cut / "checkpoints" / f"step_{step}")
    (cut / "checkpoints" / "latest").write_text("step_1")
    moved = begin.with_name("moved")
    begin.rename(moved)
    try:
        manyviews.resume(cut)
    finally:
        moved.rename(begin)
    assert same(states(cut, STEPS), states(whole, STEPS))
    assert saved_settings(cut).start == str(begin)
    assert f"{begin} is gone since {cut} began from it" in caplog.text
    for name in ("start.safetensors", "encoder.safetensors"):
        assert same(load_file(cut / name), load_file(whole / name))


def test_a_start_that_trained_on_is_told(adapted, tmp_path, caplog):
    whole, begin, _ = adapted
    manifest = begin / "checkpoints" / "step_2" / "manifest.json"
    text = manifest.read_text()
    noted = json.loads((whole / "began.json").read_text())["start"]
    assert noted == digest_of(str(begin))
    assert noted in text
    manifest.write_text(text.replace(noted, "0" * 64))
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    try:
        manyviews.resume(cut)
    finally:
        manifest.write_text(text)
    assert "has changed since" in caplog.text


def test_the_frozen_start_is_kept_and_held_against_the_result(adapted):
    whole, begin, result = adapted
    assert same(load_file(whole / "start.safetensors"), weights(begin))
    kept = json.loads((whole / "against.json").read_text())
    found = kept["start"]["image"]
    assert kept["step"] == STEPS
    assert found["what"] == "the frozen start"
    assert {"lidar", "view_consistency", "rankme"} <= found["before"].keys() & found["after"].keys()
    assert found["before"]["lidar"] != found["after"]["lidar"]
    assert result.against == [kept["untrained"]["image"]["sentence"], found["sentence"]]
    assert found["sentence"] in result.lines()
    worse = [kept[what]["image"] for what in ("start", "untrained")]
    told = max(worse, key=lambda one: ("ok", "warn", "bad").index(one["light"]))
    read = re.sub(
        r"<[^>]+>", "", (whole / "report.html").read_text()
    )  # as eyes do: flags have tags
    assert told["sentence"] in read


def test_a_file_is_noted_by_its_hash(simclr, photos):
    start = open_start(run_of("vicreg", photos, simclr / "encoder.safetensors"))
    assert start.digest == digest_of(str(simclr / "encoder.safetensors"))
    text = safetensors.torch.save({"a": torch.zeros(1)})
    (simclr.parent / "other.safetensors").write_bytes(text)
    assert digest_of(str(simclr.parent / "other.safetensors")) != start.digest
