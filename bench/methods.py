"""Train every method of a kind with the same amount of encoder work and write a table.

    python bench/methods.py [--passes 10] [--recipes NAME ...] [--seeds 0] [--runs runs/table]
    python bench/methods.py --times [--recipes NAME ...]    # on a machine that does nothing else
    python bench/methods.py --kind video --data clips/train --labelled clips.csv

The table of images is docs/results.md; those of videos, sounds, both together and points, which are
of data that one has, are docs/results-video.md and so on. `--labelled` is what `evaluate` takes.

Work is counted, not timed (work.py): the operations of every call of an encoder. The budget is what
one recipe (of images SimCLR's) needs for `--passes` over the data; each recipe gets as many steps
as the budget allows, also for the passes over the data that it makes before the first epoch and
between epochs. So a busy machine cannot spoil the table.

Runs that are finished below --runs are not trained again, so an interrupted table goes on. Each
run's row, which `manyviews compare` gives, is kept beside the page in docs/results.json with a
digest of its settings: as long as a recipe and its steps stay what they are, its rows stay in the
table and are not made again. What the page says below "About these runs" is kept.

`--times` trains nothing and takes the time of a step beside SimCLR's, by turns. It is kept in
docs/results-times.json (of images), and a column of the budget when the page is next written
(`--recipes` with no name is enough).
"""

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import pages
import torch
from pages import LEFT_OUT
from relative import Stepping, relative
from work import DATA, NOTHING, Between, Cost, cost, of_passes, one_batch, settled

from manyviews import recipes
from manyviews.core import UsageError
from manyviews.core.settings import dump
from manyviews.methods.catalog import METHODS
from manyviews.reports.table import Cell, Column, Row, Table, markdown
from manyviews.runs.assemble import assemble
from manyviews.verbs.compare import compare
from manyviews.verbs.listing import MEASURED

UNIT = "simclr"
"""Of images, whose passes the budget is given in."""
TIMED, ROUNDS = 64, 3
"""Images in a step that is timed, at most, and such steps of each recipe after one to warm up."""
KEPT = "## About these runs"
BY_INTERVALS = (
    "Bold is the best value of a column and every other whose 95 % interval reaches that of the "
    "best. Columns in which nothing can be told apart, columns without intervals, and those whose "
    "better direction depends on the method or the task, mark nothing."
)
OF_PAIRS = ("Bold", '"No better than untrained"')
"""How notes of `compare` begin that are of rows of one comparison."""
RESULTS = Path(__file__).parents[1].resolve() / "docs" / "results.md"
ROW = re.compile(r"(?P<recipe>.+)-(?P<seed>\d+)(?:, .+)?")
"""The name of a run, and of a row of one of its encoders."""


@dataclass(frozen=True)
class Kind:
    """What one table is of.

    Attributes:
        streams: that its recipes take.
        unit: whose passes the budget is given in.
        page: beside docs/results.md.
        left_out: recipe -> why.
    """

    streams: tuple[str, ...]
    unit: str
    page: str
    left_out: Mapping[str, str]

    def recipes(self) -> list[str]:
        """Those that size themselves to one's own data."""
        return [
            name
            for name in recipes.RECIPES
            if name not in self.left_out
            and not name.endswith(recipes.AUTHORS_DATA)
            and recipes.streams_of(name) == self.streams
        ]


