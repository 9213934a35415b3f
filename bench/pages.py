"""What methods' pages say under "Measured", from docs/results.json.

    python bench/pages.py

`bench/methods.py` does this after every table; the paragraphs are never written by hand.
"""

import json
import re
from pathlib import Path
from statistics import fmean

from manyviews import recipes
from manyviews.methods.catalog import METHODS
from manyviews.runs.facts import typical_facts

DOCS = Path(__file__).parents[1].resolve() / "docs"
DATA = "builtin:fashion"
MEASURES = {"kNN": f"knn|{DATA}|accuracy", "linear": f"linear|{DATA}|accuracy"}
HEAD = "## Measured\n\n"
LEFT_OUT = {
    "adapt": "wants weights to start from",
    "beit": "wants a tokenizer",
    "bownet": "wants a teacher",
    "cmc": "wants colours",
    "cmc-three": "wants colours",
    "colorization": "wants colours",
    "distill": "wants a teacher",
    "mae-codes": "wants a tokenizer",
    "mage": "wants a tokenizer",
    "mage-c": "wants a tokenizer",
}
"""Recipes on images that the table leaves out."""


def main():
    kept = json.loads((DOCS / "results.json").read_text())
    for page in write(kept["rows"]):
        print(page.name)


def of_methods(folder=DOCS / "methods"):
    """The pages of methods, which the list of them is not."""
    return [page for page in sorted(folder.glob("*.md")) if page.stem != "README"]


def write(rows, folder=DOCS / "methods"):
    """Write the paragraph of every page; those that changed."""
    said, changed = paragraphs(rows), []
    for page in of_methods(folder):
        before = page.read_text(encoding="utf-8")
        after = with_paragraph(before, said[page.stem])
        if after != before:
            page.write_text(after, encoding="utf-8")
            changed.append(page)
    return changed


def with_paragraph(text, said):
    """A page with what is said of it, behind its heading or with that at the end."""
    if HEAD not in text:
        return f"{text.rstrip()}\n\n{HEAD}{said}\n"
    before, after = text.split(HEAD)
    rest = after.partition("\n\n")[2]
    return f"{before}{HEAD}{said}\n" + (f"\n{rest}" if rest else "")


def paragraphs(rows):
    """Page -> what was measured of its recipes on images, in one sentence."""
    streams, of = {}, {}
    for name in recipes.RECIPES:
        if not name.endswith(recipes.AUTHORS_DATA):
            streams[name] = recipes.streams_of(name)
            of.setdefault(page_of(name), []).append(name)
    found = {}
    for page in {*METHODS, "rho", "sound"}:
        mine = [name for name in of.get(page, []) if streams[name] == ("image",)]
        found[page] = sentence(mine, rows)
    return found


def page_of(recipe):
    """The page of a recipe's method."""
    config = recipes.RECIPES[recipe](typical_facts()).method
    return next(name for name, entry in METHODS.items() if type(config) is entry.config)


def sentence(names, rows):
    """What rows of these recipes say."""
    if not names:
        return "Not in the table of [results](../results.md), which is of images."
    if set(names) <= set(LEFT_OUT):
        return f"Not in the table of [results](../results.md): `{names[0]}` {LEFT_OUT[names[0]]}."
    parts = []
    for name in names:
        seeds = [key for key in rows if re.fullmatch(rf"{name}-\d+", key)]
        of = [rows[key]["row"]["measures"] for key in seeds]
        if of:
            values = [
                f"{word} {fmean(one[key]['value'] for one in of):.3f}"
                for word, key in MEASURES.items()
                if all(key in one for one in of)
            ]
            how = f"mean of {len(of)} seeds" if len(of) > 1 else "one seed"
            parts.append(f"{' and '.join(values)} by `{name}`, {how}")
    if not parts:
        return "Not yet in the table of [results](../results.md)."
    return f"On `{DATA}` with the work of [results](../results.md): {'; '.join(parts)}."


if __name__ == "__main__":
    main()
