"""The verb `compare`: rows that are right, and runs that do not belong together."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError
from manyviews.reports.table import Cell
from manyviews.runs import past
from manyviews.verbs import cli
from manyviews.verbs.compare import beside as comparing

torch.set_num_threads(1)

LOOK = {"sample": 30, "views": 2, "clusters": 3}
TINY = {
    "train.steps": 4,
    "train.precision": "fp32",
    "train.log_every": 1,
    "data.batch_size": 8,
    "encoder.width": 8,
    "method.hidden": 16,
    "method.out": 16,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes, told apart by colour."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for c, name in enumerate("abc"):
        (root / name).mkdir()
        for i in range(20):
            small = random.normal(128, 40, (4, 4, 3))
            small[..., c] += 60
            pixels = np.clip(small.repeat(6, 0).repeat(6, 1), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """Two runs of different seeds, diagnosed and evaluated."""
    root = tmp_path_factory.mktemp("trained")
    for seed in (0, 1):
        run = root / f"seed{seed}"
        manyviews.train("simclr", data=str(photos), out=run, overrides=TINY | {"seed": seed})
        manyviews.diagnose(run, labels=str(photos), **LOOK)
        manyviews.evaluate(run, data=str(photos), protocol=("knn", "linear"))
    return root


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """Copies, to be spoiled; nothing may be diagnosed or evaluated again."""
    shutil.copytree(trained, tmp_path / "runs")

    def refuse(run, **_):
        raise AssertionError(f"{run} was measured again")

    monkeypatch.setattr(comparing, "diagnose", refuse)
    monkeypatch.setattr(comparing, "evaluate", refuse)
    return tmp_path / "runs"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def row(found, name):
    return next(r for r in found.table.rows if r.name == name)


def test_a_rows_numbers_are_those_of_the_run(runs, photos):
    found = manyviews.compare([runs / "seed0", runs / "seed1"])
    cells = row(found, "seed1").cells
    diagnosis = json.loads((runs / "seed1" / "diagnosis.json").read_text())
    encoder = diagnosis["spaces"]["encoder"]
    assert cells["effective_rank"].value == encoder["effective_rank"]
    apart = encoder["alignment"] / (2 - 2 * encoder["cosine"])
    assert cells["views_apart"].value == pytest.approx(apart)
    assert cells["entropy_joe"].value == diagnosis["spaces"]["projector"]["entropy_joe"]
    assert cells["nmi"].value == diagnosis["groups"]["nmi"]
    bars = diagnosis["invariance"]["encoder"].values()
    assert cells["change_encoder"].value == pytest.approx(np.mean([b["change"] for b in bars]))
    assert cells["change_encoder"].low == pytest.approx(np.mean([b["low"] for b in bars]))
    assert (cells["steps"].value, cells["passes"].value) == (4, 4 * 8 / 60)
    outcome = json.loads((runs / "seed1" / "outcome.json").read_text())
    assert cells["images_per_second"].value == pytest.approx(outcome["images_per_second"], rel=0.01)
    assert 50 < cells["peak_memory"].value < 20_000
    [kept] = (runs / "seed1" / "evaluation").glob("knn--*.json")
    knn = json.loads(kept.read_text())
    key = f"knn|{photos}|accuracy"
    assert cells[key] == Cell(**knn["measures"]["accuracy"])
    assert row(found, "raw pixels").cells[key].value == knn["beside"]["raw pixels"]["value"]
    names = [r.name for r in found.table.rows]
    assert names[:3] == ["raw pixels", "centred pixels", "untrained resnet_small"]
    assert names[-2:] == ["seed0", "seed1"]


def test_the_verdict_of_a_run_is_all_three_of_its_lights(runs):
    found = manyviews.compare([runs / "seed0", runs / "seed1"])
    said = row(found, "seed1").words["verdict"]
    assert re.fullmatch(r"learned: \w+, not collapsed: \w+, enough: watch", said)  # of four steps
    assert "learned: watch" in said
    file = runs / "seed1" / "diagnosis.json"
    told = json.loads(file.read_text())
    told["verdict"]["answers"] = told["verdict"]["answers"][1:2]
    file.write_text(json.dumps(told))
    found = manyviews.compare([runs / "seed0", runs / "seed1"])
    assert row(found, "seed1").words["verdict"] == told["state"]["title"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("config.yaml", "batch_size: 8", "batch_size: 16", "batch is 8 in seed0 but 16 in seed1"),
        ("config.yaml", "steps: 4", "steps: 5", "budget is 4 steps in seed0 but 5 steps in seed1"),
        ("began.json", '"digest": "', '"digest": "0', "data is .* in seed0 but .* in seed1"),
        ("outcome.json", '"done"', '"interrupted"', "end is done in seed0 but interrupted at 4"),
    ],
)
def test_runs_that_differ_are_refused_in_one_line_unless_told_to(runs, file, old, new, words):
    edit(runs / "seed1" / file, old, new)
    both = [runs / "seed0", runs / "seed1"]
    with pytest.raises(UsageError, match=words) as error:
        manyviews.compare(both)
    assert len(str(error.value).splitlines()) == 1
    assert "--anyway" in str(error.value)
    found = manyviews.compare(both, anyway=True)
    assert len(found.table.differences) == 1
    assert re.search(words, found.lines()[0])


def test_a_killed_run_does_not_count_as_done(runs):
    (runs / "seed1" / "outcome.json").unlink()
    (runs / "seed1" / "encoder.safetensors").unlink()
    both = [runs / "seed0", runs / "seed1"]
    with pytest.raises(UsageError, match="end is done in seed0 but unfinished at 4 in seed1"):
        manyviews.compare(both)
    cells = row(manyviews.compare(both, anyway=True), "seed1").cells
    assert "steps" in cells
    assert not any(key.startswith("knn") for key in cells)  # of another encoder


def test_a_run_without_health_lines_or_memory_still_has_a_row(runs):
    (runs / "seed1" / "outcome.json").unlink()
    (runs / "seed1" / "metrics.jsonl").write_text("")
    both = [runs / "seed0", runs / "seed1"]
    cells = row(manyviews.compare(both), "seed1").cells
    assert cells["effective_rank"].value > 0
    assert "peak_memory" not in cells
    assert "images_per_second" not in cells


def test_a_training_shorter_than_its_log_still_took_steps(runs):
    outcome = json.loads((runs / "seed1" / "outcome.json").read_text())
    lines = (runs / "seed1" / "metrics.jsonl").read_text().splitlines()
    (runs / "seed1" / "metrics.jsonl").write_text("\n".join(lines[:1]))  # as --train.log-every 10
    cells = row(manyviews.compare(runs / "seed1"), "seed1").cells
    assert cells["steps"].value == outcome["steps"] == 4
    assert cells["minutes"].value == outcome["seconds"] / 60


def test_one_run_and_the_same_run_twice_are_one_row(runs):
    once = manyviews.compare(runs / "seed0")
    twice = manyviews.compare([runs / "seed0", runs / "seed1" / ".." / "seed0"])
    for found in (once, twice):
        assert [r.name for r in found.table.rows if r.trained] == ["seed0"]


def test_runs_of_the_same_name_are_told_apart(runs):
    shutil.copytree(runs / "seed0", runs / "other" / "seed0")
    found = manyviews.compare([runs / "seed0", runs / "other" / "seed0"])
    assert len({r.name for r in found.table.rows if r.trained}) == 2


def test_results_of_an_older_encoder_or_protocol_are_left_out(runs):
    [knn] = (runs / "seed0" / "evaluation").glob("knn--*.json")
    edit(knn, '"encoder": "', '"encoder": "0')
    [linear] = (runs / "seed1" / "evaluation").glob("linear--*.json")
    version = json.loads(linear.read_text())["version"]
    edit(linear, f'"version": {version}', f'"version": {version - 1}')
    found = manyviews.compare([runs / "seed0", runs / "seed1"])
    having = {r.name: {k.split("|")[0] for k in r.cells if "|" in k} for r in found.table.rows}
    assert having["seed0"] == {"linear"}
    assert having["seed1"] == {"knn"}
    assert any("older version" in note for note in found.table.notes)


@pytest.mark.parametrize(("minutes", "said"), [(1.0, "1 minute"), (2.5, "2.5 minutes")])
def test_a_budget_of_time_is_said_in_words(runs, minutes, said):
    run = past.read_past(runs / "seed0", name="seed0")
    train = replace(run.settings.train, steps=0, epochs=0, minutes=minutes)
    assert replace(run, settings=replace(run.settings, train=train)).budget == said


def test_a_diagnosis_of_an_older_checkpoint_or_version_is_not_used(runs):
    run = past.read_past(runs / "seed0", name="seed0")
    version = f'"version": {past.diagnosis_of(run)["version"]}'
    edit(runs / "seed0" / "diagnosis.json", '"4": {', '"3": {')
    assert past.diagnosis_of(run) == {}
    edit(runs / "seed0" / "diagnosis.json", '"3": {', '"4": {')
    assert past.diagnosis_of(run)
    edit(runs / "seed0" / "diagnosis.json", version, '"version": 1')
    assert past.diagnosis_of(run) == {}


def test_what_is_missing_is_measured(trained, photos, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(trained / "seed0", run)
    before = json.loads((run / "diagnosis.json").read_text())
    (run / "diagnosis.json").unlink()
    shutil.rmtree(run / "evaluation")
    asked = []

    def look(run, *, which, labels, max_pixels):
        asked.append(labels)
        return manyviews.diagnose(run, which=which, labels=labels, max_pixels=max_pixels, **LOOK)

    monkeypatch.setattr(comparing, "diagnose", look)
    monkeypatch.setattr(comparing, "PROTOCOLS", ("knn",))
    found = manyviews.compare([run], data=str(photos))
    assert asked == [str(photos)]
    assert row(found, "run").cells["nmi"].value == before["groups"]["nmi"]
    assert f"knn|{photos}|accuracy" in row(found, "untrained resnet_small").cells


def spoil(runs, change, *, name="seed1"):
    """Change what each evaluation of a run says of its data."""
    for file in (runs / name / "evaluation").glob("*.json"):
        said = json.loads(file.read_text())
        change(said)
        file.write_text(json.dumps(said))


def test_results_on_other_data_of_the_same_name_are_refused_unless_told_to(runs, photos):
    both = [runs / "seed0", runs / "seed1"]
    assert manyviews.compare(both).table.differences == []
    spoil(runs, lambda said: said.update(content="0123456789"))
    words = rf"labelled data {photos} is \w{{8}} in seed0 but 01234567 in seed1 \(knn, linear\)"
    with pytest.raises(UsageError, match=words) as error:
        manyviews.compare(both)
    assert len(str(error.value).splitlines()) == 1
    assert "Evaluate again, or add --anyway" in str(error.value)
    found = manyviews.compare(both, anyway=True)
    assert len(found.table.differences) == 1
    assert re.search(words, found.lines()[0])
    assert manyviews.compare(both[1]).table.differences == []


@pytest.mark.parametrize("change", [{"content": ""}, None], ids=["empty", "missing"])
def test_results_from_before_data_were_noted_are_shown_as_unknown(runs, photos, change):
    spoil(runs, lambda said: said.update(change) if change else said.pop("content"))
    found = manyviews.compare([runs / "seed0", runs / "seed1"])
    said = f"Whether seed1 saw the same samples of {photos} as the others is unknown"
    assert sum(note.startswith(said) for note in found.table.notes) == 1
    assert f"knn|{photos}|accuracy" in row(found, "seed1").cells
    alone = manyviews.compare(runs / "seed1")
    assert not any("unknown" in note for note in alone.table.notes)


@pytest.fixture
def measured(runs, photos, monkeypatch):
    """What `compare` evaluates again, in order."""
    asked = []

    def evaluate(run, **told):
        asked.append((run.name, *told["protocol"]))
        return manyviews.evaluate(run, **told)

    def look(run, *, which, labels, max_pixels):
        return manyviews.diagnose(run, which=which, labels=labels, max_pixels=max_pixels, **LOOK)

    monkeypatch.setattr(comparing, "evaluate", evaluate)
    monkeypatch.setattr(comparing, "diagnose", look)
    monkeypatch.setattr(comparing, "PROTOCOLS", ("knn", "linear"))
    return asked


def test_results_on_what_data_no_longer_are_are_measured_again(runs, photos, measured):
    both = [runs / "seed0", runs / "seed1"]
    manyviews.compare(both, data=str(photos))
    assert measured == []
    spoil(runs, lambda said: said.update(content="0123456789"))
    found = manyviews.compare(both, data=str(photos))
    assert measured == [("seed1", "knn", "linear")]
    assert found.table.differences == []
    spoil(runs, lambda said: said.pop("content"))
    manyviews.compare(both, data=str(photos))
    assert len(measured) == 1


def test_what_is_measured_on_a_run_that_cannot_be_written_is_shown(runs, photos, measured, caplog):
    shutil.rmtree(runs / "seed1" / "evaluation")
    (runs / "seed1" / "evaluation").write_text("in the way")
    found = manyviews.compare([runs / "seed0", runs / "seed1"], data=str(photos))
    assert measured == [("seed1", "knn", "linear")]
    assert f"linear|{photos}|accuracy" in row(found, "seed1").cells
    assert "2 of 2 results are not kept" in caplog.text


def test_data_that_are_gone_show_what_the_runs_hold(runs, monkeypatch, caplog):
    monkeypatch.setattr(comparing, "PROTOCOLS", ("knn", "linear"))
    for name in ("seed0", "seed1"):
        spoil(runs, lambda said: said.update(data="gone"), name=name)
        edit(runs / name / "diagnosis.json", '"data": "', '"data": "gone", "was": "')
    found = manyviews.compare([runs / "seed0", runs / "seed1"], data="gone")
    assert "There is no labelled data 'gone'" in caplog.text
    assert "knn|gone|accuracy" in row(found, "seed1").cells


def test_the_result_that_has_baselines_beside_it_is_taken(runs, photos, measured):
    """A training's own last evaluation has none, and may be as new."""
    for name in ("seed0", "seed1"):
        [kept] = (runs / name / "evaluation").glob("knn--*.json")
        plain = json.loads(kept.read_text()) | {"beside": {}}
        (runs / name / "evaluation" / "knn.json").write_text(json.dumps(plain))
    found = manyviews.compare([runs / "seed0", runs / "seed1"], data=str(photos))
    assert measured == []
    assert f"knn|{photos}|accuracy" in row(found, "raw pixels").cells


