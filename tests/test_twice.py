"""Nothing is written twice: no function's body and no refusal stands in two files."""

import ast
from collections import defaultdict

import pytest

from test_imports import FILES

LONG = 110
"""Characters of a body, as Python would write it, from which on a copy is one too many."""
SENTENCE = 60
"""Characters of a refusal's own words."""


def bodies(source):
    """The bodies of functions without their docstrings, those that are long."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            told = ast.get_docstring(node) is not None
            body = "\n".join(ast.unparse(line) for line in node.body[told:])
            if len(body) >= LONG:
                yield body


def refusals(source):
    """The words of what is raised, without what is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for said in node.exc.args[:1]:
                words = [n.value for n in ast.walk(said) if isinstance(n, ast.Constant)]
                text = "|".join(word for word in words if isinstance(word, str))
                if len(text) >= SENTENCE:
                    yield text


def twice(found, files):
    """What is found in several of the files, with their names."""
    where = defaultdict(set)
    for name, source in files.items():
        for text in found(source):
            where[text].add(name)
    return {text: sorted(names) for text, names in where.items() if len(names) > 1}


@pytest.mark.parametrize("found", [bodies, refusals])
def test_nothing_is_written_twice(found):
    # a method is read by itself, as is a small part of a network in a room that may not be imported
    files = {
        module: path.read_text()
        for path, module in FILES.items()
        if not module.startswith(("methods.", "parts.pixels"))
    }
    assert twice(found, files) == {}


def test_a_copy_is_found():
    copy = "def {}(x):\n    " + "y = x + 1\n    " * 12 + "return y"
    refusal = (
        "raise ValueError(f'{x} is too small for a thing of this kind. Give a larger one now.')"
    )
    assert twice(bodies, {"a": copy.format("f"), "b": copy.format("g"), "c": "x = 1"})
    assert twice(refusals, {"a": refusal, "b": "def f():\n    " + refusal})
    assert not twice(refusals, {"a": refusal, "b": refusal.replace("larger", "smaller")})
