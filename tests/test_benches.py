"""The benches that need hardware or other libraries run, at tiny sizes and without them."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from manyviews.runs.probe import SplitFeatures

BENCH = Path(__file__).parent.parent / "bench"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", ["simclr", "dino"])
def test_the_gpu_bench_trains_from_files_on_a_cpu(case):
    # A stated peak: one measured on a busy CPU says nothing, and utilisation is arithmetic on it.
    rows = loaded("gpu").main(["--smoke", "--peak", "0.5", "--cases", case, "--sides", "manyviews"])
    assert [(row["case"], row["side"]) for row in rows] == [(case, "manyviews")]
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["step_images_per_second"] > 0
        assert 0 < row["wait_share"] < 1
        assert row["gflop_per_image"] > 0
        used = row["gflop_per_image"] * row["images_per_second"] / 500
        assert row["mfu"] == pytest.approx(used, rel=0.05, abs=1e-3)


def test_the_gpu_bench_measures_a_peak_where_none_is_stated():
    gpu = loaded("gpu")
    options = gpu.parsed(["--smoke"])
    assert 0 < gpu.peak_of(gpu.torch.device("cpu"), options) < 1e3
    assert gpu.peak_of(gpu.torch.device("cpu"), gpu.parsed(["--smoke", "--peak", "7"])) == 7


def test_the_gpu_bench_says_that_there_is_no_gpu(capsys, monkeypatch):
    gpu = loaded("gpu")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "there is no GPU; --smoke" in capsys.readouterr().err


def test_the_steps_bench_cuts_a_step_into_its_parts():
    command = [sys.executable, str(BENCH / "steps.py"), "--methods", "dino", "--arch", "vit"]
    command += ["--batch", "2", "--image", "16", "--repeats", "1", "--threads", "1"]
    source = str(BENCH.parent / "src")
    done = subprocess.run(
        [*command, "--peer-python", "", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, PYTHONPATH=source),
    )
    [row] = json.loads(done.stdout)
    parts = row["parts_ms"]
    for part in ("encoder_forward", "encoder_backward", "target_forward", "forward", "optimiser"):
        assert parts[part] > 0, part
    assert 0 < row["machinery_share"] < 1
    assert sum(parts.values()) <= row["step_ms"] * 1.01
    assert row["peak_memory_above_imports_gb"] > 0


def test_the_streams_bench_times_every_side_on_both_kinds_of_key_frames():
    streams = loaded("streams")
    rows = streams.main(["--windows", "2", "--repeats", "1"])
    assert [row["key_frames_each"] for row in rows] == [12, 250]
    for row in rows:
        assert list(row["windows_per_second"]) == list(streams.SIDES)
        assert all(rate > 0 for rate in row["windows_per_second"].values())


def test_the_shifted_images_have_the_labels_of_the_originals(tmp_path):
    loaded("shifted").main([str(tmp_path), "--count", "6", "--test", "3"])
    images = sorted(p.name for p in (tmp_path / "images").iterdir())
    labelled = sorted(p.name for p in (tmp_path / "labelled" / "train").rglob("*.png"))
    assert images == labelled == [f"{i:05}.png" for i in range(6)]
    assert len(list((tmp_path / "labelled" / "test").rglob("*.png"))) == 3


def test_the_views_bench_decodes_nothing_in_later_epochs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    views = loaded("views")
    file = tmp_path / "rows.json"
    own = ["manyviews", "first-epoch", "later-epochs"]
    arguments = ["--cases", "simclr224", "--rounds", "1", "--json", str(file), "--libraries", *own]
    monkeypatch.setattr(sys, "argv", ["views.py", *arguments])
    views.main()
    rows = json.loads(file.read_text())
    assert [(row["library"], row["decoded"]) for row in rows] == [
        ("manyviews", "32 of 32"),
        ("first-epoch", "32 of 32"),
        ("later-epochs", "0 of 32"),
    ]
    assert all(row["views_per_second"] > 0 for row in rows)


def test_the_contention_bench_trains_the_recipe_for_so_long(capsys, monkeypatch):
    contention = loaded("contention")
    asked = []

    def train(recipe, **options):
        asked.append((recipe, options["data"], options["overrides"]))
        return SimpleNamespace(images_per_second=100.0, seconds=2.0)

    monkeypatch.setattr("manyviews.train", train, raising=False)
    contention.main(["--role", "train", "--seconds", "6"])
    assert asked == [("simclr", "builtin:fashion", {"train.minutes": 0.1})]
    said = json.loads(capsys.readouterr().out)
    assert said["images_per_second"] == 100.0
    assert 0 <= said["cpu_ms_per_image"] < 1000


def test_its_busy_processes_are_awake_beside_what_is_to_feel_them_and_then_end(monkeypatch):
    contention = loaded("contention")
    rows = []
    code = 'import time; time.sleep(1); print(\'{"images_per_second": 3, "cpu_ms_per_image": 1}\')'
    real = contention.run

    def run(role, *arguments, given, **options):
        if role == "train":
            command = [sys.executable, "-c", code]
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return real(role, *arguments, given=given, **options)

    monkeypatch.setattr(contention, "run", run)
    monkeypatch.setattr(contention, "show", lambda found, *, as_json: rows.extend(found))
    contention.main(["--rounds", "2", "--cures", "openmp", "--others", "alone", "loops"])
    alone, beside = rows
    assert alone["others_cpu_seconds"] <= 0.02 < beside["others_cpu_seconds"]
    assert contention.STARTED
    assert not any(Path(f"/proc/{number}").exists() for number in contention.STARTED)


def test_the_verdict_bench_judges_what_it_planted_and_trains_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    verdict = loaded("verdict")
    planted = sys.modules["planted"]
    short = sys.modules["plans"].Plan(
        recipe="simclr", steps=2, half="a", given={"data.batch_size": 8}
    )
    plans = {
        "short": short,
        "longer": replace(short, steps=4, half="b"),
        "killed": replace(short, cut=0),
        "broken": replace(short, fault="teacher shares storage", recipe="byol"),
        "noise": replace(short, data="noise"),
    }
    plans["short"] = replace(short, longer="longer")
    monkeypatch.setattr(verdict, "plans", lambda: plans)
    monkeypatch.setattr(planted, "COUNT", 40)
    monkeypatch.setattr(verdict, "EVERY", {"train": 100, "test": 50})
    out = tmp_path / "page.md"
    out.write_text("# Kept\n\n<!-- made by bench/verdict.py -->\nnot this\n")
    rows = {row["run"]: row for row in verdict.main(["--runs", str(tmp_path), "--out", str(out)])}
    assert list(rows) == list(plans)
    assert rows["killed"]["enough"] == rows["broken"]["collapsed"] == "alarm"
    assert rows["killed"]["passes"] == "0.0"
    assert {row["learned"] for row in rows.values()} <= {"watch", "alarm"}
    assert not any("collapsed" in rows[name]["wrong"] for name in ("broken", "killed"))
    assert out.read_text().startswith("# Kept\n")
    assert "not this" not in out.read_text()
    assert out.read_text().count("\n| ") == 1 + len(plans)
    monkeypatch.delattr(planted, "execute")
    verdict.main(["--runs", str(tmp_path)])


def test_the_verdict_bench_goes_on_in_pieces_and_keeps_the_rows_it_has(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(BENCH))
    verdict = loaded("verdict")
    planted = sys.modules["planted"]
    first = sys.modules["plans"].Plan(
        recipe="simclr", steps=2, half="a", given={"data.batch_size": 8}
    )
    given = {"begun": replace(first, start="first"), "far": replace(first, half="b")}
    every = {"kept": replace(first, half="b"), "first": first} | given
    for module in (verdict, planted):
        monkeypatch.setattr(module, "plans", lambda: every)
    monkeypatch.setattr(planted, "COUNT", 40)
    monkeypatch.setattr(verdict, "EVERY", {"train": 100, "test": 50})
    out, told = tmp_path / "page.md", dict.fromkeys(verdict.COLUMNS, "as it was") | {"run": "kept"}
    told |= {"half": "b", "wrong": ""}
    out.write_text("# Kept\n\n")
    out.write_text(verdict.page(out, [told]))
    common = ["--runs", str(tmp_path / "runs"), "--out", str(out), "--missing"]
    verdict.main([*common, "--list"])
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(every)[1:]
    rows = verdict.main([*common, "--only", "begun"])
    assert [row["run"] for row in rows] == ["kept", "begun"]
    assert rows[0] == told
    assert (tmp_path / "runs" / "first" / "planted.json").is_file()  # which it starts from
    assert not (tmp_path / "runs" / "first" / "evidence.json").is_file()
    assert verdict.main([*common, "--minutes", "-1"]) == rows
    assert "first and what follows: another time" in capsys.readouterr().out
    assert [row["run"] for row in verdict.main(common)] == list(every)
    assert list(verdict.rows_of(out)) == list(every)
    assert "half b: 0 of 2 have a wrong answer" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        verdict.main([*common, "--only", "nobody"])
    assert "no plan nobody; --list names them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("now", "before", "lights"), [("1111", "0000", {"ok"}), ("0000", "1111", {"warn", "bad"})]
)
def test_labels_tell_what_is_right_where_they_can(monkeypatch, now, before, lights):
    monkeypatch.syspath_prepend(str(BENCH))
    verdict = loaded("verdict")
    plan = sys.modules["plans"].Plan(recipe="simclr", steps=60, half="a")
    known = {"step": 60, "right": {"now": now * 20, "untrained": before * 20}}
    assert verdict.truth(plan, known, None) == {"collapsed": {"ok"}, "learned": lights}
    # that twice the steps bring nothing tells of enough only where something was learnt
    assert verdict.truth(plan, known, known).get("enough") == ({"ok"} if lights == {"ok"} else None)
    known["right"]["untrained"] = known["right"]["now"]
    assert "learned" not in verdict.truth(plan, known, None)
    better = {"right": {"now": "1" * 80}}
    known["right"]["now"] = "0" * 80
    assert verdict.truth(plan, known, better)["enough"] == {"warn"}
    ruined = replace(plan, given={"hotter": 20.0})
    assert "collapsed" not in verdict.truth(ruined, known, None)


def test_packed_videos_are_measured_beside_their_files(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    small = ["--clips", "2", "--repeats", "1", "--videos", "1", "--seconds", "2"]
    found = loaded("packed_videos").main([*small, "--sizes", "144", "256"])
    names = ["PyAV alone", "OpenCV alone", "files", "files, to views", "packed, 128 px, gop 1"]
    assert set(names) <= set(found["clips_per_second"])
    assert all(rate > 0 for rate in found["clips_per_second"].values())
    assert found["of_pyav_alone"]["PyAV alone"] == 1


def test_the_ablations_of_mae_go_on_where_they_stopped_and_keep_what_was_said(
    tmp_path, monkeypatch
):
    ablation = loaded("mae_ablation")
    made = []

    def measured(name, asked, *, seed, tokenizer):
        made.append((name, seed, asked["train.steps"]))
        places = {"output": [0.5 + seed / 10, 0.6], "block 1": [0.3, 0.4]}
        if name == "as it is":
            places |= {f"untrained, {place}": [0.1, 0.2] for place in list(places)}
            places["raw pixels"] = 0.8
        return places | {"best": [0.7, 0.75, "block 1", "block 2"]}

    monkeypatch.setattr(ablation, "measured", measured)
    monkeypatch.setattr(ablation, "WHERE", ("as it is",))
    out = tmp_path / "page.md"
    few = ["--steps", "3", "--out", str(out)]
    cases = ["--cases", "as it is", "grid", "4 x the steps"]
    ablation.main([*few, *cases, "--seeds", "0"])
    out.write_text(out.read_text() + "\nIt was like this.\n")
    ablation.main([*few, *cases, "--seeds", "0", "1"])
    assert made == [(name, seed, steps) for seed in (0, 1) for name, steps in CASES]
    page = out.read_text()
    assert page.endswith("## What this says\n\nIt was like this.\n")
    assert "| grid | 0.550 ± 0.071 | 0.600 ± 0.000 |" in page
    assert "`--views.global.mask.kind grid`" in page
    assert "| block 1 | 0.300 ± 0.000 | 0.400 ± 0.000 | 0.100 ± 0.000 |" in page
    assert "Raw pixels: kNN 0.800." in page
    ablation.main(["--steps", "4", *few[2:], "--cases", "grid", "--seeds", "0"])
    assert made[-1] == ("grid", 0, 4)
    assert "as it is" not in out.read_text()


CASES = (("as it is", 3), ("grid", 3), ("4 x the steps", 12))


def test_of_a_training_all_places_are_looked_at_beside_an_untrained_encoder(monkeypatch):
    ablation = loaded("mae_ablation")
    embedded = []

    def split(embed):
        drawn = torch.Generator().manual_seed(0)
        parts = []
        for count in (120, 40):
            y = torch.arange(count) % 2
            x = torch.randn(count, 1, 28, 28, generator=drawn) + y[:, None, None, None]
            with torch.inference_mode():
                parts += [embed(x), y]
        embedded.append(parts[0])
        return SplitFeatures(*parts)

    monkeypatch.setattr(ablation, "open_probe", lambda *_, **__: SimpleNamespace(split=split))
    few = {"encoder.depth": 2, "encoder.width": 24, "data.batch_size": 8}
    asked = ablation.settings("as it is", 0, 2) | few
    found = ablation.measured("as it is", asked, seed=0, tokenizer=None)
    places = {"output", "class token", "parts", "block 1", "block 2"}
    both = {*places, "best"}
    assert set(found) == {*both, *(f"untrained, {p}" for p in both), "raw pixels"}
    assert all(0.2 < value <= 1 for name in places for value in found[name])
    assert found["best"][2] in ("block 1", "block 2")
    trained, untrained, _ = embedded  # and raw pixels
    assert not torch.equal(trained, untrained)


def test_the_masking_bench_times_both_ways_of_the_same_step():
    small = ["--width", "16", "--depth", "1", "--side", "32", "--batch", "2", "--rounds", "2"]
    decoder = ["--decoder-width", "8", "--decoder-depth", "1"]
    found = loaded("masking").main([*small, *decoder, "--json"])
    assert found["encoder"] > 0
    assert found["whole"] > 0
    assert found["MAE, ms"] > 0


@pytest.fixture
def multicrop(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    module = loaded("multicrop")
    cost = module.work.Cost(step=3e9, epoch=0.0, once=0.0, batch=256, images=12000)
    given = {"2 views": 30, "multi-crop": 20}
    module.plan = {("SwAV", views): (cost, steps) for views, steps in given.items()}
    return module


def row(module, case, right):
    measured = {"value": right.count("1") / len(right), "interval": [0.0, 1.0]}
    measured |= {"right": f"{int(right, 2):0{len(right) // 4}x}", "of": len(right)}
    return {"digest": module.digest(case, module.plan), "knn": measured, "linear": measured}


def test_the_multicrop_page_compares_image_by_image_and_keeps_what_it_says(multicrop, tmp_path):
    options = SimpleNamespace(out=tmp_path / "page.md", passes=5.0, seeds=[0])
    options.out.write_text(f"old\n\n{multicrop.KEPT}\n\nIt helps.\n")
    two, more = multicrop.plan
    rows = {
        "SwAV, 2 views, 0": row(multicrop, two, "0001" * 10),
        "SwAV, multi-crop, 0": row(multicrop, more, "0011" * 10),
    }
    text = multicrop.page(multicrop.plan, {"beside": {}, "rows": rows}, options)
    assert "| SwAV | 2 views | 0.012 | 30 | 0.6 |" in text
    assert "+0.250 (" in text
    assert text.endswith(f"{multicrop.KEPT}\n\nIt helps.\n")
    assert "old" not in text
    rows["SwAV, multi-crop, 0"]["digest"] = "of other settings"
    text = multicrop.page(multicrop.plan, {"beside": {}, "rows": rows}, options)
    assert "+0.250" not in text
    assert "| SwAV | 0.250 (0.000 to 1.000) |  |  |" in text


def test_both_sides_of_multicrop_have_settings_of_their_own(multicrop):
    for recipe in multicrop.METHODS.values():
        one, other = (multicrop.work.settled(recipe, given) for given in multicrop.VIEWS.values())
        assert one != other, recipe
    counts = [
        multicrop.parts(multicrop.work.settled("swav", given).views)["local"].count
        for given in multicrop.VIEWS.values()
    ]
    assert counts == [0, 2]


def test_work_before_the_first_epoch_counts_once(multicrop):
    cost = multicrop.work.Cost(step=10.0, epoch=0.0, once=400.0, batch=100, images=1000)
    assert cost.steps(1000.0) == 60
    assert cost.total(60) == 1000.0
    assert replace(cost, epoch=50.0).steps(1000.0) == 40


def test_a_step_is_timed_beside_those_before_and_after_it(monkeypatch):
    relative = loaded("relative")
    unit, other = iter([1.0, 1.0, 3.0, 3.0]), iter([2.0, 4.0, 9.0])
    found = relative.relative(lambda: next(unit), lambda: next(other), rounds=3)
    assert found == 2.0  # of 2 / 1, 4 / 2, 9 / 3


def test_steps_are_timed_with_all_that_a_training_does(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    methods = loaded("methods")
    monkeypatch.setattr(methods, "TIMED", 8)
    monkeypatch.setattr(methods, "ROUNDS", 1)
    count, steps = methods.stepping("moco", 8)
    before = steps.method.queue.head.clone(), steps.method.online.head[0].weight.clone()
    assert count == 8
    assert steps() > 0
    assert steps.method.queue.head != before[0]
    assert not torch.equal(steps.method.online.head[0].weight, before[1])
    methods.timed(["byol"], tmp_path / "times.json")
    assert json.loads((tmp_path / "times.json").read_text())["byol"] > 0
    plan = {"byol": (multi := methods.Cost(1e9, 0.0, 0.0, 256, 12000), 10), "moco": (multi, 10)}
    rows = methods.budget_table(plan, {"byol": 1.5})
    assert rows[2].endswith("| 0.2 | 1.50 |")
    assert rows[3].endswith("| 0.2 |  |")


PEER = """
import torch
from types import SimpleNamespace
from manyviews.core.inputs import LogMel

