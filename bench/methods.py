"""Train every image method with the same amount of encoder work and write docs/results.md.

    python bench/methods.py [--passes 10] [--recipes NAME ...] [--seeds 0] [--runs runs/table]

Work is counted, not timed: the floating-point operations of every call of an encoder, of a teacher
or of a moving average, a call with gradient counting three times (its backward costs twice its
forward), heads and decoders not counted. The budget is what SimCLR's recipe needs for `--passes`
over the 12,000 built-in images; each recipe gets as many steps as the budget allows, also for the
passes over the data that it makes between epochs. So a busy machine cannot spoil the table.

Runs that are finished below --runs are not trained again, so an interrupted table goes on. Each
run's row, which `manyviews compare` gives, is kept beside the page in docs/results.json with a
digest of its settings: as long as a recipe and its steps stay what they are, its rows stay in the
table and are not made again. What the page says below "About these runs" is kept.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.utils.flop_counter import FlopCounterMode

from manyviews import recipes
from manyviews.core import Clock, Encoder
from manyviews.core.settings import dump
from manyviews.data import loader
from manyviews.data.sources import BUILTIN
from manyviews.methods.catalog import METHODS
from manyviews.reports.table import Cell, Column, Row, Table, markdown
from manyviews.runs.assemble import Assembly, assemble
from manyviews.runs.facts import facts
from manyviews.verbs.compare import compare
from manyviews.verbs.listing import MEASURED

DATA = BUILTIN
UNIT = "simclr"
"""Whose passes the budget is given in."""
BATCH = 128
"""Images in the step that is counted, at most; operations grow with them in proportion."""
KEPT = "## About these runs"
BY_INTERVALS = (
    "Bold is the best value of a column and every other whose 95 % interval reaches that of the "
    "best. Columns in which nothing can be told apart, columns without intervals, and those whose "
    "better direction depends on the method or the task, mark nothing."
)
OF_PAIRS = ("Bold", '"No better than untrained"')
"""How notes of `compare` begin that are of rows of one comparison."""
RESULTS = Path(__file__).parents[1].resolve() / "docs" / "results.md"
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


@dataclass(frozen=True)
class Cost:
    """Operations of encoder passes: of an optimiser step, and of what comes between two epochs."""

    step: float
    epoch: float
    batch: int
    images: int

    def steps(self, budget: float) -> int:
        """How many steps the budget allows."""
        return max(1, round(budget / (self.step + self.epoch * self.batch / self.images)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=float, default=10.0, help="of SimCLR")
    parser.add_argument("--runs", type=Path, default=Path("runs/table"))
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--recipes", nargs="*", default=of_images())
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--count", action="store_true", help="print the plan and train nothing")
    options = parser.parse_args()
    plan = planned(sorted({UNIT, *options.recipes}, key=[UNIT, *of_images()].index), options.passes)
    print("\n".join(budget_table(plan)), flush=True)
    if options.count:
        return
    store = options.out.with_suffix(".json")
    for seed in options.seeds:
        for name in options.recipes:
            steps = plan[name][1]
            key = digest(name, steps)
            kept = read(store)
            if kept["rows"].get(f"{name}-{seed}", {}).get("digest") == key:
                continue
            run = train(name, steps, seed, options.runs)
            if run is not None:
                write(store, with_run(kept, compare([run], data=DATA).table, run.name, key))
    named = of_images()
    plan = planned(
        [UNIT, *(n for n in named if n != UNIT and rows_of(n, read(store)))], options.passes
    )
    found = table(read(store), {name: digest(name, steps) for name, (_, steps) in plan.items()})
    options.out.write_text(page(found, plan, options), encoding="utf-8")
    if options.out.resolve() == RESULTS:
        MEASURED.write_text(json.dumps(in_short(found), indent=1) + "\n", encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


def of_images() -> list[str]:
    """The recipes that size themselves to a folder of images."""
    return [
        name
        for name in recipes.RECIPES
        if name not in LEFT_OUT
        and not name.endswith(recipes.AUTHORS_DATA)
        and recipes.streams_of(name) == ("image",)
    ]


def planned(names: list[str], passes: float) -> dict[str, tuple[Cost, int]]:
    """Recipe -> its cost and its number of steps."""
    costs = {name: cost(name) for name in names}
    unit = costs[UNIT]
    budget = (unit.step * unit.images / unit.batch + unit.epoch) * passes
    return {name: (found, found.steps(budget)) for name, found in costs.items()}


def cost(name: str) -> Cost:
    """Count a step of a recipe, and what it asks for between epochs."""
    run = recipes.RECIPES[name](facts(DATA))
    size = run.data.batch_size
    count_of = min(BATCH, size)
    data = replace(run.data, batch_size=count_of, workers=0)
    assembly = assemble(replace(run, data=data, train=replace(run.train, accumulate=1)))
    batch, clock = one_batch(assembly, count_of), Clock(1, 1000)
    method = assembly.method.train()
    between = Between(assembly)
    with counted() as count, torch.no_grad():
        method.before_epoch(clock, between)
    epoch = count[0] * len(assembly.source) / max(1, between.seen) if between.seen else 0.0
    with counted() as count:
        method(batch, clock).total.backward()
    return Cost(count[0] * size / count_of, epoch, size, len(assembly.source))


def one_batch(assembly: Assembly, count: int) -> Any:
    raws = loader.batches(
        assembly.source,
        assembly.pipeline,
        seed=0,
        global_batch=count,
        start_step=0,
        stop_step=1,
        workers=0,
        on_bad=lambda _: None,
    )
    [raw] = next(iter(raws))
    return assembly.to_batch(raw)


class Between:
    """Stands for `embed_all`: embeds a batch each time and makes up the other rows."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.seen = 0

    def __call__(
        self, f: Callable[[Mapping[str, Tensor]], Tensor], *, share: bool = False
    ) -> Tensor:
        _, views = self.assembly.look(range(BATCH))
        made = f({name: view[:, 0] for name, view in views.items()}).float()
        self.seen = BATCH  # of the rows of each pass: passes add up in the operations
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(len(self.assembly.source), made.shape[1], generator=generator)
        return made.std() * rows + made.mean()