KINDS = {
    "image": Kind(("image",), UNIT, "results.md", LEFT_OUT),
    "video": Kind(("video",), "rho-simclr", "results-video.md", {}),
    "audio": Kind(("audio",), "audio-simclr", "results-audio.md", {}),
    "audio-video": Kind(
        ("video", "audio"),
        "avid",
        "results-audio-video.md",
        {"cma": "wants an AVID run to start from", "mavil-second": "wants a teacher"},
    ),
    "points": Kind(("points",), "depthcontrast", "results-points.md", {}),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=[*KINDS], default="image")
    parser.add_argument("--data", default="", help="what is trained on")
    parser.add_argument("--labelled", default="", help="what is measured on")
    parser.add_argument("--passes", type=float, default=10.0, help="of the recipe of the budget")
    parser.add_argument("--runs", type=Path, default=Path("runs/table"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--recipes", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--count", action="store_true", help="print the plan and train nothing")
    parser.add_argument(
        "--times", action="store_true", help="of steps beside SimCLR's; no training"
    )
    options = parser.parse_args(arguments)
    kind = KINDS[options.kind]
    if options.kind == "image":
        options.data, options.labelled = options.data or DATA, options.labelled or DATA
    if not options.data or not options.labelled:
        parser.error(f"--kind {options.kind} wants --data and --labelled")
    options.out = options.out or Path("docs") / kind.page
    named = kind.recipes()
    options.recipes = named if options.recipes is None else options.recipes
    store = options.out.with_suffix(".json")
    times = options.out.with_name(f"{options.out.stem}-times.json")
    if options.times:
        timed(options.recipes, times)
        return
    first = [kind.unit, *(name for name in named if name in options.recipes and name != kind.unit)]
    plan = planned(first, options.passes, data=options.data)
    print("\n".join(budget_table(plan, read_times(times))), flush=True)
    if options.count:
        return
    for seed in options.seeds:
        for name in options.recipes:
            steps = plan[name][1]
            key = digest(name, steps, data=options.data)
            kept = read(store)
            rows = [row for row in rows_of(name, kept) if seed == int(ROW.fullmatch(row)["seed"])]
            if rows and all(kept["rows"][row]["digest"] == key for row in rows):
                continue
            run = train(name, steps, seed, options.runs / f"{name}-{seed}", data=options.data)
            if run is not None:
                write(store, with_run(kept, compare([run], data=options.labelled).table, key))
    shown = [kind.unit, *(n for n in named if n != kind.unit and rows_of(n, read(store)))]
    plan = planned(shown, options.passes, data=options.data)
    digests = {name: digest(name, steps, data=options.data) for name, (_, steps) in plan.items()}
    found = table(read(store), digests)
    options.out.write_text(page(found, plan, options, read_times(times)), encoding="utf-8")
    if options.out.resolve() == RESULTS:
        MEASURED.write_text(json.dumps(in_short(found), indent=1) + "\n", encoding="utf-8")
        pages.write(read(store)["rows"])
    print(options.out.read_text(encoding="utf-8"))


def planned(names: list[str], passes: float, *, data: str = DATA) -> dict[str, tuple[Cost, int]]:
    """Recipe -> its cost and its number of steps; the budget is so many passes of the first."""
    costs = {name: cost(name, data=data) for name in names}
    budget = of_passes(costs[names[0]], passes)
    return {name: (found, found.steps(budget)) for name, found in costs.items()}


def train(
    name: str,
    steps: int,
    seed: int,
    run: Path,
    given: Mapping[str, Any] = NOTHING,
    *,
    data: str = DATA,
) -> Path | None:
    """The run, trained where it is not there yet; None where that fails."""
    if finished(run):
        return run
    command = [sys.executable, "-m", "manyviews", "train", name, "--data", data]
    command += ["--out", str(run), "--train.steps", str(steps), "--seed", str(seed)]
    command += [word for key, value in given.items() for word in (f"--{key}", str(value))]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=False)
    return run if finished(run) else None


def finished(run: Path) -> bool:
    return any(run.glob("encoder*.safetensors"))


def digest(name: str, steps: int, given: Mapping[str, Any] = NOTHING, *, data: str = DATA) -> str:
    """Of a recipe's settings, but for what a machine adds to them."""
    run = settled(name, given, data=data)
    tree = dump(replace(run, train=replace(run.train, minutes=0.0, epochs=0, steps=steps)))
    tree["data"].pop("workers")
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def read(store: Path) -> dict[str, Any]:
    """What earlier calls measured: columns by key, rows by name, and the notes below the table."""
    if store.exists():
        return json.loads(store.read_text(encoding="utf-8"))
    return {"columns": {}, "rows": {}, "beside": {}, "notes": []}