def test_a_trainings_own_evaluation_is_known_to_be_of_the_same_data(photos, tmp_path):
    probed = TINY | {"probe.source": str(photos)}
    manyviews.train("simclr", data=str(photos), out=tmp_path / "run", overrides=probed)
    own = json.loads((tmp_path / "run" / "evaluation" / "knn.json").read_text())
    later = manyviews.evaluate(tmp_path / "run", data=str(photos), baselines=False)
    assert own["content"] == later.content != ""


def test_all_forms_are_written(runs, tmp_path):
    both = [str(runs / "seed0"), str(runs / "seed1")]
    manyviews.compare(both, out=tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "compare.md",
        "compare.json",
        "compare.html",
    }
    manyviews.compare(both, out=tmp_path / "one.html")
    assert (tmp_path / "one.html").read_text().startswith("<!doctype html>")
    assert not (tmp_path / "compare.md").exists()
    with pytest.raises(UsageError, match=r"\.md or \.json or \.html"):
        manyviews.compare(both, out=tmp_path / "one.csv")


def test_the_command_compares(runs, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", str(runs / "seed0"), str(runs / "seed1"), "--json"])
    assert stop.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in said["rows"] if r["trained"]] == ["seed0", "seed1"]


@pytest.mark.parametrize("given", [[], ["no such run"]])
def test_what_is_no_run_is_one_line(given):
    with pytest.raises(UsageError) as error:
        manyviews.compare(given)
    assert len(str(error.value).splitlines()) == 1


