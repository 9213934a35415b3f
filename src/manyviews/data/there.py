"""Whether a DATA argument leads anywhere, said before torch is loaded."""

from pathlib import Path

from manyviews.core.errors import UsageError

FORMS = (
    "a folder of images, a text file of paths, a CSV with a column path, fashion-mnist:DIR, "
    "builtin:fashion, or builtin:fashion-tail"
)
"""What a DATA argument is, for messages."""


def check_there(spec: str) -> None:
    """Refuse a DATA argument that is a path which leads nowhere.

    Raises:
        UsageError: there is no such file or folder, or it may not be looked at.
    """
    if not spec:
        raise UsageError(f"The data has no name. Data is {FORMS}.")
    if spec.partition(":")[0] in ("builtin", "fashion-mnist"):
        return
    if spec.startswith("frames:"):
        spec = spec.removeprefix("frames:").rpartition("@")[0]
    path = Path(spec).expanduser()
    try:
        there = path.is_dir() or path.is_file()
    except OSError as error:
        raise UsageError(f"Cannot open {spec!r}: {error.strerror}. Data is {FORMS}.") from None
    if not there:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise UsageError(f"There is no file or folder {spec!r}{place}. Data is {FORMS}.")
