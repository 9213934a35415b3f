"""Tables of labels as people have them: read as they are meant, or refused in one line."""

import numpy as np
import pytest
from PIL import Image

from manyviews.core import UsageError
from manyviews.evaluation.labelled import open_labelled


def opened(spec, split="train"):
    return open_labelled(str(spec), channels=3, max_pixels=10**6, split=split)


def names(part, root):
    return [part.source.name(i).removeprefix(f"{root}/") for i in range(len(part))]


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), value, np.uint8)).save(path)


def refusal(spec, split="train"):
    with pytest.raises(UsageError) as caught:
        opened(spec, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(tmp_path, text, encoding="utf-8", count=30):
    for i in range(count):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    return tmp_path / "labels.csv"


ROWS = [f"{i}.png,{'abc'[i % 3]}" for i in range(30)]


def test_a_file_of_several_labels_is_on_one_side_alone(tmp_path, caplog):
    rows = [row for i in range(30) for row in (f"{i}.png,a", f"./{i}.png,{'bc'[i % 2]}")]
    path = table(tmp_path, "\n".join(["path,label", *rows]))
    sides = [
        {n.removeprefix("./") for n in names(opened(path, s), tmp_path)} for s in ("train", "test")
    ]
    assert not sides[0] & sides[1]
    assert (len(sides[0]), len(sides[1])) == (24, 6)
    assert len(opened(path)) == 48
    assert "30 of 30 files have several labels, a row each" in caplog.text
    assert "call the column labels" in caplog.text
    path = table(tmp_path, "\n".join(["path,labels", *rows]))
    train = opened(path)
    assert train.several
    assert (len(train), len(opened(path, "test"))) == (24, 6)
    for i, row in enumerate(train.labels.tolist()):
        assert row == [
            True,
            train.source.read(i)[0, 0, 0] % 2 == 0,
            train.source.read(i)[0, 0, 0] % 2 == 1,
        ]


def test_a_row_that_is_there_twice_counts_once(tmp_path):
    once = opened(table(tmp_path, "\n".join(ROWS)), "test")
    twice = opened(table(tmp_path, "\n".join(ROWS + ROWS)), "test")
    assert names(once, tmp_path) == names(twice, tmp_path)


def test_a_file_in_both_given_parts_is_refused(tmp_path):
    path = table(tmp_path, "path,label,split\n0.png,a,train\n1.png,b,test\n0.png,a,test\n")
    assert "has 0.png in the training and in the test part" in refusal(path)


@pytest.mark.parametrize("later", [False, True])
def test_an_open_quotation_mark_is_an_error_of_its_line(tmp_path, later):
    rows = ["path,label", *ROWS]
    rows[6] = '5.png,"c'
    if later:
        rows[20] = '19.png,"b'
    assert "Line 7 of" in refusal(table(tmp_path, "\n".join(rows)))
    assert "not closed on that line" in refusal(tmp_path / "labels.csv")


def test_quotes_that_close_are_read(tmp_path):
    labels = ("a, b", 'c ""d""')
    rows = [f'"{i}.png", "{labels[i % 2]}"' for i in range(30)]
    assert opened(table(tmp_path, "\n".join(rows))).classes == ("a, b", 'c "d"')


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "header",
    [
        *("filename,label", "image_id,class", "File Name,Category", "id,image,label_id,label"),
        *("label,path", "path;label", "path\tlabel", ",path,label"),
    ],
)
def test_other_headers_are_understood(tmp_path, header, end):
    mark = next(m for m in ";\t," if m in header)
    columns = header.split(mark)
    lines = [header]
    for i in range(30):
        cells = dict.fromkeys(columns, str(i))
        known = [c for c in ("path", "image", "filename", "image_id", "File Name") if c in cells]
        cells[known[0]] = f"{i}.png"
        cells[next(c for c in ("label", "class", "Category") if c in cells)] = "ab"[i % 2]
        lines.append(mark.join(cells[c] for c in columns))
    train = opened(table(tmp_path, end.join(lines)))
    assert train.classes == ("a", "b")
    assert len(train) == 24
    assert all(train.source.read(i)[0, 0, 0] % 2 == y for i, y in enumerate(train.labels.tolist()))


def test_parts_of_a_column_go_by_any_of_their_names(tmp_path, caplog):
    parts = ["Training", "training", "val", "TEST"]
    rows = [f"{i}.png,{'ab'[i % 2]},{parts[i // 2 % 4]}" for i in range(30)]
    path = table(tmp_path, "\n".join(["filename,label,subset", *rows]))
    assert len(opened(path)) == 16
    assert names(opened(path, "test"), tmp_path)[:3] == ["6.png", "7.png", "14.png"]
    assert "8 of 30 rows are of a validation part, not used" in caplog.text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("picture,animal\n0.png,a\n1.png,b\n", "Line 1 of .* nor a header with a column path"),
        ("image,MEL,NV\n0.png,1,0\n1.png,0,1\n", "Line 1 of .* nor a header with a column label"),
        ("path,label\n0.png,a\n1.png,b\0\n", "Line 3 of .* NUL"),
        ("image_id,class\nISIC_1,a\nISIC_2,b\n", r"None of the 2 paths .* their ending \(.jpg\)"),
        ('0.png,"a"b\n', "Cannot read line 1 of"),
        ("0.png\n1.png\n", "Line 1 of .* wanted 2 columns"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_with_its_line(tmp_path, text, word):
    with pytest.raises(UsageError, match=word):
        opened(table(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-16-le"])
def test_another_encoding_is_refused_by_its_name(tmp_path, encoding):
    path = table(tmp_path, "path,label\n0.png,é\n1.png,b\n", encoding=encoding)
    assert "UTF-8" in refusal(path)


def test_files_that_are_not_there_are_counted(tmp_path, caplog):
    opened(table(tmp_path, "\n".join([*ROWS, "30.png,a", "31.png,b"])))
    assert "2 of 32 paths lead to no file: 30.png, 31.png" in caplog.text
