"""Arguments to calls, and results to what is printed. Knows no verb."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro

from manyviews.core.errors import UsageError
from manyviews.core.progress import say_loading

T = TypeVar("T")

Positional = tyro.conf.Positional[T]
"""A parameter of a verb that is given without its name."""
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A parameter that is off unless its name is given."""

UNSAVED, INTERRUPTED, COLLAPSED = 1, 75, 20
_ARGUMENT = re.compile(r"(--[\w.-]+)(?: [A-Z{\[(]\S*)*|([A-Z]+)(?: \[.*\])?|(\{[\w,-]+\})")
"""A line of a box of tyro's that names an argument: --data STR|PATH, RUN or {recipes,...}."""
_RULE = re.compile(r"[-─]{3,}")
"""What divides a box of tyro's."""


def parse(
    kind: Any, args: Sequence[str], *, prog: str, default: Any = None, about: str = ""
) -> Any:
    """tyro, with its boxed complaints squeezed into the one line that users get.

    Args:
        kind: a dataclass or function whose fields or parameters are the flags.
        args: what was typed.
        prog: for the help text.
        default: an instance of `kind` with the defaults.
        about: what the help begins with, instead of `kind`'s docstring.
    """
    said = io.StringIO()
    keywords: dict[str, Any] = {} if default is None else {"default": default}
    if about:
        keywords["description"] = about
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(args), prog=prog, **keywords)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_one_line(said.getvalue(), prog)) from None


def _one_line(box: str, prog: str) -> str:
    """The first sentence and the first suggestion of tyro's box, which may be drawn in ASCII."""
    drawn = [re.sub(r"^[│|+╭╰]|[│|+╮╯]$", "", line.strip()) for line in box.splitlines()]
    verb = prog.partition(" [")[0]
    if missing := _missing(drawn):
        return f"{verb} needs {' and '.join(missing)}. See {verb} --help."
    lines = [line.strip() for line in drawn]
    inside = lines[1:]  # after the title
    sections = [list(part) for ruled, part in itertools.groupby(inside, _RULE.match) if not ruled]
    sections = [[line for line in part if line] for part in sections if any(part)]
    body = " ".join(sections[0]) if sections else "the arguments cannot be read"
    meant = [part for part in sections if part[0].startswith("Perhaps you meant")]
    flags = [line.split()[0] for line in meant[0] if line.startswith("--")] if meant else []
    hint = f" Did you mean {flags[0]}?" if flags else ""
    return f"{body.rstrip('.')}.{hint} See {verb} --help."


def _missing(drawn: Sequence[str]) -> list[str]:
    """Names of the arguments that a box says are missing: lines of nothing else."""
    lines = [line.strip() for line in drawn]
    starts = [i for i, line in enumerate(lines) if line.startswith("Missing from ")]
    below = itertools.takewhile(lambda x: not _RULE.match(x), lines[starts[0] :] if starts else [])
    return [found[found.lastindex or 0] for x in below if (found := _ARGUMENT.fullmatch(x))]


def pop(args: list[str], flag: str) -> str | None:
    """Take `--flag value` or `--flag=value` out of the arguments."""
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


def pop_switch(args: list[str], flag: str) -> bool:
    """Take `--flag` out of the arguments; whether it was there."""
    if flag in args:
        args.remove(flag)
        return True
    return False


def finish(result: Any, as_json: bool) -> int:  # noqa: FBT001 - the one choice
    """Print a result, as words or as one JSON document, and turn its status into an exit code."""
    if as_json:
        from manyviews.core.files import json_text

        own = getattr(result, "to_json", None)
        said = own() if own else dataclasses.asdict(result)
        print(json_text(said, default=str))
    else:
        for line in result.lines():
            print(line)
    if getattr(result, "unsaved", ""):  # a warning has said why
        return UNSAVED
    status = getattr(result, "status", "done")
    return {"done": 0, "interrupted": INTERRUPTED, "collapsed": COLLAPSED}[status]


def verb(function: Callable[..., Any], args: list[str], *, prog: str, heavy: bool = False) -> int:
    """Parse the arguments of a verb, run it, print its result; the exit code.

    Args:
        function: its parameters are the verb's options, its docstring is their help.
        args: what came after the verb.
        prog: for the help text.
        heavy: it needs torch, and people are told that it is being loaded.
    """
    as_json = pop_switch(args, "--json")

    @functools.wraps(function)
    def later(*given: Any, **options: Any) -> Callable[[], Any]:
        return functools.partial(function, *given, **options)

    # What a verb gives back has a name that is only imported when the verb runs.
    signature = inspect.signature(function).replace(return_annotation=Any)
    named = [part.replace(annotation=_named(part)) for part in signature.parameters.values()]
    later.__annotations__ = {part.name: part.annotation for part in named}
    del later.__wrapped__
    vars(later)["__signature__"] = signature.replace(parameters=named)
    run = parse(later, args, prog=prog)
    if heavy:
        say_loading()
    return finish(run(), as_json)


def _named(parameter: inspect.Parameter) -> Any:
    """Its type, which the help calls by the parameter's name where it is given without one."""
    kind = parameter.annotation
    if tyro.conf.Positional not in getattr(kind, "__metadata__", ()) or _choices(kind):
        return kind
    said = parameter.name.upper()
    if get_origin(get_args(kind)[0]) is Sequence:
        said = "{0} [{0} ...]".format(said.removesuffix("S"))
    return Annotated[kind, tyro.conf.arg(metavar=said)]


def _choices(kind: Any) -> bool:
    return get_origin(get_args(kind)[0]) is Literal


def one_of(name: str, value: str, known: list[str]) -> None:
    """Check of a Python call what the command line has checked already."""
    if value not in known:
        from manyviews.core.settings import nearest

        raise UsageError(f"{name} is '{value}'. {nearest(value, known)}")