def write(store: Path, kept: Mapping[str, Any]) -> None:
    store.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def with_run(kept: Mapping[str, Any], found: Table, key: str) -> dict[str, Any]:
    """What is kept, and a run's rows, one an encoder, with what stands beside them."""
    tree = found.to_json()
    made = {"digest": key, "torch": torch.__version__, "machine": platform.machine()}
    return {
        "columns": kept["columns"] | {column["key"]: column for column in tree["columns"]},
        "rows": kept["rows"]
        | {row["name"]: made | {"row": row} for row in tree["rows"] if row["trained"]},
        "beside": kept["beside"] | {row["name"]: row for row in tree["rows"] if not row["trained"]},
        "notes": tree["notes"],
    }


def rows_of(name: str, kept: Mapping[str, Any]) -> list[str]:
    """A recipe's rows, by seed."""
    found = [(m, row) for row in kept["rows"] if (m := ROW.fullmatch(row)) and m["recipe"] == name]
    return [row for _, row in sorted(found, key=lambda one: (int(one[0]["seed"]), one[1]))]


def table(kept: Mapping[str, Any], digests: Mapping[str, str]) -> Table:
    """What is kept of the recipes as they are now."""
    mine = [
        kept["rows"][row]["row"]
        for name, key in digests.items()
        for row in rows_of(name, kept)
        if kept["rows"][row]["digest"] == key
    ]
    known = {field.name for field in fields(Column)}
    return Table(
        title="methods",
        columns=[
            Column(**{k: v for k, v in column.items() if k in known})
            for column in kept["columns"].values()
        ],
        rows=[as_row(row) for row in (*kept["beside"].values(), *mine)],
        # rows were compared one by one, so that no test saw two of them together
        notes=[BY_INTERVALS, *(n for n in kept["notes"] if not n.startswith(OF_PAIRS))],
    )


def in_short(found: Table) -> dict[str, dict[str, float]]:
    """kNN accuracy of each method by its own recipe, the mean over seeds, and what is beside."""
    knn = f"knn|{DATA}|accuracy"
    by: dict[str, list[float]] = {}
    for row in found.rows:
        name = row.name.rpartition("-")[0] if row.trained else row.name
        by.setdefault(name, []).append(cast(float, row.cells[knn].value))
    mean = {name: round(fmean(values), 4) for name, values in by.items()}
    beside = [row.name for row in found.rows if not row.trained]
    return {
        "beside": {name: mean[name] for name in beside},
        "methods": {name: mean[name] for name in METHODS if name in mean},
    }


def as_row(tree: Mapping[str, Any]) -> Row:
    """The inverse of a row of `Table.to_json`."""
    words = {k: v for k, v in tree.items() if k not in ("name", "trained", "measures")}
    cells = {
        key: Cell(cell["value"], cell["low"], cell["high"])
        for key, cell in tree["measures"].items()
    }
    return Row(name=tree["name"], cells=cells, words=words, trained=tree["trained"])


def timed(names: list[str], file: Path) -> None:
    """Add to the file of each recipe a step's time over that of SimCLR's on as many images."""
    torch.set_num_threads(1)
    units = dict[int, Stepping]()
    for name in names:
        try:
            count, one = stepping(name)
        except UsageError as error:
            print(f"{name}: {error}", flush=True)
            continue
        if count not in units:
            units[count] = stepping(UNIT, count)[1]
        found = round(relative(units[count], one, rounds=ROUNDS), 3)
        write(file, read_times(file) | {name: found})
        print(f"{name}: {found:.2f} of {UNIT}", flush=True)


def stepping(name: str, count: int = TIMED) -> tuple[int, Stepping]:
    """Steps of a recipe on one batch; of how many images, and they."""
    run = settled(name)
    count = min(count, run.data.batch_size)
    data = replace(run.data, batch_size=count, workers=0)
    assembly = assemble(replace(run, data=data, train=replace(run.train, accumulate=1)))
    return count, Stepping(assembly, one_batch(assembly, count), Between(assembly))