def test_an_encoder_of_others_is_a_row_beside_the_runs(trained, photos, tmp_path):
    file = tmp_path / "theirs.safetensors"
    shutil.copy(trained / "seed1" / "encoder.safetensors", file)
    runs = [shutil.copytree(trained / "seed0", tmp_path / "seed0"), file]
    found = manyviews.compare(runs, data=str(photos))
    rows = {row.name: row for row in found.table.rows}
    alone = manyviews.evaluate(trained / "seed1", data=str(photos), protocol="knn", baselines=False)
    [knn] = [cell for key, cell in rows[str(file)].cells.items() if key.startswith("knn")]
    assert knn.value == pytest.approx(alone.found[0].result.value)
    assert rows[str(file)].words["ended"] == "not trained here"
    assert rows["seed0"].words["ended"] == "done"


def test_an_encoder_of_others_wants_labelled_data(trained):
    file = trained / "seed1" / "encoder.safetensors"
    with pytest.raises(UsageError, match=r"is no run, .*: add --data LABELLED"):
        manyviews.compare([trained / "seed0", file])


def test_runs_are_held_against_one_another_image_by_image(runs, photos):
    """Of two runs whose intervals overlap, one that is right wherever the other is and more."""
    for name, right in (("seed0", "1" * 9 + "0" * 3), ("seed1", "1" * 2 + "0" * 10)):
        [kept] = (runs / name / "evaluation").glob("knn--*.json")
        said = json.loads(kept.read_text())
        assert len(said["right"]["accuracy"][0]) == said["n"] == 12
        said["right"]["accuracy"] = [right]
        value = right.count("1") / 12
        said["measures"]["accuracy"] = {"value": value, "low": value - 0.4, "high": value + 0.4}
        for start in (said["beside"][n] for n in said["beside"] if n == "untrained encoder"):
            start["right"]["accuracy"] = ["1" * 3 + "0" * 9]
            start["measures"]["accuracy"] = {"value": 0.25, "low": 0.1, "high": 0.6}
        kept.write_text(json.dumps(said))
    both, key = [runs / "seed0", runs / "seed1"], f"knn|{photos}|accuracy"
    found = manyviews.compare(both).table
    start = "untrained resnet_small"
    assert found.paired[key][frozenset(("seed0", "seed1"))] is True  # 7 to 0
    assert found.paired[key][frozenset(("seed1", start))] is False  # 0 to 1
    assert found.best[key] >= {"seed0"}
    assert "seed1" not in found.best[key]
    [column] = [c for c in found.columns if c.key == key]
    remarks = {r.name: found.against(r, column) for r in found.rows if r.trained}
    assert remarks == {"seed0": "better than untrained", "seed1": "no better than untrained"}
    spoil(runs, lambda said: said.update(content="0123456789"))
    other = manyviews.compare(both, anyway=True).table
    assert frozenset(("seed0", "seed1")) not in other.paired[key]  # other images: by intervals