@contextmanager
def counted() -> Iterator[list[float]]:
    """Adds up the operations of all calls of encoders; three times those with gradient."""
    total, open_modes = [0.0], list[tuple[Encoder, FlopCounterMode]]()

    def before(module: torch.nn.Module, inputs: object) -> None:
        if isinstance(module, Encoder) and not open_modes:
            mode = FlopCounterMode(display=False)
            mode.__enter__()
            open_modes.append((module, mode))

    def after(module: torch.nn.Module, inputs: object, outputs: object) -> None:
        if open_modes and open_modes[0][0] is module:
            mode = open_modes.pop()[1]
            mode.__exit__(None, None, None)
            learns = torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters())
            total[0] += mode.get_total_flops() * (3 if learns else 1)

    handles = (
        hooks.register_module_forward_pre_hook(before),
        hooks.register_module_forward_hook(after),
    )
    try:
        yield total
    finally:
        for handle in handles:
            handle.remove()


def train(name: str, steps: int, seed: int, runs: Path) -> Path | None:
    """The run, trained where it is not there yet; None where that fails."""
    run = runs / f"{name}-{seed}"
    if finished(run):
        return run
    command = [sys.executable, "-m", "manyviews", "train", name, "--data", DATA]
    command += ["--out", str(run), "--train.steps", str(steps), "--seed", str(seed)]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=False)
    return run if finished(run) else None


def finished(run: Path) -> bool:
    return (run / "encoder.safetensors").exists()


def digest(name: str, steps: int) -> str:
    """Of a recipe's settings, but for what a machine adds to them."""
    run = recipes.RECIPES[name](facts(DATA))
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


def with_run(kept: Mapping[str, Any], found: Table, name: str, key: str) -> dict[str, Any]:
    """What is kept, and a run's row with what stands beside it."""
    tree = found.to_json()
    made = {"digest": key, "torch": torch.__version__, "machine": platform.machine()}
    rows = {row["name"]: row for row in tree["rows"]}
    return {
        "columns": kept["columns"] | {column["key"]: column for column in tree["columns"]},
        "rows": kept["rows"] | {name: made | {"row": rows.pop(name)}},
        "beside": kept["beside"] | rows,
        "notes": tree["notes"],
    }


def rows_of(name: str, kept: Mapping[str, Any]) -> list[str]:
    """A recipe's rows, by seed."""
    found = [row for row in kept["rows"] if row.rpartition("-")[0] == name]
    return sorted(found, key=lambda row: int(row.rpartition("-")[2]))


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


def budget_table(plan: dict[str, tuple[Cost, int]]) -> list[str]:
    """A row a recipe: what a step costs, between epochs, and what the budget comes to."""
    rows = [
        "| recipe | batch | GFLOP an image | GFLOP an image between epochs | steps | passes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (each, steps) in plan.items():
        image, between = each.step / each.batch / 1e9, each.epoch / each.images / 1e9
        passes = steps * each.batch / each.images
        rows.append(
            f"| {name} | {each.batch} | {image:.3f} | {between:.3f} | {steps:,} | {passes:.1f} |"
        )
    return rows


def page(found: Table, plan: dict[str, tuple[Cost, int]], options: argparse.Namespace) -> str:
    before = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    kept = before[before.index(KEPT) :] if KEPT in before else f"{KEPT}\n"
    unit, steps = plan[UNIT]
    said = INTRODUCTION.format(
        passes=options.passes,
        teraflop=(unit.step + unit.epoch * unit.batch / unit.images) * steps / 1e12,
        data=DATA,
        machine=platform.machine(),
        torch=torch.__version__,
        left="; ".join(f"`{name}` {why}" for name, why in LEFT_OUT.items()),
    )
    budget = "\n".join(budget_table(plan))
    return f"{said}\n## The budget\n\n{budget}\n\n{markdown(found)}\n{kept.rstrip()}\n"


INTRODUCTION = """# What each method reaches on the built-in images

Each recipe trained without labels on the 12,000 training images of `{data}` with the same amount
of encoder work: {teraflop:,.0f} TFLOP, what SimCLR needs for {passes:g} passes ({machine}, torch
{torch}, no GPU); a row's last number is its seed. An encoder's call with gradient counts three
times its forward; heads and decoders are not counted. That is a small budget: it says what a
method does with little work, not where it ends. kNN is cosine, k=20, T=0.07; linear is batch norm
without affine and a linear layer, its decay chosen on held-out training labels. Both learn from
the 12,000 training labels and are tested on 2,000 images. Left out: {left}.

Made by `python bench/methods.py --passes {passes:g}` (`make table`), which trains what has no row
in results.json yet and then does `manyviews compare`. Recipes that are not here have not been
trained so.
"""

if __name__ == "__main__":
    main()
