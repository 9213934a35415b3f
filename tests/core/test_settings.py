from dataclasses import dataclass
from typing import Literal

import pytest

from manyviews.core import UsageError, settings
from manyviews.core.schedules import Cosine, Ramp
from manyviews.training.settings import Optim
from manyviews.views.plan import Crops, Mask


@dataclass(frozen=True)
class Nested:
    momentum: Cosine | Ramp = Cosine(0.99, 1.0)
    sizes: tuple[int, int] = (1, 2)
    kind: Literal["a", "b"] = "a"


def round_trip(value):
    return settings.build(
        type(value), settings.from_yaml(settings.to_yaml(settings.dump(value)), name="x")
    )


@pytest.mark.parametrize(
    "value",
    [
        settings.struct(
            "Views",
            {
                "global": Crops(count=3, blur=(1.0, 0.1), mask=Mask(ratio=0.75)),
                "local": Crops(count=2, size=96),
            },
        ),
        Optim(lr=1e-3, weight_decay=1e-6, betas=(0.9, 0.95)),
        Nested(momentum=Ramp(0.1, 0.2, 0.5, by_epoch=True)),
    ],
)
def test_yaml_round_trip_is_exact(value):
    assert round_trip(value) == value


def test_a_struct_is_a_class_for_each_set_of_names_and_types():
    families = {"global": Crops(size=96), "local": Crops(count=3)}
    made = settings.struct("Views", families)
    assert made.global_ == families["global"]
    assert settings.parts(made) == families
    assert list(settings.dump(made)) == ["global", "local"]
    assert made == settings.struct("Views", dict(families))
    assert type(made) is type(settings.struct("Views", {"global": Crops(), "local": Crops()}))
    other = settings.struct("Views", {"global": Optim(lr=1.0), "local": Crops()})
    assert type(made) is not type(other)
    with pytest.raises(AttributeError):
        made.local = Crops()


def test_exponents_without_a_point_are_numbers():
    assert settings.from_yaml("lr: 1e-3\nbig: 5E+2\nword: 1e-3x\n", name="x") == {
        "lr": 1e-3,
        "big": 500.0,
        "word": "1e-3x",
    }


NAMES = "sgd, lars, lars-classic, larc, adam, adamw"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"lrr": 1.0}, "config has no field 'lrr'. Did you mean 'lr'?"),
        ({"lr": "fast"}, "config.lr should be a value of type float; got 'fast'."),
        ({"lr": True}, "config.lr should be a value of type float; got True."),
        ({"name": "ada"}, f"config.name should be one of {NAMES}; got 'ada'."),
        ({"betas": [0.9]}, "config.betas should be 2 values; got [0.9]."),
        ([], "config should be a mapping; got []."),
    ],
)
def test_a_wrong_tree_is_named_with_its_path(tree, message):
    with pytest.raises(UsageError) as error:
        settings.build(Optim, tree)
    assert str(error.value) == message


def test_yaml_tags_are_refused():
    with pytest.raises(UsageError, match="not valid YAML"):
        settings.from_yaml("!!python/object/apply:os.system ['true']", name="config.yaml")


def test_a_missing_required_field_is_named():
    from manyviews.data.settings import Data

    with pytest.raises(UsageError, match="config lacks 'source'"):
        settings.build(Data, {"batch_size": 1})
