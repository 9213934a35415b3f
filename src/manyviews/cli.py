"""The command line: `manyviews VERB ...`. Each verb is the function of that name in `api`.

Nothing heavy is imported before a verb is known, so `manyviews --help` answers at once.
"""

import contextlib
import dataclasses
import errno
import io
import itertools
import json
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from manyviews import __version__

VERBS = {
    "demo": "built-in images: train, evaluate, report; minutes on a laptop",
    "doctor": "what is in DATA, what is wrong with it, what to train on it",
    "train": "RECIPE --data DATA --out RUN [--dotted.override value ...]",
    "resume": "RUN: go on where an interrupted run stopped",
    "embed": "RUN --data DATA --out FILE (.parquet or .npy)",
    "evaluate": "RUN --data LABELLED --protocol knn|linear",
    "report": "RUN: write RUN/report.html, one offline page",
    "export": "RUN --format timm|safetensors|onnx --out FILE",
    "list": "recipes|methods|encoders",
}

INTERRUPTED, COLLAPSED = 75, 20

_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 failed, 2 usage, 20 collapsed, 75 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"manyviews {__version__}")
        raise SystemExit(0)
    raise SystemExit(_guarded(arguments))


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<10}{line}" for verb, line in VERBS.items())
    return (
        "usage: manyviews VERB ...\n\n"
        "Learn features from unlabelled images, see whether it worked, keep the encoder.\n\n"
        f"{verbs}\n\n"
        "DATA: a folder (searched recursively), a text file of paths, fashion-mnist:DIR,\n"
        "builtin:fashion. LABELLED: a folder of class folders or a CSV of path,label.\n"
        "`manyviews VERB --help` shows a verb's options. Results take --json."
    )


def _guarded(arguments: list[str]) -> int:
    """Run a verb; whatever goes wrong ends as one line on standard error."""
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        from manyviews.config import nearest

        return _complain(f"no verb '{verb}'. {nearest(verb, list(VERBS))}", 2)
    from manyviews.core import Failure

    _log_to_stderr()
    try:
        with _among_ranks():
            return _HANDLERS[verb](rest)
    except Failure as failure:
        return _complain(str(failure), failure.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped.", 130) if os.environ.get("RANK", "0") == "0" else 130
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001, RUF100 - the last line of defence: no traceback for users
        return _complain(_unexpected(error), 1)


def _unexpected(error: Exception) -> str:
    """One line on an error that no verb foresaw; its traceback goes to a file."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}. Make room, or choose another place."
    problem = " ".join(f"unexpected {type(error).__name__}: {error}".split())[:300]
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="manyviews-", suffix=".log", delete=False
        ) as log:
            traceback.print_exc(file=log)
    except OSError:  # the disk is full there too
        return problem
    return f"{problem} The traceback is in {log.name}."


@contextlib.contextmanager
def _among_ranks() -> Generator[None]:
    """Under torchrun rank 0 alone prints, and one rank says what went wrong."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    from manyviews.training import launch

    quiet = contextlib.nullcontext()
    if os.environ["RANK"] != "0":
        logging.getLogger("manyviews").handlers[:] = [logging.NullHandler()]
        quiet = contextlib.redirect_stdout(io.StringIO())
    try:
        with quiet, launch.ranks(launch.device()):
            yield
    except launch.SaidElsewhere as said:
        raise SystemExit(said.exit_code) from None


def _complain(message: str, code: int) -> int:
    print(f"manyviews: {message}", file=sys.stderr)
    return code


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("manyviews")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _parse(kind: Any, args: Sequence[str], *, prog: str, default: Any = None) -> Any:
    """tyro, with its boxed complaints squeezed into the one line that users get."""
    import tyro

    from manyviews.core import UsageError

    said = io.StringIO()
    keywords = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(args), prog=prog, **keywords)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_one_line(said.getvalue(), prog)) from None


def _one_line(box: str, prog: str) -> str:
    """The first sentence and the first suggestion of tyro's box, which may be drawn in ASCII."""
    lines = [re.sub(r"^[│|+╭╰]|[│|+╮╯]$", "", line.strip()).strip() for line in box.splitlines()]
    rule = re.compile(r"[-─]{3,}")
    inside = lines[1:]  # after the title
    sections = [list(part) for ruled, part in itertools.groupby(inside, rule.match) if not ruled]
    sections = [[line for line in part if line] for part in sections if any(part)]
    body = " ".join(sections[0]) if sections else "the arguments cannot be read"
    meant = [part for part in sections if part[0].startswith("Perhaps you meant")]
    flags = [line.split()[0] for line in meant[0] if line.startswith("--")] if meant else []
    hint = f" Did you mean {flags[0]}?" if flags else ""
    return f"{body.rstrip('.')}.{hint} See {prog.partition(' [')[0]} --help."


