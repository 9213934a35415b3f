"""The options of each verb. Nothing heavy is imported before a verb runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from manyviews.parsing import finish, parse, pop, pop_switch, verb


def _train(args: list[str]) -> int:
    from manyviews import api
    from manyviews.config import nearest
    from manyviews.core import UsageError
    from manyviews.recipes import RECIPES

    wants_help = "--help" in args or "-h" in args
    if not args or args[0].startswith("-"):
        names = ", ".join(RECIPES)
        if wants_help:
            print(f"usage: manyviews train RECIPE --data DATA [--out RUN] ...\n\nrecipes: {names}")
            print("`manyviews train RECIPE --help` shows every setting with its default.")
            return 0
        raise UsageError(f"train wants a recipe first: manyviews train RECIPE. Known: {names}.")
    recipe, rest = args[0], args[1:]
    if recipe not in RECIPES:
        raise UsageError(f"no recipe '{recipe}'. {nearest(recipe, list(RECIPES))}")
    data, out = pop(rest, "--data") or pop(rest, "--data.source"), pop(rest, "--out")
    as_json = pop_switch(rest, "--json")
    rest = [re.sub(r"^--on-collapse\b", "--train.on-collapse", arg) for arg in rest]
    prog = f"manyviews train {recipe} [--data DATA] [--out RUN] [--json]"
    if wants_help:
        facts = api.facts(data) if data else api.typical_facts()
        _parse_run(recipe, facts, [*rest, "--help"], prog)
    if data is None:
        raise UsageError(f"train wants data: manyviews train {recipe} --data DIR.")
    run = _parse_run(recipe, api.facts(data, **_data_flags(rest)), rest, prog)
    result = api.execute(run, out=Path(out) if out else None)
    return finish(result, as_json)


def _data_flags(rest: list[str]) -> dict[str, int]:
    """The few flags that matter before a recipe sees the data."""
    from manyviews.core import UsageError

    copy, found = list(rest), dict[str, int]()
    for name in ("channels", "max-pixels", "max_pixels"):
        value = pop(copy, f"--data.{name}")
        if value is not None:
            try:
                found[name.replace("-", "_")] = int(value)
            except ValueError:
                raise UsageError(f"--data.{name} wants a whole number; got '{value}'.") from None
    return found


def _parse_run(recipe: str, facts: Any, rest: list[str], prog: str) -> Any:
    from manyviews.recipes import RECIPES, one_duration
    from manyviews.recipes.run import Run

    default = RECIPES[recipe](facts)
    run = parse(Run[type(default.method)], rest, prog=prog, default=default)
    return one_duration(run, default)


def _demo(args: list[str]) -> int:
    def demo(out: Path = Path("runs/demo"), minutes: float = 5.0, seed: int = 0) -> Any:
        """Train on the built-in images, evaluate on their labels, write the report.

        Args:
            out: the run directory to make.
            minutes: wall-clock budget of the training.
            seed: of everything that is random.
        """
        from manyviews import api

        return lambda: api.demo(out=out, minutes=minutes, seed=seed)

    return verb(demo, args, prog="manyviews demo [--json]")


def _doctor(args: list[str]) -> int:
    import tyro

    def doctor(
        data: tyro.conf.Positional[str],
        recipe: tyro.conf.Positional[str] = "simclr",
        bench: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,  # noqa: FBT002, RUF100
        channels: int = 0,
        max_pixels: int = 200_000_000,
        sample: int = 0,
    ) -> Any:
        """Look at DATA: unreadable files, sizes, channels, duplicates, mean and std.

        With --bench: what bounds training on this machine, and what to change.

        Args:
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            recipe: what to recommend, or to measure.
            bench: measure decoding, views, copies and steps, in less than a minute.
            channels: bring images to this many; 0 takes what most have.
            max_pixels: larger images are refused from their header.
            sample: examine only this many images, evenly spread; 0 examines all.
        """
        from manyviews import api

        return lambda: api.doctor(
            data, recipe, channels=channels, max_pixels=max_pixels, sample=sample, bench=bench
        )

    return verb(doctor, args, prog="manyviews doctor [--json]")


def _pack(args: list[str]) -> int:
    import tyro

    def pack(
        data: tyro.conf.Positional[str],
        out: tyro.conf.Positional[Path],
        size: int = 256,
        format: Literal["jpeg", "uint8"] = "jpeg",  # noqa: A002, RUF100
        quality: int = 90,
        channels: int = 0,
        max_pixels: int = 200_000_000,
        workers: int = -1,
    ) -> Any:
        """Copy DATA once, resized, into few large files with checksums; OUT is then a DATA.

        Interrupted, the same command goes on where it stopped.

        Args:
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            out: the folder to make.
            size: the shorter side of larger images becomes so many pixels; none is enlarged.
            format: JPEG files, or uint8 pixels, larger and with nothing to decode.
            quality: of JPEG, 1 to 100.
            channels: bring images to this many; 0 takes what most have.
            max_pixels: larger images are refused from their header.
            workers: decoding processes; -1 takes a core each.
        """
        from manyviews import api

        return lambda: api.pack(
            data,
            out,
            size=size,
            format=format,
            quality=quality,
            channels=channels,
            max_pixels=max_pixels,
            workers=workers,
        )

    return verb(pack, args, prog="manyviews pack [--json]")


def _resume(args: list[str]) -> int:
    import tyro

    def resume(
        run: tyro.conf.Positional[Path],
        accept_data_change: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,  # noqa: FBT002
    ) -> Any:
        """Go on where an interrupted run stopped; on a CPU, bit for bit.

        Args:
            run: the run directory.
            accept_data_change: go on although the files in the data have changed.
        """
        from manyviews import api

        return lambda: api.resume(run, accept_data_change=accept_data_change)

    return verb(resume, args, prog="manyviews resume [--json]")


def _embed(args: list[str]) -> int:
    import tyro

    def embed(
        run: tyro.conf.Positional[str],
        data: str,
        out: Path,
        level: Literal["image", "patch"] = "image",
        encoder: str = "",
        image_size: int = 0,
        batch_size: int = 256,
        map: Literal["pca", "umap", "pacmap"] = "pca",  # noqa: A002, RUF100
        thumbnails: int = 0,
    ) -> Any:
        """Write the features of every image, with its name.

        Args:
            run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the
                checkpoint of another project.
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            out: a .parquet or .npy file.
            level: one vector an image, or one a patch.
            encoder: timm's name of the architecture of a checkpoint.
            image_size: side in pixels for timm models and checkpoints; 0 takes their own.
            batch_size: images at a time.
            map: of the columns x and y; umap and pacmap come with manyviews[maps].
            thumbnails: longer side in pixels of the column image; 0 for none.
        """
        from manyviews import api

        return lambda: api.embed(
            run,
            data=data,
            out=out,
            level=level,
            encoder=encoder,
            image_size=image_size,
            batch_size=batch_size,
            map=map,
            thumbnails=thumbnails,
        )

    return verb(embed, args, prog="manyviews embed [--json]")


def _evaluate(args: list[str]) -> int:
    import tyro

    from manyviews.evaluating import Robustness
    from manyviews.evaluation.recipe import FineTune

    finetune_, robustness_ = FineTune(), Robustness()

    def evaluate(
        run: tyro.conf.Positional[str],
        data: str,
        protocol: tuple[str, ...] = ("knn",),
        train_data: str = "",
        encoder: str = "",
        image_size: int = 0,
        test_features: str = "",
        batch_size: int = 256,
        baselines: bool = True,  # noqa: FBT001, FBT002, RUF100 - becomes a flag
        finetune: FineTune = finetune_,
        robustness: Robustness = robustness_,
    ) -> Any:
        """Measure features with labels, which training never saw, beside raw pixels.

        Args:
            run: a run directory, an encoder.safetensors, timm:NAME, with --encoder the checkpoint
                of another project, or a .npy of features.
            data: a folder of class folders, a CSV of path,label, fashion-mnist:DIR or
                builtin:fashion.
            protocol: one or several of `manyviews list protocols`.
            train_data: learn from this labelled data instead, test on --data (transfer).
            encoder: timm's name of the architecture of a checkpoint.
            image_size: side in pixels for timm models and checkpoints; 0 takes their own.
            test_features: where RUN is a .npy of the training part: the .npy of the test part.
            batch_size: images at a time.
            baselines: also measure raw pixels, centred pixels and the untrained encoder.
            finetune: how the protocol finetune trains.
            robustness: what the protocol robustness tries.
        """
        from manyviews import api

        return lambda: api.evaluate(
            run,
            data=data,
            protocol=protocol,
            train_data=train_data,
            encoder=encoder,
            image_size=image_size,
            test_features=test_features or None,
            batch_size=batch_size,
            baselines=baselines,
            finetune=finetune,
            robustness=robustness,
        )

    return verb(evaluate, args, prog="manyviews evaluate [--json]")


def _diagnose(args: list[str]) -> int:
    import tyro

    def diagnose(
        run: tyro.conf.Positional[str],
        data: str = "",
        labels: str = "",
        encoder: str = "",
        image_size: int = 0,
        sample: int = 1000,
        views: int = 10,
        clusters: int = 20,
    ) -> Any:
        """Measure features without labels: rank, dimension, entropy, invariance, grouping.

        Args:
            run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the
                checkpoint of another project.
            data: unlabelled images; a run's own if not given.
            labels: labelled data to hold the clusters against; its images are then looked at.
            encoder: timm's name of the architecture of a checkpoint.
            image_size: side in pixels for timm models and checkpoints; 0 takes their own.
            sample: images looked at.
            views: random views of each image.
            clusters: of k-means; about as many as there may be classes.
        """
        from manyviews import api

        return lambda: api.diagnose(
            run,
            data=data,
            labels=labels,
            encoder=encoder,
            image_size=image_size,
            sample=sample,
            views=views,
            clusters=clusters,
        )

    return verb(diagnose, args, prog="manyviews diagnose [--json]")


def _compare(args: list[str]) -> int:
    import tyro

    def compare(
        runs: tyro.conf.Positional[tuple[str, ...]],
        data: str = "",
        out: str = "",
        anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,  # noqa: FBT002
    ) -> Any:
        """Put runs side by side: invariance, grouping, entropy, rank, accuracy, cost.

        Args:
            runs: run directories.
            data: labelled data; protocols that a run lacks on it are measured.
            out: a directory for compare.md, compare.json and compare.html, or one such file.
            anyway: compare although data or budget differ, and say what does.
        """
        from manyviews import api

        return lambda: api.compare(runs, data=data, out=out, anyway=anyway)

    return verb(compare, args, prog="manyviews compare [--json]")


def _report(args: list[str]) -> int:
    import tyro

    def report(
        run: tyro.conf.Positional[Path],
        map: Literal["pca", "umap", "pacmap"] = "pca",  # noqa: A002, RUF100
    ) -> Any:
        """Write RUN/report.html, one page that works offline.

        Args:
            run: the run directory.
            map: how features become points; umap and pacmap come with manyviews[maps].
        """
        from manyviews import api

        return lambda: api.report(run, map=map)

    return verb(report, args, prog="manyviews report [--json]")


def _export(args: list[str]) -> int:
    import tyro

    def export(
        run: tyro.conf.Positional[Path],
        out: Path,
        format: Literal["timm", "safetensors", "onnx"] = "safetensors",  # noqa: A002, RUF100
    ) -> Any:
        """Write the encoder for another program.

        Args:
            run: a run directory, or an encoder.safetensors.
            out: the file to write.
            format: timm weights, self-describing safetensors, or ONNX.
        """
        from manyviews import api

        return lambda: api.export(run, out=out, format=format)

    return verb(export, args, prog="manyviews export [--json]")


def _list(args: list[str]) -> int:
    import tyro

    def listing(
        what: tyro.conf.Positional[Literal["recipes", "methods", "encoders", "protocols"]],
    ) -> Any:
        """List what there is, a line each.

        Args:
            what: recipes, methods, encoders or protocols.
        """
        from manyviews import api

        return lambda: api.listing(what)

    return verb(listing, args, prog="manyviews list [--json]")


HANDLERS: dict[str, Callable[[list[str]], int]] = {
    "demo": _demo,
    "doctor": _doctor,
    "pack": _pack,
    "train": _train,
    "resume": _resume,
    "embed": _embed,
    "evaluate": _evaluate,
    "diagnose": _diagnose,
    "compare": _compare,
    "report": _report,
    "export": _export,
    "list": _list,
}
