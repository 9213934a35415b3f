"""Run directories whose small files were damaged, and environments that lack something."""

import json

import numpy as np
import pytest

import manyviews
from manyviews.core import UsageError
from manyviews.core.files import json_text, read_lines
from manyviews.evaluation.result import Beside, Estimate, Evaluated, Result
from manyviews.runs.folder import read
from manyviews.runs.folder import write as keeping
from manyviews.verbs import parse

ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6}
EVALUATION = {
    **{"protocol": "knn", "metric": "accuracy", "value": 0.5, "measures": {"accuracy": ESTIMATE}},
    **{"train": 10, "n": 10, "version": 1, "data": "photos", "beside": {}},
}
DIAGNOSIS = {
    **{"run": "r", "data": "photos", "images": 20, "best": None},
    "state": {"title": "not collapsed", "light": "ok", "sentence": "Not collapsed."},
    "verdict": {"answers": [], "next": [], "light": "ok"},
    "checkpoints": {"4": {"lidar": 2.0}},
    "spaces": {"encoder": {"alignment": 0.5, "rankme": 3.0}},
    "invariance": {"encoder": {"crop": {"change": 0.1, "low": 0, "high": 0.2, "cosine": 0.9}}},
    **{"prototypes": None, "groups": {}, "version": 3},
}
NO_JSON = ["", "x", "3", "[]", "null", '"x"', json.dumps(DIAGNOSIS)[:100], "[" * 100_000]


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "change",
    [
        *({"checkpoints": 3}, {"checkpoints": {"a": {}}}, {"checkpoints": {"4": 1}}),
        *({"spaces": []}, {"spaces": {"encoder": 3}}, {"spaces": {"encoder": {"rankme": "x"}}}),
        *({"invariance": 3}, {"invariance": {"encoder": {"crop": {"change": 1}}}}),
        *(
            {"verdict": "x"},
            {"verdict": {}},
            {"state": {}},
            {"groups": None},
            {"groups": {"nmi": 1}},
        ),
        *({"data": None}, {"data": [1]}, {"images": "20"}, {"prototypes": 3}),
        {"best": "4"},
    ],
)
def test_a_diagnosis_of_another_form_counts_as_missing(tmp_path, caplog, change):
    path = write(tmp_path / "diagnosis.json", json.dumps(DIAGNOSIS))
    assert read.read_diagnosis(tmp_path) == DIAGNOSIS
    assert not caplog.records
    write(path, json.dumps(DIAGNOSIS | change))
    assert read.read_diagnosis(tmp_path) == {}
    assert f"{path} is damaged and passed over" in caplog.text


@pytest.mark.parametrize("text", NO_JSON)
def test_what_is_no_json_object_counts_as_missing(tmp_path, caplog, text):
    write(tmp_path / "diagnosis.json", text)
    assert read.read_diagnosis(tmp_path) == {}
    assert read.read_evaluation(write(tmp_path / "evaluation" / "knn.json", text)) == {}
    assert len(caplog.records) == 2
    write(tmp_path / "began.json", text)
    with pytest.raises(UsageError, match=r"began\.json is damaged\. Copy it from a backup"):
        read.read_began(tmp_path)


def test_measures_that_were_not_finite_are_left_out(tmp_path):
    text = json.dumps(DIAGNOSIS | {"spaces": {"encoder": {"a": None, "b": np.nan, "c": 1}}})
    write(tmp_path / "diagnosis.json", text)
    assert read.read_diagnosis(tmp_path)["spaces"] == {"encoder": {"c": 1}}


@pytest.mark.parametrize(
    "change",
    [
        *({"measures": 3}, {"measures": {}}, {"measures": {"accuracy": 3}}, {"metric": None}),
        *({"metric": "zzz"}, {"measures": {"accuracy": ESTIMATE | {"low": "a"}}}, {"value": "x"}),
        *({"version": "x"}, {"protocol": 3}, {"data": None}, {"beside": 3}, {"beside": {"a": 3}}),
        *({"train": None}, {"content": 3}),
    ],
)
def test_an_evaluation_of_another_form_counts_as_missing(tmp_path, caplog, change):
    path = write(tmp_path / "knn.json", json.dumps(EVALUATION))
    assert read.read_evaluation(path) == EVALUATION
    write(path, json.dumps(EVALUATION | change))
    assert read.read_evaluation(path) == {}
    assert "is damaged" in caplog.text