def _pop(args: list[str], flag: str) -> str | None:
    """Take `--flag value` or `--flag=value` out of the arguments."""
    from manyviews.core import UsageError

    for i, arg in enumerate(args):
        if arg == flag:
            if i + 1 == len(args):
                raise UsageError(f"{flag} wants a value.")
            value = args[i + 1]
            del args[i : i + 2]
            return value
        if arg.startswith(f"{flag}="):
            del args[i]
            return arg.split("=", 1)[1]
    return None


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
    data, out = _pop(rest, "--data") or _pop(rest, "--data.source"), _pop(rest, "--out")
    as_json = _pop_switch(rest, "--json")
    rest = [re.sub(r"^--on-collapse\b", "--train.on-collapse", arg) for arg in rest]
    prog = f"manyviews train {recipe} [--data DATA] [--out RUN] [--json]"
    if wants_help:
        facts = api.facts(data) if data else api.typical_facts()
        _parse_run(recipe, facts, [*rest, "--help"], prog)
    if data is None:
        raise UsageError(f"train wants data: manyviews train {recipe} --data DIR.")
    run = _parse_run(recipe, api.facts(data, **_data_flags(rest)), rest, prog)
    result = api.execute(run, out=Path(out) if out else None)
    return _finish(result, as_json)


def _data_flags(rest: list[str]) -> dict[str, int]:
    """The few flags that matter before a recipe sees the data."""
    from manyviews.core import UsageError

    copy, found = list(rest), dict[str, int]()
    for name in ("channels", "max-pixels", "max_pixels"):
        value = _pop(copy, f"--data.{name}")
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
    run = _parse(Run[type(default.method)], rest, prog=prog, default=default)
    return one_duration(run, default)


def _pop_switch(args: list[str], flag: str) -> bool:
    if flag in args:
        args.remove(flag)
        return True
    return False


def _finish(result: Any, as_json: bool) -> int:  # noqa: FBT001 - the one choice
    """Print a result, as words or as one JSON document, and turn its status into an exit code."""
    if as_json:
        print(json.dumps(dataclasses.asdict(result), default=str, indent=2))
    else:
        for line in result.lines():
            print(line)
    status = getattr(result, "status", "done")
    return {"done": 0, "interrupted": INTERRUPTED, "collapsed": COLLAPSED}[status]


def _verb(function: Callable[..., Any], args: list[str], *, prog: str) -> int:
    as_json = _pop_switch(args, "--json")
    thunk = _parse(function, args, prog=prog)
    return _finish(thunk(), as_json)


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

    return _verb(demo, args, prog="manyviews demo [--json]")


def _doctor(args: list[str]) -> int:
    import tyro

    def doctor(
        data: tyro.conf.Positional[str],
        channels: int = 0,
        max_pixels: int = 200_000_000,
        sample: int = 0,
    ) -> Any:
        """Look at DATA: unreadable files, sizes, channels, duplicates, mean and std.

        Args:
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            channels: bring images to this many; 0 takes what most have.
            max_pixels: larger images are refused from their header.
            sample: examine only this many images, evenly spread; 0 examines all.
        """
        from manyviews import api

        return lambda: api.doctor(data, channels=channels, max_pixels=max_pixels, sample=sample)

    return _verb(doctor, args, prog="manyviews doctor [--json]")


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

    return _verb(resume, args, prog="manyviews resume [--json]")


def _embed(args: list[str]) -> int:
    import tyro

    def embed(
        run: tyro.conf.Positional[Path],
        data: str,
        out: Path,
        level: Literal["image", "patch"] = "image",
        batch_size: int = 256,
    ) -> Any:
        """Write the features of every image, with its name.

        Args:
            run: a run directory, or an encoder.safetensors.
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            out: a .parquet or .npy file.
            level: one vector an image, or one a patch.
            batch_size: images at a time.
        """
        from manyviews import api

        return lambda: api.embed(run, data=data, out=out, level=level, batch_size=batch_size)

    return _verb(embed, args, prog="manyviews embed [--json]")


def _evaluate(args: list[str]) -> int:
    import tyro

    def evaluate(
        run: tyro.conf.Positional[Path],
        data: str,
        protocol: Literal["knn", "linear"] = "knn",
        batch_size: int = 256,
    ) -> Any:
        """Measure the features with labels, which training never saw.

        Args:
            run: a run directory, or an encoder.safetensors.
            data: a folder of class folders, a CSV of path,label, fashion-mnist:DIR or
                builtin:fashion.
            protocol: knn (k=20, T=0.07, cosine) or linear (batch norm and a linear layer).
            batch_size: images at a time.
        """
        from manyviews import api

        return lambda: api.evaluate(run, data=data, protocol=protocol, batch_size=batch_size)

    return _verb(evaluate, args, prog="manyviews evaluate [--json]")


def _report(args: list[str]) -> int:
    import tyro

    def report(run: tyro.conf.Positional[Path]) -> Any:
        """Write RUN/report.html, one page that works offline.

        Args:
            run: the run directory.
        """
        from manyviews import api

        return lambda: api.report(run)

    return _verb(report, args, prog="manyviews report [--json]")


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

    return _verb(export, args, prog="manyviews export [--json]")


def _list(args: list[str]) -> int:
    import tyro

    def listing(what: tyro.conf.Positional[Literal["recipes", "methods", "encoders"]]) -> Any:
        """List what there is, a line each.

        Args:
            what: recipes, methods or encoders.
        """
        from manyviews import api

        return lambda: api.listing(what)

    return _verb(listing, args, prog="manyviews list [--json]")


_HANDLERS: dict[str, Callable[[list[str]], int]] = {
    "demo": _demo,
    "doctor": _doctor,
    "train": _train,
    "resume": _resume,
    "embed": _embed,
    "evaluate": _evaluate,
    "report": _report,
    "export": _export,
    "list": _list,
}
