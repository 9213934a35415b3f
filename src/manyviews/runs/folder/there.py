"""Whether a RUN argument leads anywhere, said before torch is loaded."""

from pathlib import Path

from manyviews.core.errors import UsageError

FORMS = (
    "a run directory, an encoder.safetensors, timm:NAME, or a checkpoint file with --encoder NAME"
)
"""What a RUN argument is where an encoder is wanted, for messages."""


def check_run_there(run: str | Path) -> None:
    """Refuse a run directory that is not there.

    Raises:
        UsageError: there is no such folder.
    """
    if not Path(run).is_dir():
        place = "" if Path(run).is_absolute() else f" in {Path.cwd()}"
        raise UsageError(
            f"{run} is no run directory: there is no such folder{place}. Give one that `manyviews "
            "train` made."
        )


def check_encoder_there(run: str | Path) -> None:
    """Refuse a RUN argument that is a path which leads nowhere.

    Raises:
        UsageError: there is no such file or folder.
    """
    if str(run).startswith("timm:") or Path(run).exists():
        return
    if str(run).endswith(".npy"):
        raise UsageError(
            f"{run} cannot be read as features: there is no such file. `manyviews embed RUN --data "
            f"DATA --out {run}` writes one."
        )
    place = "" if Path(run).is_absolute() else f" in {Path.cwd()}"
    raise UsageError(f"There is no file or folder {str(run)!r}{place}. Give {FORMS}.")
