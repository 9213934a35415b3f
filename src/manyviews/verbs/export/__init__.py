"""`manyviews export`: the encoder for another program."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.verbs.parse import Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written


def export(
    run: Positional[str | Path],
    *,
    out: str | Path,
    format: Literal["timm", "safetensors", "onnx"] = "safetensors",  # noqa: A002, RUF100 - the flag
    which: str = "",
) -> "Written":
    """Write the encoder for another program.

    Args:
        run: a run directory, or an encoder.safetensors.
        out: the file to write.
        format: timm weights, self-describing safetensors, or ONNX.
        which: of a run with several encoders, the one that is meant.
    """
    one_of("format", format, ["timm", "safetensors", "onnx"])
    from manyviews.runs import embedder
    from manyviews.runs.subject import encoder_file
    from manyviews.verbs.export import onnx_model, timm_weights
    from manyviews.verbs.written import Written

    file, out = encoder_file(run, which), Path(out)
    if format == "timm":
        return Written(path=out, notes=timm_weights.export_timm(file, out).splitlines())
    if format == "onnx":
        gap = onnx_model.export_onnx(file, out)
        note = (
            "onnxruntime is not installed, so it was not checked against torch"
            if gap is None
            else f"largest difference to torch: {gap:.1e}"
        )
        return Written(path=out, notes=[note])
    embedder.copy(file, out)
    return Written(path=out, notes=[f"read it with manyviews.load({str(out)!r})"])
