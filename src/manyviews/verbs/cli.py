"""The command line: `manyviews VERB ...`. Each verb is the function of that name in `api`.

Nothing heavy is imported before a verb is known, so `manyviews --help` answers at once.
"""

import contextlib
import errno
import io
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence

from manyviews import __version__
from manyviews.verbs import verb_of

VERBS = {
    "demo": "built-in images: train, evaluate, report; minutes on a laptop",
    "doctor": "DATA: what is in it and wrong with it; --bench: what bounds this machine",
    "pack": "DATA OUT: copy DATA once, resized, into few large files that read faster",
    "train": "RECIPE --data DATA --out RUN [--dotted.override value ...]",
    "evolve": "RECIPE --data DATA --out FILE: loss weights of a mixture, by short trainings",
    "resume": "RUN: go on where an interrupted run stopped",
    "embed": "RUN --data DATA --out FILE (.parquet or .npy) [--step N | best]",
    "evaluate": "RUN --data LABELLED --protocol knn|linear|lowshot|finetune|...",
    "diagnose": "RUN: did it learn, has it collapsed, was it enough; what to do next",
    "search": "RUN --image FILE [--data DATA]: the images that are most like one",
    "see": "RUN [--data DATA]: a page of what its features keep, and the objects they find",
    "compare": "RUN RUN ...: measures side by side, with intervals; --data LABELLED",
    "report": "RUN: write RUN/report.html, one offline page",
    "export": "RUN --format timm|safetensors|onnx --out FILE",
    "list": "recipes|methods|encoders|protocols",
}

_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 failed, 2 usage, 20 collapsed, 75 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _write_what_the_terminal_cannot_show()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "--version":
        print(f"manyviews {__version__}")
        raise SystemExit(0)
    raise SystemExit(_guarded(arguments))


def _write_what_the_terminal_cannot_show() -> None:
    """Escapes for such characters, in file names or of our own, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<10}{line}" for verb, line in VERBS.items())
    return (
        "usage: manyviews VERB ...\n\n"
        "Learn features from unlabelled images, see whether it worked, keep the encoder.\n\n"
        f"{verbs}\n\n"
        "DATA: a folder (searched recursively), a text file of paths, frames:DIR@RATE (a video of\n"
        "RATE pictures a second in each folder), fashion-mnist:DIR, builtin:fashion, or what\n"
        "`pack` wrote. LABELLED: a folder of class folders or a CSV of path,label.\n"
        "`manyviews VERB --help` shows a verb's options. Results take --json."
    )


def _guarded(arguments: list[str]) -> int:
    """Run a verb; whatever goes wrong ends as one line on standard error."""
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        from manyviews.core.settings import nearest

        return _complain(f"no verb '{verb}'. {nearest(verb, list(VERBS))}", 2)
    from manyviews.core import Failure

    _log_to_stderr()
    try:
        with _among_ranks():
            return _run(verb, rest)
    except Failure as failure:
        return _complain(str(failure), failure.exit_code)
    except KeyboardInterrupt:
        return _complain("stopped.", 130) if os.environ.get("RANK", "0") == "0" else 130
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001, RUF100 - the last line of defence: no traceback for users
        return _complain(_unexpected(error), 1)


def _run(verb: str, args: list[str]) -> int:
    function = verb_of(verb)
    if verb == "train":  # its flags are those of the recipe's settings
        from manyviews.verbs.train import command

        return command(args)
    from manyviews.verbs import parse

    return parse.verb(function, args, prog=f"manyviews {verb} [--json]", heavy=verb != "list")


def _unexpected(error: Exception) -> str:
    """One line on an error that no verb foresaw; its traceback goes to a file."""
    from manyviews.core.errors import out_of_memory

    if said := out_of_memory(error):
        return said
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
    from manyviews.core.progress import say_loading

    if os.environ["RANK"] == "0":
        say_loading()
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


class _ToStderr(logging.Handler):
    """Writes to what standard error is at the time: while a bar is shown, to the lines above it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001, RUF100 - logging's way: a line that is lost stops nothing
            self.handleError(record)


def _log_to_stderr() -> None:
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("manyviews")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
