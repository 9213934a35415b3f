"""`manyviews evaluate`: labelled protocols on anybody's features, beside what costs nothing."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.core.errors import UsageError
from manyviews.core.progress import phase
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.evaluation.dense.settings import Detection, Propagation, Segmentation
from manyviews.evaluation.image.settings import FineTune, Robustness
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Positional

if TYPE_CHECKING:
    from manyviews.evaluation.result import Evaluated

log = logging.getLogger("manyviews")


def evaluate(
    run: Positional[str | Path],
    *,
    data: str | Path,
    protocol: Sequence[str] = ("knn",),
    train_data: str | Path = "",
    which: str = "",
    step: str | int = "",
    layer: str | int = "",
    pool: Literal["", "mean", "class"] = "",
    head_layers: int = 0,
    clips: int = 1,
    crops: int = 1,
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    test_features: str | Path = "",
    batch_size: int = 256,
    baselines: bool = True,  # noqa: FBT001, FBT002, RUF100 - keyword-only
    finetune: FineTune = FineTune(),
    robustness: Robustness = Robustness(),
    segmentation: Segmentation = Segmentation(),
    detection: Detection = Detection(),
    propagation: Propagation = Propagation(),
    max_pixels: int = MAX_PIXELS,
) -> "Evaluated":
    """Measure features with labels, which training never saw, beside what needs no encoder.

    Features are computed once and kept by content: in RUN/cache, or in the user's cache directory
    where there is no run. The results are also written to RUN/evaluation/. Where that cannot be
    done, a warning and `unsaved` of the outcome say why.

    Args:
        run: a run directory, an encoder.safetensors, timm:NAME, with --encoder the checkpoint of
            another project, or a .npy of features.
        data: a folder of class folders or a CSV of path,label, of images, videos, sounds or
            clouds as the encoder is fed; fashion-mnist:DIR or builtin:fashion. For segmentation a
            folder of images with a mask beside each: dog.jpg and dog.png, or dog_mask.png. For
            detection and discovery a folder of images with a JSON as COCO's. For propagation
            a folder of folders of frames, with masks of the first and of others. For across any
            videos with sound, of which no label is read.
        protocol: one or several of `manyviews list protocols`.
        train_data: learn from this labelled data instead, test on --data (transfer). Classes are
            matched by name.
        which: of a run with several encoders, the one that is meant.
        step: of a run's checkpoint (a number, or best: what label-free measures choose); its own
            encoder if not given.
        layer: take features after this block, counted from 1, or after the best: chosen on a part
            of the training labels, for knn and retrieval by kNN, for all else by a linear probe;
            the encoder's output if not given.
        pool: with --layer, the mean of the block's tokens or its class token; as the encoder's
            output is made if not given, and with best whichever is better.
        head_layers: of a run, take so many layers of the projection head as the encoder's end;
            with finetune they train too. Of a deep head the first can serve labels best.
        clips: average features over so many clips, spread evenly over each video or sound.
        crops: and over so many squares of each clip, from one end of its longer side to the other;
            of one the middle is taken.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own.
        mean: per channel, of pixels in [0, 1], to normalise with; what is known of the weights if
            not given.
        std: likewise.
        test_features: where RUN is a .npy of the training part's features: the .npy of the test
            part; rows in the order of the data. Without it the .npy needs the .json that `embed`
            writes beside it, and rows are matched by path.
        batch_size: samples at a time.
        baselines: also measure the untrained encoder, and what samples give without one: of images
            raw and centred pixels, of videos small clips and how their frames change, of sounds
            the mean and deviation of each band, of points how far apart they are.
        finetune: how the protocol finetune trains.
        robustness: what the protocol robustness tries.
        segmentation: what the protocol segmentation learns from.
        detection: how the protocol detection trains.
        propagation: how the protocol propagation leads masks on.
        max_pixels: larger images are refused from their header.
    """
    data, train_data = str(data), str(train_data)
    check_encoder_there(run)
    check_there(data)
    from manyviews.evaluation.features import fingerprint
    from manyviews.evaluation.protocols import PROTOCOLS
    from manyviews.evaluation.result import Beside, Evaluated, Result
    from manyviews.evaluation.stored import read_split
    from manyviews.runs.across import PairTask, measure_across
    from manyviews.runs.at_step import open_at
    from manyviews.runs.dense import DenseTask
    from manyviews.runs.evaluate import (
        Contender,
        attended,
        averaged,
        contenders,
        content_of,
        finetuned,
        for_input,
        layers_of,
        names_of,
        pairs_of,
        refuse_averaged,
        refuse_for_features,
        spoilt,
    )
    from manyviews.runs.folder.write import cache_of, keep_result
    from manyviews.runs.placed import dense_of, placed
    from manyviews.runs.probe import SplitFeatures, open_probe
    from manyviews.training import launch

    names = names_of(protocol)
    given = {
        "train_data": train_data,
        "which": which,
        "layer": layer,
        "pool": pool,
        "head_layers": head_layers,
        "clips": clips if clips != 1 else 0,
        "crops": crops if crops != 1 else 0,
        "encoder": encoder,
        "image_size": image_size,
        "mean": mean,
        "std": std,
    }
    if pairs_of(names, run, **given):
        task = PairTask(
            directory=Path(run), data=data, step=str(step), batch_size=batch_size,
            max_pixels=max_pixels, baselines=baselines, device=launch.device(),
        )  # fmt: skip
        pair = measure_across(task)
        told = {"data": data} | ({"step": str(step)} if step else {})
        why = keep_result(run, pair.result, told, encoder=pair.encoder, content=pair.content)
        return Evaluated(
            run=str(run), data=data, found=[pair.result], content=pair.content, unsaved=why
        )
    if str(run).endswith(".npy"):
        refuse_for_features(names, step=step, **given)
        second = Path(test_features) if test_features else None
        stored = SplitFeatures(*read_split(Path(run), second, data=data, max_pixels=max_pixels))
        found = [Beside(result=PROTOCOLS[name](*stored), beside={}) for name in names]
        return Evaluated(run=str(run), data=data, found=found)
    if test_features:
        raise UsageError("--test-features goes with a .npy of training features as RUN.")
    device = launch.device()
    subject = open_at(
        run,
        step=str(step),
        which=which,
        head=head_layers,
        encoder=encoder,
        image_size=image_size,
        mean=mean,
        std=std,
    ).to(device)
    refuse_averaged(names, subject.input, clips=clips, crops=crops)
    if dense_of(names, subject, layer=layer, pool=pool):
        asked = DenseTask(
            data=data, train_data=train_data, max_pixels=max_pixels, cache=cache_of(run),
            batch_size=batch_size, baselines=baselines, device=device,
        )  # fmt: skip
        settings = {"segmentation": segmentation, "detection": detection}
        settings |= {"propagation": propagation}
        one, hashed = placed(names[0], subject, asked, settings)
        content = hashed() if Path(run).is_dir() else ""
        told = {"data": data, "train_data": train_data, "which": which, "step": str(step)}
        told = {name: value for name, value in told.items() if value}
        why = keep_result(run, one, told, encoder=fingerprint(subject), content=content)
        return Evaluated(run=str(run), data=data, found=[one], content=content, unsaved=why)
    names = for_input(names, subject.input)
    probe = open_probe(
        data,
        subject.input,
        max_pixels=max_pixels,
        device=device,
        train_spec=train_data,
        clips=clips,
        crops=crops,
    )
    mark, cache = fingerprint(subject), cache_of(run)
    content = content_of(probe, cache) if Path(run).is_dir() else ""
    chosen = layers_of(
        names, probe, subject, layer=str(layer), pool=pool or None, batch_size=batch_size
    )
    known = {
        tap: contenders(probe, subject, tap, cache=cache, batch_size=batch_size)
        for tap in {chosen.of(name) for name in names}
    }
    told = {"data": data, "train_data": train_data, "which": which, "step": str(step)}
    told |= {"layer": str(layer), "pool": pool, "head_layers": str(head_layers or "")}
    told |= {"averaged": probe.averaged}
    told = {name: value for name, value in told.items() if value}
    tests: dict[str, Callable[[Contender], Result | None]] = {
        "finetune": lambda side: finetuned(side, probe, finetune),
        "robustness": lambda side: spoilt(side, probe, robustness),
        "attentive": lambda side: attended(side, probe, batch_size=batch_size),
    }
    found: list[Beside] = []
    unkept: list[str] = []
    for name in names:
        sides = known[chosen.of(name)]
        sides = sides if baselines else {"": sides[""]}
        test = tests.get(name)
        if test is None:
            splits = {title: side.split() for title, side in sides.items()}
            with phase(name):
                all_found = {title: PROTOCOLS[name](*split) for title, split in splits.items()}
        else:
            all_found = {title: r for title, side in sides.items() if (r := test(side)) is not None}
        beside = {title: r for title, r in all_found.items() if title}
        mine = averaged(chosen.noted(name, all_found[""]), probe)
        found.append(Beside(result=mine, beside=beside))
        why = keep_result(run, found[-1], told, encoder=mark, content=content)
        unkept += [why] if why else []
    unsaved = f"{unkept[0]} {len(unkept)} of {len(names)} results are not kept." if unkept else ""
    if unsaved:
        log.warning("%s", unsaved)
    return Evaluated(
        run=str(run),
        data=data,
        found=found,
        content=content,
        unsaved=unsaved,
        layers=chosen.compared,
    )
