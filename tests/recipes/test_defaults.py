"""Defaults of methods that no recipe of authors uses, held against where they are from."""

import re
from dataclasses import fields

import pytest
from authors.defaults import DEFAULTS

ANYWHERE = ("second-hand: ", "ours: ")
AT_LINE = re.compile(r"[\w./-]+\.(py|yml):\d+(, \d+)*")


def told(kind):
    """Setting -> value and source."""
    return {
        path: (value, source) for source, row in DEFAULTS[kind][1] for path, value in row.items()
    }


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_every_default_is_what_its_source_says(kind):
    made = kind()
    for name, (value, source) in told(kind).items():
        assert getattr(made, name) == pytest.approx(value), source


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_no_default_is_without_a_source(kind):
    if kind.__name__.endswith("Config"):  # of views only what is of the method
        assert {field.name for field in fields(kind)} == set(told(kind))
    for _, source in told(kind).values():
        assert source.startswith(ANYWHERE) or AT_LINE.match(source), source


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_a_line_of_code_has_a_commit(kind):
    repository, rows = DEFAULTS[kind]
    if any(".py:" in source or ".yml:" in source for source, _ in rows):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", repository)
