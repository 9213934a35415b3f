"""The command line as a user meets it: one line for each mistake, files where promised."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.methods.catalog import METHODS
from manyviews.recipes import RECIPES
from manyviews.verbs.cli import VERBS, main
from manyviews.verbs.export import ExportFormat

torch.set_num_threads(1)

TINY = ["--train.steps", "4", "--data.batch-size", "16", "--encoder.width", "8"]
TINY += [
    "--method.hidden",
    "16",
    "--method.out",
    "16",
    "--train.precision",
    "fp32",
    "--train.log-every",
    "1",
]


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """48 grey images of 16x16 in two class folders, and one file that is no image."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(48):
        folder = root / ("bright" if i % 2 else "dark")
        folder.mkdir(exist_ok=True)
        level = 150 if i % 2 else 30
        pixels = rng.integers(level, level + 80, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return root


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as stop:
        main(["train", "simclr", "--data", str(photos), "--out", str(out), *TINY])
    assert stop.value.code == 0
    return out


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return stop.value.code


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_terminal_that_cannot_show_a_character_gets_an_escape(tmp_path, encoding):
    for i in range(4):
        Image.fromarray(np.full((8, 8), 9 * i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "плохо.png").write_bytes(b"junk")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"junk")
    made = subprocess.run(
        [sys.executable, "-m", "manyviews", "doctor", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    text = made.stdout.decode(encoding)
    assert ("плохо" if encoding == "utf-8" else "\\u043f\\u043b\\u043e\\u0445\\u043e") in text
    assert "udcff.png" in text
    assert "mean" in text


def complaint(capsys, *arguments, code):
    """The one line on standard error of a command that must fail with `code`."""
    capsys.readouterr()
    assert run(*arguments) == code
    said = capsys.readouterr().err.strip().splitlines()
    complaints = [line for line in said if line.startswith("manyviews: ")]
    assert len(complaints) == 1
    assert said[-1] == complaints[0]
    assert not any("Traceback" in line for line in said)
    return complaints[0]


def test_the_overview_names_every_format_of_export(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    [line] = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  export ")]
    assert set(get_args(ExportFormat)) <= set(re.split(r"[ |]", line))


def test_help_answers_without_importing_torch():
    code = "import sys; from manyviews.verbs.cli import main\ntry: main(['--help'])\nfinally: "
    code += "assert 'torch' not in sys.modules and 'tyro' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: manyviews VERB" in done.stdout


@pytest.mark.parametrize(
    ("verb", "given"),
    [("embed", "RUN"), ("pack", "DATA OUT"), ("compare", "RUN [RUN ...]"), ("list", "{recipes,")],
)
def test_help_calls_what_is_given_without_a_flag_by_its_name(capsys, verb, given):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    usage = capsys.readouterr().out.partition("\n")[0]
    assert f" {given}" in usage
    assert "STR|PATH STR|PATH" not in usage


def test_the_help_of_train_has_every_recipe_in_one_piece(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert set(RECIPES) <= set(said.split())
    assert max(map(len, said.splitlines())) <= 96


def test_the_help_of_a_recipe_names_the_short_flags_of_its_encoder(capsys):
    with pytest.raises(SystemExit):
        main(["train", "simclr", "--encoder.name", "vit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--encoder.X is short for --encoders.image.X" in said
    assert "--encoder.name NAME takes another encoder" in said
    assert "--encoders.image.patch INT" in said
    with pytest.raises(SystemExit):
        main(["train", "avid", "--help"])
    assert "is short for" not in capsys.readouterr().out  # two encoders have whole names alone


def test_the_overview_names_all_formats_of_export():
    [said] = re.findall(r"--format (\S+)", VERBS["export"])
    assert sorted(said.split("|")) == sorted(get_args(ExportFormat))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "no verb 'trian'. Did you mean 'train'?"),
        (["train"], "train wants a recipe first"),
        (["train", "simlcr", "--data", "x"], "no recipe 'simlcr'. Did you mean 'simclr'?"),
        (["train", "simclr"], "train wants data: manyviews train simclr --data DIR."),
        (["train", "simclr", "my photos"], "manyviews train simclr --data 'my photos'."),
        (["train", "simclr", "--data", "/no/such/place"], "/no/such/place"),
        (["resume", "nowhere"], "nowhere is no run directory: there is no such folder in"),
        (["report", "nowhere"], "nowhere is no run directory: there is no such folder in"),
        (["diagnose", "nowhere"], "There is no file or folder 'nowhere' in"),
        (["embed", "nowhere", "--data", "x", "--out", "f.npy"], "file or folder 'nowhere' in"),
        (["evaluate", "x.npy", "--data", "x"], "--out x.npy` writes one"),
        (["evaluate", "x.pth", "--encoder", "resnet18", "--data", "x"], "folder 'x.pth'"),
        (["evaluate"], "manyviews evaluate needs RUN and --data. See manyviews evaluate --help"),
        (["list"], "list needs {recipes,methods,encoders,protocols}. See manyviews list --help."),
        (["list", "recipe"], "See manyviews list"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(capsys, arguments, words):
    assert words in complaint(capsys, *arguments, code=2)


def test_folders_without_images_are_refused(capsys, tmp_path):
    empty, words = tmp_path / "empty", tmp_path / "words"
    empty.mkdir()
    words.mkdir()
    (words / "a.txt").write_text("no image")
    for folder in (empty, words):
        assert str(folder) in complaint(capsys, "train", "simclr", "--data", folder, code=2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--train.stepz", "5"], "Unrecognized options: --train.stepz, 5. Did you mean --train.st"),
        (["--train.steps", "many"], "Error parsing --train.steps"),
        (["--train.steps", "-1"], "--train.steps -1 is no duration"),
        (["--train.minutes", "nan"], "--train.minutes nan is no duration"),
        (["--on-collapse", "maybe"], "invalid choice 'maybe' for argument '--train.on-collapse'"),
        (["--train.steps", "5", "--train.epochs", "2"], "give exactly one of --train.steps"),
        (["--views.local.count", "2"], "Unrecognized options: --views.local.count"),
        (["--views.global.count", "1"], "simclr needs 2 'global' a sample; the view plan makes 1"),
        (
            ["--views.global.size", "16", "--encoder.image-size=32"],
            "--encoder.image-size contradicts --views.global.size",
        ),
        (
            ["--data.channels", "1", "--encoder.channels", "3"],
            "--encoder.channels contradicts --da",
        ),
        (["--encoder.image-size", "0"], "--encoders.image.input.side is 0; wanted from 1 to 8192"),
        (["--encoder.name", "resnet81"], "resnet81"),
        (["--data.batch-size", "100"], "100"),
        (["--data.channels", "x"], "--data.channels wants a whole number"),
    ],
)
def test_a_setting_that_cannot_be_gets_one_line(capsys, photos, tmp_path, flags, words):
    command = ["train", "simclr", "--data", photos, "--out", tmp_path / "run", *flags]
    assert words in complaint(capsys, *command, code=2)


def test_views_that_a_method_would_not_read_get_one_line(capsys, photos, tmp_path):
    command = ["train", "barlow", "--data", photos, "--out", tmp_path / "run"]
    said = complaint(capsys, *command, "--views.global.count", "3", code=2)
    assert "barlow reads 2 'global' a sample; the view plan makes 3" in said


def test_training_leaves_the_files_that_were_promised(trained):
    for name in ("config.yaml", "metrics.jsonl", "encoder.safetensors", "report.html", "log.txt"):
        assert (trained / name).stat().st_size > 0, name
    assert (trained / "checkpoints" / "latest").read_text().strip() == "step_4"
    page = (trained / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_second_run_in_the_same_directory_is_refused(capsys, photos, trained):
    command = ["train", "simclr", "--data", photos, "--out", trained, *TINY]
    assert "already holds a run" in complaint(capsys, *command, code=2)


def test_embed_writes_names_and_features(capsys, photos, trained, tmp_path):
    out = tmp_path / "features.parquet"
    assert run("embed", trained, "--data", photos, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(out)
    table = pq.read_table(out)
    assert table.num_rows == 48
    assert table.column("path")[0].as_py().endswith(".png")
    assert len(table.column("feature")[0].as_py()) == manyviews.load(trained).dim


def test_patches_are_embedded_too(photos, trained, tmp_path):
    out = tmp_path / "patches.npy"
    assert run("embed", trained, "--data", photos, "--out", out, "--level", "patch") == 0
    assert np.load(out).ndim == 3


def test_evaluate_prints_one_json_document(capsys, photos, trained):
    capsys.readouterr()
    arguments = ["--data", photos, "--protocol", "knn", "linear", "--json"]
    assert run("evaluate", trained, *arguments) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    assert list(found) == ["knn", "linear"]
    for protocol, result in found.items():
        assert result["value"] == result["measures"]["accuracy"]["value"] > 0.9
        assert set(result["beside"]) == {"raw pixels", "centred pixels", "untrained encoder"}
        [kept] = (trained / "evaluation").glob(f"{protocol}--*.json")
        assert json.loads(kept.read_text())["data"] == str(photos)


def test_load_gives_a_frozen_module_with_its_transform(photos, trained):
    encoder = manyviews.load(trained)
    image = encoder.transform(photos / "dark" / "00.png")
    assert encoder(image[None]).shape == (1, encoder.dim)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_export_refuses_what_timm_has_no_model_for(capsys, trained, tmp_path):
    words = complaint(
        capsys, "export", trained, "--format", "timm", "--out", tmp_path / "x.safetensors", code=2
    )
    assert "resnet_small" in words
    assert run("export", trained, "--out", tmp_path / "copy.safetensors") == 0
    assert manyviews.load(tmp_path / "copy.safetensors").dim == manyviews.load(trained).dim


def test_resume_of_a_finished_run_changes_nothing(capsys, trained):
    before = (trained / "metrics.jsonl").read_bytes()
    assert run("resume", trained) == 0
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_a_collapse_ends_with_exit_code_20_if_asked_to(photos, tmp_path):
    flags = ["--on-collapse=stop", "--train.health-every", "1", "--train.steps", "100"]
    flags += ["--optim.lr", "100", "--optim.warmup", "0"]
    command = ["train", "simclr", "--data", photos, "--out", tmp_path / "run", *TINY, *flags]
    assert run(*command) == 20
    assert (tmp_path / "run" / "report.html").is_file()


def test_changed_data_is_refused_on_resume(capsys, photos, trained):
    extra = photos / "dark" / "later.png"
    Image.new("L", (16, 16)).save(extra)
    try:
        assert "has changed since" in complaint(capsys, "resume", trained, code=2)
    finally:
        extra.unlink()


def test_an_unwritable_place_is_named(capsys, photos, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    command = ["train", "simclr", "--data", photos, "--out", blocker / "run", *TINY]
    assert str(blocker) in complaint(capsys, *command, code=1)


def test_images_of_five_channels_go_the_whole_way(capsys, tmp_path):
    rng = np.random.default_rng(0)
    data, out = tmp_path / "data", tmp_path / "run"
    for i in range(40):
        path = data / ("bright" if i % 2 else "dark") / f"{i:02d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(100 * (i % 2), 100 * (i % 2) + 100, (16, 16, 5), dtype=np.uint8)
        pixels[..., 3] = 7  # a channel that is the same everywhere
        np.save(path, pixels)
    assert run("doctor", data, "--channels", 5) == 0
    flags = ["--data.channels", 5, "--data.workers", 0]
    assert "manyviews train simclr" in (said := capsys.readouterr().out)
    assert "--data.channels 5" in said
    assert run("train", "simclr", "--data", data, "--out", out, *TINY, *flags) == 0
    features = tmp_path / "features.npy"
    assert run("embed", out, "--data", data, "--out", features) == 0
    embedder = manyviews.load(out)
    made = np.load(features)
    assert made.shape == (40, embedder.dim)
    assert np.isfinite(made).all()
    assert made.std(axis=0).max() > 1e-3
    first = min(data.glob("bright/*.npy"))
    x = torch.stack([embedder.transform(first), embedder.transform(np.load(first))])
    np.testing.assert_allclose(embedder(x).numpy(), made[[0, 0]], atol=1e-5)
    assert run("evaluate", out, "--data", data) == 0
    (out / "report.html").unlink()
    assert run("report", out) == 0
    assert "data:image/" in (out / "report.html").read_text()


def test_doctor_reports_and_recommends(capsys, photos):
    assert run("doctor", photos) == 0
    told = capsys.readouterr()
    said = told.out
    assert "48" in said
    assert said.index("encoder: ") < said.index("train: manyviews train simclr")
    assert "encoder:" not in told.err
    assert "manyviews train simclr --data" in said
    assert "20 minutes are roughly" in said
    assert "passes over your 48 images" in said
    assert f"manyviews doctor --bench {photos} simclr" in said


def test_python_takes_the_same_words(photos, tmp_path):
    result = manyviews.train(
        "vicreg",
        data=str(photos),
        out=tmp_path / "run",
        overrides={
            "train.steps": 2,
            "data.batch_size": 16,
            "encoder.width": 8,
            "method.hidden": 16,
            "method.out": 16,
        },
    )
    assert (result.status, result.steps) == ("done", 2)


def test_recipes_are_listed_with_what_tells_them_apart():
    found = manyviews.listing("recipes")
    assert found.items["simclr"] == manyviews.listing("methods").items["simclr"].split(" [")[0]
    assert found.items["swav"].endswith(" views. With local crops.")
    assert found.items["simclr-imagenet"] == RECIPES.about("simclr-imagenet")
    assert found.items["rho-byol"].endswith("hardware: BYOL on two clips of each.")
    lines = list(found.items.values())
    assert {line for line in lines if lines.count(line) > 1} == set()
    assert "doctor DATA` recommends one" in found.lines()[-1]


def test_methods_are_listed_with_what_they_are_held_against():
    notes = (Path(__file__).parents[1] / "reference" / "data" / "README.md").read_text()
    made = set(re.findall(r"\.npz`[^:]*: (?:`[^`]*`: )?([\w.-]+/[\w.-]+) at ", notes))
    told = {name: entry.held for name, entry in METHODS.items()}
    named = {one for held in told.values() for one in re.findall(r"[\w.-]+/[\w.-]+", held)}
    # MAE on clips, on sounds and on Hiera, and InfoMin's views, which have no methods of their own
    of_others = {"MCG-NJU/VideoMAE", "facebookresearch/AudioMAE", "facebookresearch/hiera"}
    assert made - named == of_others | {"HobbitLong/PyContrast"}
    assert all(name in notes for name in named)
    listed = manyviews.listing("methods")
    for name, held in (("moco", "facebookresearch/moco"), ("nnclr", "formula")):
        assert re.search(rf" \[{held}(; kNN 0\.\d\d)?\]$", listed.items[name]), name
    assert "two processes" in listed.lines()[-1]
