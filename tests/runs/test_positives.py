"""Views of other samples in a whole run: trained, gone on with, refused where they cannot be."""

import shutil

import pytest
import torch
from pictures import folder_of
from safetensors.torch import load_file

import manyviews
from manyviews.core import UsageError
from manyviews.core.settings import check, override
from manyviews.data.settings import Positives
from manyviews.recipes import RECIPES
from manyviews.runs import saved
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.verbs.flags import long, settle

SMALL = {"data.batch_size": 8, "data.workers": 0, "encoder.width": 8}


@pytest.fixture
def table(tmp_path):
    folder_of(tmp_path / "images", 16)
    rows = [f"images/{i:04}.png,p{i // 4}" for i in range(16)]
    (tmp_path / "data.csv").write_text("\n".join(["path,patient", *rows]) + "\n")
    return tmp_path / "data.csv"


def settings(table, recipe="simclr", **more):
    return settle(RECIPES[recipe](facts(str(table))), {**SMALL, **more})


def test_a_grouped_run_goes_on_bit_for_bit_and_not_on_other_groups(table, tmp_path):
    run, again = tmp_path / "run", tmp_path / "again"
    steps = {"train.minutes": 0.0, "train.steps": 4, "train.checkpoint_every": 2, "train.keep": 9}
    given = {**SMALL, **steps, "views.group": "patient"}
    manyviews.train("simclr", data=str(table), out=run, overrides=given)
    shutil.copytree(run, again)
    shutil.rmtree(again / "checkpoints" / "step_4")
    (again / "checkpoints" / "latest").write_text("step_2")
    before = table.read_text()
    table.write_text(before.replace("p3", "p2"))
    with pytest.raises(UsageError, match=r"--views\.group patient has other values than when"):
        manyviews.resume(again)
    table.write_text(before)
    assert manyviews.resume(again).steps == 4
    ends = [load_file(r / "checkpoints" / "step_4" / "method.safetensors") for r in (run, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_step_has_views_of_the_partners_and_no_field_more(table):
    alone, grouped = (assemble(settings(table, **{"views.group": g})) for g in ("", "patient"))
    [[before]], [[after]] = alone.batches()(0, 1), grouped.batches()(0, 1)
    assert vars(before).keys() == vars(after).keys()
    assert torch.equal(before.views["global"][:, 0], after.views["global"][:, 0])
    same = (before.views["global"][:, 1] == after.views["global"][:, 1]).flatten(1).all(dim=1)
    assert not same.any()


@pytest.mark.parametrize("recipe", ["rotation", "jigsaw"])
def test_a_method_without_two_views_of_a_kind_is_refused(table, recipe):
    with pytest.raises(UsageError, match=f"{recipe} reads one view of a sample here") as refused:
        assemble(settings(table, recipe, **{"views.group": "patient"}))
    assert "\n" not in str(refused.value)


def test_the_settings_are_saved_where_they_say_something_and_have_short_names(table):
    run = settings(table)
    assert "positives" not in saved.to_yaml(run)
    grouped = override(run, {"positives.group": "patient", "positives.differ": "scanner"})
    assert saved.from_yaml(saved.to_yaml(grouped), name="x") == grouped
    assert long("views.group", run) == "positives.group"
    assert long("views.differ", run) == "positives.differ"
    with pytest.raises(UsageError, match=r"--positives\.differ is 'scanner'; wanted a --positives"):
        check(override(run, {"positives.differ": "scanner"}))
    assert Positives() == run.positives