def test_metrics_are_records_of_numbers(tmp_path):
    good = {"kind": "train", "step": 3, "loss": None, "seconds": 1.5}
    lines = ["3", "[]", "null", '"x"', "{", '{"kind": "train", "step": "a"}', '{"step": NaN}']
    odd = json.dumps(good | {"lr": "x", "loss": None})
    write(tmp_path / "metrics.jsonl", "\n".join([*lines, json.dumps(good), odd, '{"kind": "tr']))
    assert read.read_metrics(tmp_path) == [good, good]
    assert all(isinstance(record, dict) for record in read_lines(tmp_path / "metrics.jsonl"))


def test_json_on_stdout_is_strict(capsys):
    estimate = Estimate(float("nan"), 0.0, float("inf"))
    result = Result(
        protocol="p", version=1, train=1, n=1, classes=2, measures={"m": estimate}, seconds=0.0
    )
    one = Beside(result=result, beside={})
    parse.finish(Evaluated(run="r", data="d", found=[one]), as_json=True)

    def refuse(token):
        pytest.fail(f"{token} is no JSON")

    said = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert said["results"]["p"]["measures"]["m"] == {"value": None, "low": 0.0, "high": None}
    assert json.loads(json_text({"a": (1.5, np.inf)}), parse_constant=refuse) == {"a": [1.5, None]}


def test_without_a_home_features_are_kept_among_temporary_files(monkeypatch, tmp_path):
    def lost():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(keeping.Path, "home", lost)
    kept = keeping.cache_of(tmp_path / "encoder.safetensors").directory
    assert kept.name.startswith("manyviews-")


def test_results_on_data_of_like_names_do_not_overwrite_each_other(tmp_path):
    result = Result(
        protocol="knn",
        version=1,
        train=1,
        n=1,
        classes=2,
        measures={"m": Estimate(0.5, 0, 1)},
        seconds=0.0,
    )
    found = Beside(result=result, beside={})
    for data in ("a/b", "a-b", "a/b", f"x{'y' * 60}", f"z{'y' * 60}"):
        keeping.keep_result(tmp_path, found, {"data": data}, encoder="e", content="c")
    kept = [json.loads(path.read_text())["data"] for path in (tmp_path / "evaluation").iterdir()]
    assert sorted(kept) == sorted(["a/b", "a-b", f"x{'y' * 60}", f"z{'y' * 60}"])


@pytest.mark.parametrize("text", ["[]", '{"path": 3}', '"x"', '{"path": [["a"], ["b"]]}', "{"])
def test_a_damaged_list_of_paths_is_one_line(tmp_path, text):
    np.save(tmp_path / "f.npy", np.zeros((2, 3)))
    note = write(tmp_path / "f.npy.json", text)
    with pytest.raises(UsageError, match="is damaged: it should list a path for each row") as error:
        manyviews.evaluate(tmp_path / "f.npy", data="builtin:fashion")
    assert str(note) in str(error.value)


@pytest.mark.parametrize("shape", [(), (12_000,), (12_000, 2, 2)])
def test_an_array_that_is_no_list_of_vectors_is_one_line(tmp_path, shape):
    np.save(tmp_path / "f.npy", np.zeros(shape))
    with pytest.raises(UsageError, match=r"its shape is .*; wanted \[N, D\]"):
        manyviews.evaluate(
            tmp_path / "f.npy", test_features=tmp_path / "f.npy", data="builtin:fashion"
        )


def test_features_beyond_float32_are_refused_without_a_warning(tmp_path):
    np.save(tmp_path / "f.npy", np.full((12_000, 1), 1e300))
    np.save(tmp_path / "t.npy", np.zeros((2_000, 1)))
    with pytest.raises(UsageError, match="are NaN or infinite"):
        manyviews.evaluate(
            tmp_path / "f.npy", test_features=tmp_path / "t.npy", data="builtin:fashion"
        )


def test_the_quarantine_is_of_paths_and_reasons(tmp_path):
    good = {"path": "a.png", "reason": "empty file"}
    write(tmp_path / "quarantine.jsonl", '{}\n3\n{"path": 3}\n' + json.dumps(good) + '\n{"pa')
    assert read.read_quarantine(tmp_path) == [good]