def read_times(file: Path) -> dict[str, float]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def budget_table(plan: dict[str, tuple[Cost, int]], times: Mapping[str, float]) -> list[str]:
    """A row a recipe: what a step costs, between epochs, and what the budget comes to."""
    of_time = " step time, SimCLR's = 1 |" if times else ""
    rows = [
        "| recipe | batch | GFLOP a sample | a sample between epochs | a sample once | steps "
        f"| passes |{of_time}",
        f"|---|---:|---:|---:|---:|---:|---:|{'---:|' if times else ''}",
    ]
    for name, (each, steps) in plan.items():
        image, between = each.step / each.batch / 1e9, each.epoch / each.images / 1e9
        once = each.once / each.images / 1e9
        rows.append(
            f"| {name} | {each.batch} | {image:.3f} | {between:.3f} | {once:.3f} | {steps:,} "
            f"| {each.passes(steps):.1f} |"
            + (f" {f'{times[name]:.2f}' if name in times else ''} |" if times else "")
        )
    return rows


def page(
    found: Table,
    plan: dict[str, tuple[Cost, int]],
    options: argparse.Namespace,
    times: Mapping[str, float],
) -> str:
    before = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    kept = before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
    kind = KINDS[options.kind]
    unit, steps = plan[kind.unit]
    left = "; ".join(f"`{name}` {why}" for name, why in kind.left_out.items())
    said = (INTRODUCTION if options.kind == "image" else OF_OTHERS).format(
        passes=options.passes,
        teraflop=unit.total(steps) / 1e12,
        data=options.data,
        labelled=options.labelled,
        kind=options.kind,
        unit=kind.unit,
        samples=unit.images,
        machine=platform.machine(),
        torch=torch.__version__,
        left=f" Left out: {left}." if left else "",
    )
    told = [BESIDE.format(rounds=ROUNDS, images=TIMED)] if times else []
    budget = "\n".join([*budget_table(plan, times), "", *told])
    return f"{said}\n## The budget\n\n{budget}\n{markdown(found)}\n{kept.rstrip()}\n"


BESIDE = """A step's time is beside that of SimCLR's step on as many images, {images} at most: the
median of {rounds} steps by turns with SimCLR's, on one thread, from a batch that is there to the
last hook. Making views and what comes between epochs are not in it (`python bench/methods.py
--times`).
"""
INTRODUCTION = """# What each method reaches on the built-in images

Each recipe trained without labels on the 12,000 training images of `{data}` with the same amount
of encoder work: {teraflop:,.0f} TFLOP, what SimCLR needs for {passes:g} passes ({machine}, torch
{torch}, no GPU); a row's last number is its seed. An encoder's call with gradient counts three
times its forward; heads and decoders are not counted. That is a small budget: it says what a
method does with little work, not where it ends. kNN is cosine, k=20, T=0.07; linear is batch norm
without affine and a linear layer, its decay chosen on held-out training labels. Both learn from
the 12,000 training labels and are tested on 2,000 images.{left}

Made by `python bench/methods.py --passes {passes:g}` (`make table`), which trains what has no row
in results.json yet and then does `manyviews compare`. Recipes that are not here have not been
trained so.
"""
OF_OTHERS = """# What each method of {kind} reaches

Each recipe trained without labels on the {samples:,} samples of `{data}` with the same amount of
encoder work: {teraflop:,.1f} TFLOP, what {unit} needs for {passes:g} passes ({machine}, torch
{torch}, no GPU); a row's last number is its seed. An encoder's call with gradient counts three
times its forward; heads and decoders are not counted. That is a small budget: it says what a
method does with little work, not where it ends. kNN is cosine, k=20, T=0.07; linear is batch norm
without affine and a linear layer, its decay chosen on held-out training labels. Both learn from the
training labels of `{labelled}` and are tested on its others.{left}

Made by `python bench/methods.py --kind {kind} --data {data} --labelled {labelled} --passes
{passes:g}`, which trains what has no row yet and then does `manyviews compare`.
"""

if __name__ == "__main__":
    main()
