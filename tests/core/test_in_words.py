"""Results in notebooks: as HTML and as tables of pandas, and what to install for those."""

import builtins
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import manyviews
from manyviews.core.errors import UsageError
from manyviews.core.extras import frame, install, lacking
from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.result import Diagnosed
from manyviews.evaluation.result import Beside, Estimate, Evaluated, Result
from manyviews.reports.table import Cell, Column, Row, Table
from manyviews.verbs.compare.beside import Compared
from manyviews.verbs.listing import listing


@pytest.fixture
def evaluated():
    one = Result(
        protocol="knn",
        version=1,
        train=8,
        n=4,
        classes=2,
        measures={"accuracy": Estimate(0.75, 0.3, 0.95)},
        seconds=0.1,
        notes=("a < b",),
    )
    return Evaluated(run="run", data="x", found=[Beside(result=one, beside={"raw pixels": one})])


def test_a_result_prints_its_lines_and_shows_them_in_a_cell(evaluated):
    assert str(evaluated).splitlines() == evaluated.lines()
    html = evaluated._repr_html_()
    assert html.startswith("<pre")
    assert "0.7500" in html
    assert "a &lt; b" in html


def test_what_every_verb_gives_back_shows_itself():
    for verb in ("methods", "recipes", "protocols"):
        assert "<pre" in listing(verb)._repr_html_()


def test_results_become_tables_of_pandas(evaluated):
    pytest.importorskip("pandas")
    table = evaluated.to_pandas()
    assert list(table["features"]) == ["run", "raw pixels"]
    assert table.loc["knn", "value"].tolist() == [0.75, 0.75]


def test_a_row_a_protocol_features_and_measure(evaluated):
    pytest.importorskip("pandas")
    one = replace(evaluated.found[0].result, protocol="linear", n=5)
    one = replace(one, measures={"accuracy": Estimate(0.5, 0.1, 0.9), "at 1": Estimate(0.2, 0, 1)})
    whole = replace(evaluated, found=[*evaluated.found, Beside(result=one, beside={})])
    table = whole.to_pandas().reset_index()
    columns = ["protocol", "features", "measure", "value", "low", "high", "n"]
    assert table[columns].to_numpy().tolist() == [
        ["knn", "run", "accuracy", 0.75, 0.3, 0.95, 4],
        ["knn", "raw pixels", "accuracy", 0.75, 0.3, 0.95, 4],
        ["linear", "run", "accuracy", 0.5, 0.1, 0.9, 5],
        ["linear", "run", "at 1", 0.2, 0.0, 1.0, 5],
    ]


def test_runs_side_by_side_are_rows_by_their_names():
    pytest.importorskip("pandas")
    columns = [Column(key=k, title=k.upper(), group="g", says="") for k in ("a", "b")]
    rows = [
        Row(name="one", cells={"a": Cell(1.0), "beyond": Cell(9.0)}, words={"recipe": "simclr"}),
        Row(name="two", cells={"b": Cell(2.0), "a": Cell(3.0)}),
    ]
    table = Compared(table=Table(title="", columns=columns, rows=rows)).to_pandas()
    assert list(table.columns) == ["recipe", "A", "B"]
    assert table["A"].tolist() == [1.0, 3.0]
    assert table.loc["two", "B"] == 2.0
    assert table["B"].isna().tolist() == [True, False]
    assert table.loc["one", "recipe"] == "simclr"


def test_a_diagnosis_is_a_row_a_measure_and_a_column_a_space():
    pytest.importorskip("pandas")
    spaces = {"encoder": {"alignment": 0.5, "effective_rank": 7.0}, "projector": {"alignment": 0.1}}
    table = Diagnosed.to_pandas(SimpleNamespace(spaces=spaces))
    assert list(table.index) == ["alignment", "effective_rank"]
    assert table["encoder"].tolist() == [0.5, 7.0]
    assert table.loc["alignment", "projector"] == 0.1
    assert table["projector"].isna().tolist() == [False, True]
    for name in table.index:
        assert table.loc[name, "title"] == MEASURES[name].title
        assert table.loc[name, "better"] == MEASURES[name].better


def test_without_pandas_the_line_to_type_is_said(evaluated, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"needs the package pandas. Install it: .* -m pip"):
        evaluated.to_pandas()
    with pytest.raises(UsageError):
        frame([], index="x")


def test_extras_are_named_by_their_packages():
    assert install("onnx").startswith(f"{sys.executable} -m pip install 'onnx>=")
    assert "'onnxruntime>=" in install("onnx")
    assert install("nothing").endswith("'manyviews[nothing]'")
    assert str(lacking("That", "av", "video")).startswith("That needs the package av. Install it: ")


def test_completion_knows_every_verb_before_its_first_use():
    assert set(manyviews.__all__) < set(dir(manyviews))
    assert "__version__" in dir(manyviews)


def test_types_are_there_for_whoever_installs_the_package():
    assert Path(manyviews.__file__).with_name("py.typed").is_file()
