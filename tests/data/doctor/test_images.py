"""What is known of a data set before training: the survey for recipes, the report for people."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import folder_of, picture
from PIL import Image

from manyviews.core import UsageError
from manyviews.data import duplicates, statistics
from manyviews.data.doctor.findings import length
from manyviews.data.doctor.images import doctor
from manyviews.data.duplicates import Print, near, print_of
from manyviews.data.quarantine import Bad
from manyviews.data.sources import Stored, open_source
from manyviews.data.survey import survey

RNG = np.random.default_rng(0)


def scene(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Something with large shapes, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def files(path: Path, channels: int = 3):
    return open_source(str(path), channels=channels, max_pixels=10**6)


# --- statistics ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 5, 600])
def test_sums_add_up_to_the_mean_and_deviation_of_all_pixels(channels: int) -> None:
    images = [RNG.integers(10, 200, (h, 7, channels), np.uint8) for h in (3, 8, 20)]
    total = statistics.add(statistics.Sums.of(image) for image in images)
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]) / 255
    np.testing.assert_allclose(total.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(total.std, pixels.std(0), rtol=1e-9)
    assert (total.low, total.high) == (pixels.min() * 255, pixels.max() * 255)


def test_a_single_coloured_pixel_is_not_grey() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    assert statistics.is_grey(image)
    image[3, 5] = 100, 104, 102
    assert statistics.is_grey(image)  # as JPEG may leave it
    image[3, 5] = 100, 105, 102
    assert not statistics.is_grey(image)
    assert statistics.is_grey(image[..., :1])


# --- survey --------------------------------------------------------------------------------


def test_a_survey_of_few_images_is_exact(tmp_path: Path) -> None:
    sides = ((20, 30), (50, 40), (10, 90))
    for i, (height, width) in enumerate(sides):
        Image.fromarray(scene(i, height, width)).save(tmp_path / f"{i}.png")
    found = survey(files(tmp_path))
    assert (found.count, found.side, found.channels) == (3, 20, 3)
    pixels = np.concatenate([scene(i, h, w).reshape(-1, 3) for i, (h, w) in enumerate(sides)])
    np.testing.assert_allclose(found.mean, pixels.mean(0) / 255, rtol=1e-9)
    np.testing.assert_allclose(found.std, pixels.std(0) / 255, rtol=1e-9)


def test_grey_images_are_one_channel_however_they_are_stored(tmp_path: Path) -> None:
    grey = scene(0)[..., :1].repeat(3, axis=2)
    Image.fromarray(grey).save(tmp_path / "a.jpg")
    Image.fromarray(grey[..., 0]).save(tmp_path / "b.png")
    found = survey(files(tmp_path))
    assert found.channels == 1
    assert len(found.mean) == len(found.std) == 1
    assert survey(files(tmp_path, 1)).channels == 1
    Image.fromarray(scene(1)).save(tmp_path / "c.png")
    assert survey(files(tmp_path)).channels == 3
    np.save(tmp_path / "d.npy", RNG.integers(0, 9, (4, 4, 5), np.uint8))
    (tmp_path / "list.txt").write_text("d.npy")
    assert survey(files(tmp_path / "list.txt", 5)).channels == 5


def test_a_survey_passes_over_what_it_cannot_read(tmp_path: Path) -> None:
    folder_of(tmp_path, 5, bad=(0, 2))
    assert survey(files(tmp_path)).count == 5
    folder_of(tmp_path, 5, bad=tuple(range(5)))
    with pytest.raises(UsageError, match=r"None of 5 images tried .*0000.png: not an image"):
        survey(files(tmp_path))


def test_a_survey_reads_only_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Stored("memory", np.zeros((100_000, 8, 9, 1), np.uint8))
    reads: list[int] = []
    monkeypatch.setattr(
        Stored, "read", lambda self, i: reads.append(i) or self.array[i]  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert survey(source, sample=50).count == 100_000
    assert len(set(reads)) == len(reads) == 50
    assert (min(reads), max(reads)) == (0, 99_999)
    monkeypatch.setattr("manyviews.data.survey._PIXELS", 72 * 20)
    reads.clear()
    survey(source, sample=50)
    assert len(reads) == 21
    assert max(reads) - min(reads) > 50_000  # a part of the sample is spread as well


# --- near-duplicates -----------------------------------------------------------------------


def brute(prints: list[Print]) -> list[bool]:
    """Every pair, by the definition."""

    def alike(a: Print, b: Print) -> bool:
        apart = np.frombuffer(a.thumbnail, np.uint8).astype(int) - np.frombuffer(
            b.thumbnail, np.uint8
        )
        return (a.hash ^ b.hash).bit_count() <= 3 and np.abs(apart).mean() <= 4

    return [any(alike(a, b) for b in prints[:i]) for i, a in enumerate(prints)]


def test_bucketing_finds_what_comparing_all_pairs_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    prints: list[Print] = []
    for _ in range(60):
        base, thumbnail = int(rng.integers(0, 2**63)), rng.integers(0, 250, 256, np.uint8)
        for flips in range(6):
            bits = rng.choice(64, flips, replace=False)
            changed = base ^ sum(1 << int(bit) for bit in bits)
            other = thumbnail + rng.integers(0, 6, dtype=np.uint8)
            prints.append(Print(changed, other.astype(np.uint8).tobytes()))
    rng.shuffle(prints)  # type: ignore[arg-type]
    monkeypatch.setattr(duplicates, "_ROWS", 7)
    first = near(prints)
    assert (first >= 0).tolist() == brute(prints)
    assert 60 < (first >= 0).sum() < 300
    assert all(earlier < i for i, earlier in enumerate(first))


def test_copies_are_found_and_other_pictures_are_not() -> None:
    image = scene(0)
    copies = [
        image,
        cv2.resize(image, (50, 40), interpolation=cv2.INTER_AREA),
        np.clip(image.astype(int) + 2, 0, 255).astype(np.uint8),
    ]
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=60)
    copies.append(np.asarray(Image.open(buffer)))
    others = [scene(i) for i in range(1, 40)] + [np.full((9, 9, 3), v, np.uint8) for v in (0, 99)]
    first = near([print_of(one) for one in others + copies])
    assert (first[: len(others)] == -1).all()
    assert first[len(others) :].tolist() == [-1] + [len(others)] * 3


def test_many_flat_images_do_not_take_for_ever() -> None:
    thumbnails = [bytes([i % 256]) * 255 + bytes([i // 256]) for i in range(4000)]
    first = near([Print(0, thumbnail) for thumbnail in thumbnails] + [Print(0, thumbnails[9])])
    assert first[-1] == 9
    assert near([]).tolist() == []


# --- doctor --------------------------------------------------------------------------------


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    root = tmp_path / "clinic"
    root.mkdir()
    for i in range(8):
        Image.fromarray(scene(i)).save(root / f"{i}.png")
    (root / "copy of 3.png").write_bytes((root / "3.png").read_bytes())
    Image.fromarray(scene(5)).resize((70, 52)).save(root / "like 5.jpg", quality=95)
    Image.fromarray(scene(30, 200, 300)[..., 0]).save(root / "grey.tif")
    Image.new("RGB", (5, 7), (9, 9, 200)).save(root / "red.bmp")
    (root / "junk.jpg").write_text("junk")
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("x")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_the_doctor_finds_everything(clinic: Path, workers: int) -> None:
    found = doctor(str(clinic), workers=workers)
    assert (found.count, found.examined, found.readable) == (14, 14, 12)
    assert found.ignored == {".txt": 1}
    assert found.unreadable == (
        Bad(str(clinic / "empty.png"), "empty file"),
        Bad(
            str(clinic / "junk.jpg"),
            "not an image of a known format, or its header is broken (begins with b'junk')",
        ),
    )
    assert found.sides == {"1-31": 1, "32-63": 10, "128-255": 1}
    assert (found.side, found.smallest, found.largest) == (60, (5, 7), (300, 200))
    assert found.modes == {"PNG RGB": 9, "TIFF L": 1, "BMP RGB": 1, "JPEG RGB": 1}
    assert (found.grey, found.blank) == (1, 1)
    assert found.exact_duplicates == 1
    assert found.near_duplicates == 1
    assert found.pairs == ((str(clinic / "like 5.jpg"), str(clinic / "5.png")),)
    assert found.digest == files(clinic).digest
    pixels = np.concatenate(
        [files(clinic).read(i).reshape(-1, 3) for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13)]
    )
    np.testing.assert_allclose(found.mean, pixels.mean(0) / 255)
    np.testing.assert_allclose(found.std, pixels.std(0) / 255)
    assert json.loads(json.dumps(found.to_json()))["unreadable"][0]["reason"] == "empty file"


def test_the_report_reads_well(clinic: Path) -> None:
    lines = doctor(str(clinic), workers=0).lines()
    assert all("\n" not in line for line in lines)
    text = "\n".join(lines)
    for part in (
        f"{clinic}: 14 images (manifest ",
        "other files, ignored: .txt: 1",
        "unreadable: 2 (14.29%), above --data.max-bad 0.01: training would stop",
        f"  {clinic}/empty.png: empty file",
        "shorter side: median 60 (1-31: 1, 32-63: 10, 128-255: 1)",
        "smallest 5 x 7, largest 300 x 200 pixels",
        "without colour: 1 of 12",
        "exact duplicates: 1; near-duplicates: 1",
        f"  {clinic}/copy of 3.png is the same as {clinic}/3.png",
        "like 5.jpg looks like",
        "1 image is of one single colour and teaches nothing: ",
        "16.7% are copies",
    ):
        assert part in text
    assert "replaced by another image" in "\n".join(
        doctor(str(clinic), workers=0, max_bad=0.2).lines()
    )


def test_a_sample_is_examined_and_said_to_be_one(tmp_path: Path) -> None:
    folder_of(tmp_path, 30)
    found = doctor(str(tmp_path), workers=0, sample=4)
    assert (found.count, found.examined) == (30, 4)
    assert "30 images, 4 of them examined" in found.lines()[0]
    assert doctor(str(tmp_path), workers=0, sample=99).examined == 30
    with pytest.raises(UsageError, match="--sample -1"):
        doctor(str(tmp_path), sample=-1)


def test_nothing_readable_is_a_report_and_not_a_crash(tmp_path: Path) -> None:
    folder_of(tmp_path, 7, bad=tuple(range(7)))
    found = doctor(str(tmp_path), workers=0)
    assert found.readable == 0
    text = "\n".join(found.lines())
    assert "unreadable: 7 (100.00%)" in text
    assert "and 2 more" in text


def test_dark_sixteen_bit_files_and_grey_data_get_advice(tmp_path: Path) -> None:
    for i in range(3):
        values = RNG.integers(0, 4096, (8, 8)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    text = "\n".join(doctor(str(tmp_path), workers=0).lines())
    assert "The brightest pixel is 15 of 255" in text
    assert "--data.channels 1" in text


def test_pages_that_are_left_out_are_counted(tmp_path: Path) -> None:
    for i in range(4):
        pages = [Image.fromarray(scene(10 * i + k)) for k in range(10)]
        pages[0].save(tmp_path / f"{i}.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(scene(99)).save(tmp_path / "one.tif")
    found = doctor(str(tmp_path), workers=0)
    assert (found.stacks, found.pages_left) == (4, 36)
    assert "of several pages or frames: 4; the first is read, 36 others are not" in "\n".join(
        found.lines()
    )
    for i in range(4):
        (tmp_path / f"{i}.tif").unlink()
    assert "several pages" not in "\n".join(doctor(str(tmp_path), workers=0).lines())


def test_one_bad_file_of_a_few_stops_no_training_and_is_said_not_to(tmp_path: Path) -> None:
    folder_of(tmp_path, 50, bad=(30,))
    text = "\n".join(doctor(str(tmp_path), workers=0).lines())
    assert "unreadable: 1 (2.00%), each is replaced by another image in training" in text
    folder_of(tmp_path, 50, bad=(30, 31))
    text = "\n".join(doctor(str(tmp_path), workers=0).lines())
    assert "unreadable: 2 (4.00%), above --data.max-bad 0.01: training would stop" in text


def test_images_in_memory_are_examined_too(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.stack([picture(i) for i in (1, 2, 1)])
    monkeypatch.setattr(
        "manyviews.data.doctor.images.open_source", lambda *args, **kwargs: Stored("memory", array)
    )
    found = doctor("memory")
    assert (found.count, found.exact_duplicates, found.modes) == (3, 1, {"array RGB": 3})
    assert found.ignored == {}


def test_no_bar_is_drawn_where_stderr_is_no_terminal(
    clinic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(str(clinic), workers=0)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(16, "16 seconds"), (59.5, "59.5 seconds"), (252, "4.2 minutes"), (111_600, "31 hours")],
)
def test_lengths_are_in_units_that_people_read(seconds, words):
    assert length(seconds / 3600) == words