def test_results_from_before_images_were_noted_are_measured_again(runs, photos, measured):
    spoil(runs, lambda said: said.update(right={}))
    both = [runs / "seed0", runs / "seed1"]
    assert all(
        "seed1" not in pair for p in manyviews.compare(both).table.paired.values() for pair in p
    )
    manyviews.compare(both, data=str(photos))
    assert measured == [("seed1", "knn", "linear")]


def test_a_setting_is_chosen_without_labels_and_held_against_them(runs, photos):
    """Two runs made to differ in a rate, with ranks and accuracies that disagree."""
    edit(runs / "seed1" / "config.yaml", "weight_decay: ", "weight_decay: 1")
    for seed, rank, accuracy in ((0, 20.0, 0.5), (1, 10.0, 0.75)):
        file = runs / f"seed{seed}" / "diagnosis.json"
        diagnosis = json.loads(file.read_text())
        diagnosis["spaces"]["projector"]["rankme"] = rank
        file.write_text(json.dumps(diagnosis))
        [kept] = (runs / f"seed{seed}" / "evaluation").glob("knn*.json")
        result = json.loads(kept.read_text())
        kept.write_text(json.dumps(result | {"value": accuracy}))
    found = manyviews.compare([runs / "seed0", runs / "seed1"], choose=True)
    assert found.choice.runs == ("seed0",)
    assert list(found.choice.ranks.values()) == [20, 10]
    knn = next(one for one in found.choice.oracles if one.measure.startswith("kNN"))
    assert (knn.value, knn.chosen) == (0.75, 0.5)
    assert "weight_decay" in str(found)
    assert "25.00 points less" in str(found)
    assert json.loads(json.dumps(found.to_json()["choice"]))["runs"] == ["seed0"]
    assert any("its authors take 25,600" in line for line in found.lines())


def test_nothing_is_chosen_between_methods_encoders_or_seeds(runs):
    with pytest.raises(UsageError, match="have 1 different settings"):
        manyviews.compare([runs / "seed0", runs / "seed1"], choose=True)
    edit(runs / "seed1" / "config.yaml", "width: 8", "width: 9")
    with pytest.raises(UsageError, match="nothing between encoders, and these runs have 2"):
        manyviews.compare([runs / "seed0", runs / "seed1"], choose=True)
