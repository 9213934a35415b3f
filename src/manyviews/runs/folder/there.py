"""Whether a RUN argument leads anywhere, said before torch is loaded."""

from pathlib import Path

from manyviews.core.errors import UsageError

FORMS = (
    "a run directory, an encoder.safetensors, timm:NAME, or a checkpoint file with --encoder NAME"
)
"""What a RUN argument is where an encoder is wanted, for messages."""


def check_encoder_there(run: str | Path) -> None:
    """Refuse a RUN argument that is a path which leads nowhere.

    Raises:
        UsageError: there is no such file or folder.
    """
    # .npy files are features, of which others say more
    elsewhere = str(run).startswith("timm:") or str(run).endswith(".npy")
    if not elsewhere and not Path(run).exists():
        raise UsageError(f"{run} has no encoder. Give {FORMS}.")