__version__ = "none"

def fbank(wave, *, num_mel_bins, **told):
    seconds = wave.shape[1] / told["sample_frequency"]
    fed = LogMel(seconds=seconds, bins=num_mel_bins, mean=0.0, std=1.0)
    return fed.finish(wave)[0, 0, :-2] + OFF

compliance = SimpleNamespace(kaldi=SimpleNamespace(fbank=fbank))
"""


def test_the_log_mel_bench_compares_what_both_made_before_how_fast(tmp_path, monkeypatch):
    """The other side is a module of that name, whose frames are ours but for the last two."""
    bench = loaded("log_mel")
    source = str(BENCH.parent / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), source]))
    (tmp_path / "torchaudio.py").write_text(PEER.replace("OFF", "0"))
    rows = bench.main(["--few", "--rounds", "1"])
    ways = ("of files", "in memory")
    assert [row["case"] for row in rows] == [f"{c}, {way}" for c in bench.CASES for way in ways]
    assert all(row["ours"] > 0 and row["theirs"] > 0 and row["ratio"] > 0 for row in rows)
    assert all(row["off"] < 1e-5 for row in rows)
    (tmp_path / "torchaudio.py").write_text(PEER.replace("OFF", "0.1"))
    with pytest.raises(AssertionError, match=r"they differ by 0\.1"):
        bench.main(["--few", "--rounds", "1"])


def test_the_bench_of_late_failures_breaks_what_it_says_and_when(tmp_path):
    late = loaded("late")
    names = ["teacher freezes (byol)", "byol"]
    out = tmp_path / "late.md"
    rows = late.main(["--steps", "60", "--runs", *names, "--out", str(out)])
    frozen, sound = (row["alarms"] for row in rows)
    assert [name for _, name in frozen] == ["teacher_stands_still"]
    assert 30 < frozen[0][0] < 60
    assert sound == []
    assert "| byol | as it is | none |" in out.read_text()
