"""`manyviews export`: the encoder for another program."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from manyviews.core.errors import UsageError
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Flag, Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written

ExportFormat = Literal["timm", "safetensors", "onnx", "torch", "huggingface"]


def export(
    run: Positional[str | Path],
    *,
    out: str | Path,
    format: ExportFormat = "safetensors",  # noqa: A002, RUF100 - the flag
    normalise: Flag = False,
    which: str = "",
    step: str | int = "",
) -> "Written":
    """Write the encoder for another program.

    Args:
        run: a run directory, or an encoder.safetensors.
        out: the file to write; the folder, for huggingface.
        format: timm weights; self-describing safetensors; ONNX; a program of torch.export (.pt2); a
            folder as the Hugging Face hub has them, which timm and transformers read offline.
        normalise: with onnx and torch: the model takes pixels in [0, 1] and normalises them itself.
        which: of a run with several encoders, the one that is meant.
        step: of a run's checkpoint (a number, or best: what label-free measures choose); its own
            encoder if not given.
    """
    one_of("format", format, list(get_args(ExportFormat)))
    if normalise and format not in ("onnx", "torch"):
        raise UsageError(f"--normalise goes with --format onnx or torch, and this is {format}.")
    check_encoder_there(run)
    from manyviews.core.progress import phase
    from manyviews.runs.at_step import file_of

    with file_of(run, which, str(step)) as file, phase("exporting"):
        return _export(file, Path(out), format, normalise=normalise)


def _export(file: Path, out: Path, format: str, *, normalise: bool) -> "Written":
    from manyviews.runs import embedder
    from manyviews.verbs.export import onnx_model, timm_weights, torch_program
    from manyviews.verbs.written import Written

    if format == "timm":
        return Written(path=out, notes=timm_weights.export_timm(file, out).splitlines())
    if format == "huggingface":
        return Written(path=out, notes=timm_weights.export_folder(file, out).splitlines())
    fed = "pixels in [0, 1]" if normalise else "normalised views"
    if format == "torch":
        gap = torch_program.export_torch(file, out, normalise=normalise)
        notes = [
            f"it takes {fed}; largest difference to the encoder: {gap:.1e}",
            f"read it with torch.export.load({str(out)!r}).module()",
        ]
        return Written(path=out, notes=notes)
    if format == "onnx":
        gap = onnx_model.export_onnx(file, out, normalise=normalise)
        note = (
            "onnxruntime is not installed, so it was not checked against torch"
            if gap is None
            else f"largest difference to torch: {gap:.1e}"
        )
        return Written(path=out, notes=[f"it takes {fed}; {note}"])
    embedder.copy(file, out)
    return Written(path=out, notes=[f"read it with manyviews.load({str(out)!r})"])
