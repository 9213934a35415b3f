"""The recipes with authors' numbers, held against a table of what the authors' code says."""

import pytest
from authors import AUTHORS, COMMITS

from manyviews.core.settings import dump
from manyviews.recipes import AUTHORS_DATA, RECIPES
from manyviews.runs.settings import Facts

FACTS = Facts(
    source="photos",
    count=1_281_167,
    side=400,
    channels=3,
    mean=(0.4,) * 3,
    std=(0.2,) * 3,
    device="cuda",
    cores=16,
)
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "side": 224, "channels": 3}
"""Every one of them feeds 224 pixels less ImageNet's mean over its deviation."""

SAME = ("recipe", "seed", "data.", "train.", "entropy.", "probe.", "start", "positives.")
"""What belongs to no authors, but for batch and epochs: where data lies, how a run is kept."""


def leaves(tree, path=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, tree


def told(name):
    """Setting -> value and source, as the table has it; a later row may narrow an earlier one."""
    return {
        path: (value, source) for source, row in AUTHORS[name][1] for path, value in row.items()
    }


def resolved(name):
    return dict(leaves(dump(RECIPES[name](FACTS))))


def indifferent(path, run):
    """Whether a setting has no effect in this run, or only names a stream or an encoder."""
    family, _, last = path.rpartition(".")
    uses = {
        "optim.momentum": {"sgd", "lars", "lars-classic", "larc"},
        "optim.betas": {"adam", "adamw"},
    }
    return (
        last in ("is", "to", "of", "around", "stem")
        or (path in uses and run["optim.name"] not in uses[path])
        or (path == "optim.lr_start" and not run["optim.warmup"])
        or (last in ("brightness", "contrast", "saturation", "hue") and not run[family + ".jitter"])
        or (last == "sigma" and not any(_listed(run[family + ".blur"])))
        or (last in ("patch", "width", "depth", "heads", "grid") and run[path] == 0)
        or (last == "size" and run[path] == 0)
        or (family.endswith(".mask") and run[family + ".ratio"] == 0)
        or (path == "method.queue_from" and not run["method.queue"])
        or (path.startswith("method.teacher_temperature.") and last in ("fraction", "by_epoch"))
        or (path == "encoders.image.interpolation" and "views.local.count" not in run)
        or (last == "variant" and run[path] == "timm")
        or (last == "drop_path" and run[path] == 0)
        or (last == "class_token" and run[path] == 0)
    )


def near(value):
    """Numbers to rounding, words to the letter."""
    words = all(isinstance(one, (str, bool)) for one in _listed(value))
    return value if words else pytest.approx(value, rel=1e-9)


def _listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", AUTHORS)
def test_every_number_is_the_one_that_the_authors_code_has(name):
    run = resolved(name)
    for path, (value, source) in told(name).items():
        where = f"{AUTHORS[name][0]} {source}"
        assert run[path] == near(value), f"{path} is {run[path]}, there {value}: {where}"


@pytest.mark.parametrize("name", AUTHORS)
def test_no_number_is_without_a_source(name):
    run, known = resolved(name), told(name)
    fed = {p for p in run if ".input." in p and p.rpartition(".")[2] in IMAGENET}
    for path in fed - set(known):
        if not path.startswith("encoders.audio."):
            assert run[path] == IMAGENET[path.rpartition(".")[2]], path
    rest = [
        path
        for path in run
        if path not in known
        and path not in fed
        and not path.startswith(SAME)
        and not indifferent(path, run)
        and not path.startswith("encoders.audio.input.")
    ]
    assert rest == []
    assert {"data.batch_size", "train.epochs"} <= set(known)


def test_every_recipe_of_authors_is_in_the_table_with_a_commit():
    theirs = {name for name in RECIPES if name.endswith(AUTHORS_DATA)}
    assert set(AUTHORS) == theirs
    assert {repository for repository, _ in AUTHORS.values()} == set(COMMITS)
    assert all(len(commit) == 40 for commit in COMMITS.values())


PUBLISHED = {
    "cvrl-kinetics": ("70.4 %", "README.md, R3D-50 on Kinetics-600", {"train.epochs": 800}),
    "brave-audioset": ("93.0 %", "README.md, V/A, TSM (1X)", {"data.batch_size": 512}),
    "cav-mae-audioset": ("51.2 mAP", "README.md, CAV-MAE-Scale+", {"data.batch_size": 108}),
    "eat-audioset": ("48.6 mAP", "README.md, EAT-base after 10 epochs", {"train.epochs": 10}),
    "selavi-kinetics": ("27.1 %", "README.md, model zoo", {"method.clusters": 400}),
}
"""Recipe -> an accuracy, where it is published, and what the training that had it was set to."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_accuracy_is_of_this_training_or_says_of_which(name):
    value, source, settings = PUBLISHED[name]
    said, run = RECIPES[name].__doc__, resolved(name)
    assert value in said, source
    for path, theirs in settings.items():
        assert run[path] == theirs or f" {theirs} " in said, f"{source} has {path} {theirs}"
