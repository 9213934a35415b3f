"""Puts README.md and docs/ together for mkdocs, in build/: `make docs` calls it.

README.md becomes the first page, pages of methods and experiments are listed by their titles, and
the words of the measures and the settings of each method, which the code has, are added. Links to
code become plain text, since a site has no code.
"""

import dataclasses
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "site-pages"
FIRST = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages that lie beside docs/, and what the site calls them."""


def rewritten(text: str, page: Path, *, lift: str = "") -> str:
    """Links as the site has them.

    Args:
        text: of the page.
        page: where it lies in the repository.
        lift: what is cut off the beginning of targets, as `docs/`.
    """

    def link(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        path, hash_, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        there = (page.parent / path).resolve()
        if there.suffix == ".md" or there.suffix in (".png", ".svg"):
            name = FIRST.get(there.name, path) if there.parent == ROOT else path
            back = "../" * len(page.parent.relative_to(ROOT).parts[1:])
            name = f"{back}{name}" if name != path else name.removeprefix(lift)
            return f"[{words}]({name}{hash_}{anchor})"
        return f"`{words}`" if "`" not in words else words

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def title(page: Path) -> str:
    """The first heading."""
    return next(line[2:] for line in page.read_text().splitlines() if line.startswith("# "))


def _by_title(page: Path) -> tuple[bool, str]:
    """A folder's list of pages comes first."""
    return page.stem != "README", title(page).lower()


def measures() -> str:
    """What each measure says, as the report has it."""
    from manyviews.diagnosis.explain import MEASURES

    parts = ["# Measures\n\nWhat `diagnose` and the report measure without labels.\n"]
    for found in MEASURES.values():
        facts = {
            "Says": found.says,
            "Cannot": found.cannot,
            "Better where": found.better,
            "Evidence": found.evidence,
            "Unit": found.unit,
        }
        said = "\n".join(f"- **{name}**: {text}" for name, text in facts.items() if text)
        parts.append(f"## {found.title[:1].upper()}{found.title[1:]}\n\n{said}\n")
    return "\n".join(parts)


def settings(name: str) -> str:
    """The method's own settings, as its config's docstring has them; "" where it has none."""
    from docstring_parser import parse  # of tyro, which reads the same texts for --help

    from manyviews.methods.catalog import METHODS

    if name not in METHODS:  # a page of several methods
        return ""
    config = METHODS[name].config
    said = {one.arg_name: one.description or "" for one in parse(config.__doc__ or "").params}
    rows = [
        f"| `--method.{field.name.replace('_', '-')}` | `{_default(field)}` "
        f"| {' '.join(said.get(field.name, '').split()).replace('|', '&#124;')} |"
        for field in dataclasses.fields(config)
    ]
    if not rows:
        return ""
    head = (
        "\n## The method's own settings\n\nThe recipe, batch, rate and views are as "
        f"`manyviews train {name} --help` says; it may also set others of these than the "
        "defaults here.\n\n| flag | default | what it is |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _default(field: "dataclasses.Field[object]") -> object:
    """What a setting is where none is given."""
    if field.default is not dataclasses.MISSING:
        return field.default
    made = field.default_factory
    return "" if made is dataclasses.MISSING else type(made()).__name__


def main() -> None:
    """Write build/site-pages and build/mkdocs.yml."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for page in sorted((ROOT / "docs").rglob("*")):
        target = PAGES / page.relative_to(ROOT / "docs")
        if page.suffix in (".png", ".svg"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, target)
        elif page.suffix == ".md":
            target.parent.mkdir(parents=True, exist_ok=True)
            more = settings(page.stem) if page.parent.name == "methods" else ""
            target.write_text(rewritten(page.read_text(), page) + more)
    for name, target in FIRST.items():
        text = rewritten((ROOT / name).read_text(), ROOT / name, lift="docs/")
        (PAGES / target).write_text(text)
    (PAGES / "measures.md").write_text(measures())
    config = (ROOT / "mkdocs.yml").read_text()
    for word, folder in (("METHODS", "methods"), ("EXPERIMENTS", "experiments")):
        pages = sorted(PAGES.glob(f"{folder}/*.md"), key=_by_title)
        rows = [f"      - {title(p)!r}: {folder}/{p.name}" for p in pages]
        config = config.replace(f" {word}\n", "\n" + "\n".join(rows) + "\n")
    config = config.replace("docs_dir: build/", "docs_dir: ").replace(
        "site_dir: build/", "site_dir: "
    )
    (ROOT / "build" / "mkdocs.yml").write_text(config)
    print(f"{len(list(PAGES.rglob('*.md')))} pages in {PAGES}")


if __name__ == "__main__":
    main()
