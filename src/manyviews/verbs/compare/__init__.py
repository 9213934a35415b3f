"""`manyviews compare`: runs side by side, measured, with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.data.settings import MAX_PIXELS
from manyviews.verbs.parse import Flag, Positional

if TYPE_CHECKING:
    from manyviews.verbs.compare.beside import Compared


def compare(
    runs: Positional[Sequence[str | Path]],
    *,
    data: str | Path = "",
    out: str | Path = "",
    choose: Flag = False,
    anyway: Flag = False,
    max_pixels: int = MAX_PIXELS,
) -> "Compared":
    """Put runs side by side: invariance, grouping, entropy, rank, accuracy, cost.

    A run that has no diagnosis gets one, with `diagnose`'s defaults. The best of a column is
    marked together with all that cannot be told from it: by a test image by image where both were
    tested on the same ones, else by whether their intervals overlap. A run that is no better than
    its own encoder untrained is called so.

    Args:
        runs: run directories. One that is given twice is counted once. With `data` also encoders
            that no run here trained: timm:NAME, or an encoder.safetensors.
        data: labelled data. Protocols that a run lacks on it (knn, linear, lowshot) are measured,
            beside untrained encoders and what needs none, and clusters are held against its labels.
            Without it the table shows what the runs hold.
        out: a directory for compare.md, compare.json and compare.html, or one such file.
        choose: say which setting is best without labels, by RankMe, among runs of one method and
            encoder that differ in settings; and, where they were evaluated, how far that is from
            the choice with labels.
        anyway: compare although data, channels, batch or budget differ, or labelled data of one
            name, and say in the table what does.
        max_pixels: larger images are refused from their header.
    """
    data = str(data)
    from manyviews.runs.past import read_evaluations
    from manyviews.verbs.compare import differences
    from manyviews.verbs.compare.beside import (
        NOTES,
        Compared,
        diagnoses_of,
        forms_of,
        measured,
        opened,
        others_of,
        others_rows,
        refuse,
        table_of,
        write,
    )
    from manyviews.verbs.compare.choice import chosen_of

    forms = forms_of(out)
    runs, others = others_of(runs, data)
    pasts = opened(runs)
    differing = differences.differing(pasts)
    refuse(differing, anyway=anyway)
    held = [[r for r in read_evaluations(p) if not data or r["data"] == data] for p in pasts]
    if data:
        held = measured(pasts, held, data, max_pixels=max_pixels)
    evaluations, older = differences.newest(pasts, held)
    changed = differences.differing_data(pasts, evaluations)
    refuse(changed, anyway=anyway, advice="Evaluate again, or add")
    differing += changed
    diagnoses, notes = diagnoses_of(pasts, data, max_pixels=max_pixels)
    notes = [*NOTES, *notes, *older, *differences.unknown_data(pasts, evaluations)]
    beside = others_rows(others, data, max_pixels=max_pixels)
    table = table_of(pasts, diagnoses, evaluations, differing, notes, beside)
    choice = chosen_of(pasts, diagnoses, evaluations) if choose else None
    return Compared(table=table, files=[write(path, table) for path in forms], choice=choice)
