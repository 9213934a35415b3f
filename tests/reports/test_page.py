"""The report page: one file, asks the network for nothing, survives hostile names and no data."""

import html
import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest

from manyviews.diagnosis.verdict import Answer, Next, Verdict
from manyviews.reports.content import Content, Embedded, Seen, Strip
from manyviews.reports.page import render
from manyviews.reports.pictures import data_uri, heat, principal_colours

EVIL = '</script><script>alert("x")</script>.png'


def pictures(count, side=12, channels=1):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, channels), dtype=np.uint8) for _ in range(count)]


VERDICT = Verdict(
    answers=(
        Answer(question="Did it learn anything?", light="warn", number="0.2, 0.2", sentence="No."),
        Answer(question="Has it collapsed?", light="ok", number="3 of 8", sentence=EVIL),
        Answer(question="Was that enough?", light="bad", number="0 passes", sentence=""),
    ),
    next=(Next(command=f"manyviews doctor '{EVIL}'", why="Look."),),
)


def content(**changes):
    rng = np.random.default_rng(1)
    records = [{"kind": "train", "step": i, "loss": 5.0 / i, "lr": 0.1} for i in range(1, 30)]
    records += [{"kind": "health", "step": i, "rank_embedding": 3.0 * i} for i in (10, 20)]
    records += [{"kind": "probe", "step": i, "knn": 0.5 + i / 100} for i in (10, 20)]
    seen = Seen(
        verdict=VERDICT,
        embedded=Embedded(
            features=rng.normal(size=(20, 8)).astype(np.float32),
            images=pictures(20),
            names=[f"photo{i}.png" for i in range(19)] + [EVIL],
        ),
        spectrum=[3.0, 1.0, 0.1],
    )
    of_one = {f.name: changes.pop(f.name) for f in fields(Seen) if f.name in changes}
    whole = Content(
        title="a run",
        encoders={"": replace(seen, **of_one)},
        figures={"steps": "29"},
        facts={"method": "SimCLR"},
        records=records,
        views=[Strip(pictures=pictures(3), captions=["image", "global 1", "global 2"])],
        quarantine=[{"path": EVIL, "reason": "empty file"}],
        command="manyviews train simclr --data photos",
        config="seed: 0",
        versions={"torch": "2"},
    )
    return replace(whole, **changes)


def test_the_page_asks_the_network_for_nothing():
    page = render(content())
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)(https?:|//)", page)


def test_an_alarm_that_the_verdict_has_told_is_not_told_again():
    told = "the loss is at chance. Likely cause: x."
    answer = replace(VERDICT.answers[0], sentence=f"No better. Watch: {told}")
    verdict = replace(VERDICT, answers=(answer, *VERDICT.answers[1:]))
    page = render(content(verdict=verdict, alarms=[told, "another alarm"]))
    assert page.count(told) == 1
    assert page.split("<h2>Alarms</h2>")[1].split("</ul>")[0].count("<li>") == 1
    assert "<h2>Alarms</h2>" not in render(content(verdict=verdict, alarms=[told]))
    assert "<h2>Alarms</h2>" in render(content(verdict=None, alarms=[told]))


def test_the_page_does_not_send_its_reader_to_itself():
    look = Next(command="manyviews report run", why="Look at the views.")
    page = render(content(verdict=replace(VERDICT, next=(look, *VERDICT.next))))
    opening = page.split("<h2>Next")[1].split("</ol>")[0]
    assert "manyviews report" not in opening
    assert '<a href="#views">' in opening
    assert '<h2 id="views">' in page
    assert "manyviews doctor" in opening
    without = render(content(verdict=replace(VERDICT, next=(look,)), views=[]))
    assert "<code>manyviews report run</code>" in without


def test_a_flag_is_not_cut_after_its_dashes():
    again = Next(command="manyviews train simclr --optim.lr 0.1 --out 'a--b.png'", why="Lower.")
    answer = replace(VERDICT.answers[0], sentence="A larger crop (--views.global.scale 0.3 1).")
    verdict = replace(VERDICT, answers=(answer, *VERDICT.answers[1:]), next=(again,))
    page = render(content(verdict=verdict, alarms=["try --optim.warmup"]))
    flags = re.findall(r'<span class="flag">(.*?)</span>', page)
    assert flags == ["--views.global.scale", "--optim.lr", "--out", "--b.png", "--optim.warmup"]
    assert re.search(r"\.flag \{ white-space:nowrap", page)


def test_only_the_reason_of_a_next_step_has_a_line_of_its_own():
    page = render(content(verdict=VERDICT))
    [rule] = re.findall(r"^(\.next [^{]*span[^{]*) \{ display:block", page, re.MULTILINE)
    assert rule == ".next li > span"  # a flag is a span too, within the step's <code>


def colourings(**changes):
    page = render(content(**changes))
    return json.loads(re.search(r'id="map-data-1">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_map_is_coloured_by_what_is_known_of_the_images():
    [seen] = content().encoders.values()
    values = ["A"] * 9 + ["B"] * 6 + [""] * 4 + [EVIL]
    found = replace(seen.embedded, values=values)
    data = colourings(embedded=found, colour="scanner")
    assert next(iter(data["colourings"])) == data["chosen"] == "scanner"
    own = data["colourings"]["scanner"]
    assert own["names"] == ["A", "B", "unknown", EVIL]
    assert [own["names"][i] for i in own["of"]] == [v or "unknown" for v in values]
    many = replace(seen.embedded, values=["most"] * 6 + [f"v{i}" for i in range(14)])
    own = colourings(embedded=many, colour="x")["colourings"]["x"]
    assert len(own["names"]) == len(data["colours"])
    assert own["names"][0] == "most"
    assert own["names"][-1] == "others"
    assert max(own["of"]) == len(own["names"]) - 1
    assert colourings()["chosen"] == ""


def test_names_break_where_they_are_divided():
    names = [f"builtin:fashion#{i}" for i in range(1000, 1019)] + [EVIL]
    features = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    found = Embedded(features=features, images=pictures(20), names=names)
    page = render(content(embedded=found))
    assert re.search(r"<figcaption>builtin:fashion#<wbr>1\d\d\d<br>", page)
    assert "<script>alert" not in page


def test_lines_are_called_by_what_they_are_of():
    two = [{"kind": "health", "step": i} for i in (1, 2)]
    for i, record in enumerate(two):
        record |= {"rank_embedding/a": 3.0 + i, "rank_projection": 2.0 + i, "entropy": 1.0 + i}
    page = render(content(records=two))
    assert 'batch over step: embedding, a, projection"' in page
    assert "rank_embedding" not in page
    assert "<h2>Entropy</h2>" in page
    assert "change since the first check" not in page  # of one number there is none
    both = render(content(records=[r | {"reconstruction": 0.5 + r["step"]} for r in two]))
    assert "<h2>Entropy and reconstruction</h2>" in both


def test_names_from_the_data_cannot_become_markup():
    page = render(content())
    assert "<script>alert" not in page
    data = re.search(r'id="map-data-1">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data.group(1))["names"][-1] == "script>.png"  # what follows the last slash
    assert "&lt;script&gt;alert" in page


def test_the_page_opens_with_three_lights_and_what_to_do():
    page = render(content())
    opening = page.split("<h1>")[1].split('<div class="figures">')[0]
    assert re.findall(r'<li class="(\w+)"><b>(\w+)</b>', opening) == [
        ("warn", "watch"),
        ("ok", "ok"),
        ("bad", "alarm"),
    ]
    found = [opening.index(answer.question) for answer in VERDICT.answers]
    assert found == sorted(found)
    assert opening.index("<h2>Next") > max(found)
    assert "manyviews doctor" in opening
    assert "<script>alert" not in opening
    assert "could not be looked at" in render(content(verdict=None))
    assert "<h2>Next" not in render(content(verdict=replace(VERDICT, next=())))


def test_every_encoder_has_its_own_verdict_map_and_neighbours():
    [seen] = content().encoders.values()
    good = replace(VERDICT, answers=tuple(replace(a, light="ok") for a in VERDICT.answers))
    both = {"sound": replace(seen, verdict=good, diagnosis=DIAGNOSIS), "picture": seen}
    records = [
        {"kind": "health", "step": s, "rank_embedding/sound": s, "rank_embedding/picture": s}
        for s in (10, 20)
    ]
    page = render(content(encoders=both, records=records))
    opening = page.split("<h1>")[1].split('<div class="figures">')[0]
    for name, lights in (("sound", ["ok"] * 3), ("picture", ["warn", "ok", "bad"])):
        own = opening.split(f"<h2>{name}</h2>")[1].split('<ol class="next">')[0]
        assert re.findall(r'<li class="(\w+)"><b>', own) == lights
        for heading in ("Next", "Nearest neighbours", "Map"):
            assert f"<h2>{heading}: {name}</h2>" in page
        assert f"singular value, {name} over direction" in page
        assert f"embedding, {name}" in page
    assert "<h2>Diagnosis: sound" in page
    assert "<h2>Diagnosis: picture" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) == 9


def test_every_group_with_data_has_charts():
    page = render(content())
    for heading in ("Training", "Health", "With labels", "Spectrum", "Nearest neighbours", "Map"):
        assert f"<h2>{heading}" in page
    assert page.count("<svg") == 5  # loss, lr, rank, knn, spectrum


DIAGNOSIS = {
    "run": "run",
    "data": EVIL,
    "images": 30,
    "encoder": "trained encoder 'audio', step 9",
    "state": {"sentence": "Not collapsed: 3 of 8.", "title": "not collapsed"},
    "best": 20,
    "spaces": {"encoder": {"rankme": 12.345, "entropy_joe": -4902.0}, "projector": {"rankme": 3}},
    "invariance": {"encoder": {"crop": {"change": 0.5, "low": 0.4, "high": 0.6, "cosine": 0.8}}},
    "prototypes": {"perplexity": 0.25, "usage_entropy": 0.8},
    "groups": {"nmi": 0.6, "purity": 0.7, "clusters": 20.0},
}


def test_a_diagnosis_is_shown_with_its_words():
    page = render(content(diagnosis=DIAGNOSIS))
    for words in ("Not collapsed: 3 of 8.", "step 20 looks best", "NMI 0.600"):
        assert words in page
    assert '<td class="number">12.345</td>' in page
    assert "-4,902.0" in page
    assert "Garrido et al. 2023" in page  # the evidence for RankMe
    assert "0.500 (0.400 to 0.600)" in page
    # note, label and legend
    assert html.unescape(page).count("trained encoder 'audio', step 9") == 3
    assert "<script>alert" not in page
    assert "has gone on since" not in page
    assert "It looked at step 10" in render(content(diagnosis=DIAGNOSIS, diagnosed=10))
    assert "<h2>Diagnosis" not in render(content())


def test_entropy_and_reconstruction_are_drawn_with_their_sum():
    health = [
        {"kind": "health", "step": s, "entropy": -130.0 + s, "reconstruction": 135.0 - s / 2}
        for s in (10, 20, 30)
    ]
    page = render(content(records=[*health, {"kind": "health", "step": 40, "entropy": None}]))
    group = page.split("<h2>Entropy and reconstruction")[1].split("<h2>")[0]
    assert group.count("<svg") == 4
    assert "bound: entropy + reconstruction over step" in group
    assert group.count("<polyline") == 5  # both changes, the sum, and each by itself
    assert "<h2>Entropy" not in render(content())


def test_the_curves_are_changes_and_their_sum(monkeypatch):
    from manyviews.reports import page as room

    drawn = []
    monkeypatch.setattr(room, "line_chart", lambda lines, **_: drawn.append(lines) or "")
    health = [{"step": s, "entropy": -130.0 + s, "reconstruction": 135.0 - s / 2} for s in (2, 8)]
    room._entropy_reconstruction(health)
    assert [list(line.y) for line in drawn[0]] == [[0, 6], [0, -3]]
    assert [list(line.y) for line in drawn[1]] == [[6, 9]]


def test_a_map_by_neighbours_warns_of_its_distances(monkeypatch):
    from manyviews.reports import page as room

    monkeypatch.setattr(room, "place", lambda features, how: features[:, :2])
    page = render(content(map="umap"))
    assert "between clusters, their sizes and their densities mean little" in page
    assert "mean little" not in render(content())


def test_a_run_without_anything_still_has_a_page():
    page = render(content(records=[], embedded=None, spectrum=[], views=[], quarantine=[]))
    assert "a run" in page
    for heading in ("Training", "Health", "Spectrum", "Nearest neighbours", "Files that could not"):
        assert f"<h2>{heading}" not in page


def test_nearest_neighbours_are_the_nearest():
    features = np.zeros((6, 3), np.float32)
    features[:3, 0], features[3:, 1] = 1.0, 1.0
    features[:, 2] = np.linspace(0, 0.01, 6)
    images = [np.full((4, 4, 1), 10 * i, np.uint8) for i in range(6)]
    page = render(
        content(
            embedded=Embedded(features=features, images=images, names=[f"{i}" for i in "abcdef"])
        )
    )
    rows = re.findall(r'<div class="strip">(.*?)</div>', page, re.DOTALL)
    first = re.findall(r'src="([^"]+)"', rows[0])
    assert set(first[1:3]) == {data_uri(images[1], side=96), data_uri(images[2], side=96)}


def test_values_that_are_not_finite_are_left_out_of_charts():
    records = [
        {"kind": "train", "step": i, "loss": float("nan") if i == 2 else i} for i in range(5)
    ]
    page = render(content(records=[*records, {"kind": "train", "step": 9}]))
    assert "nan" not in re.search(r"<svg.*?</svg>", page, re.DOTALL).group(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_attention_is_bright_where_it_looks(channels):
    image = np.full((8, 8, channels), 100, np.uint8)
    weights = np.zeros((2, 2))
    weights[0, 0] = 1.0
    made = heat(image, weights).astype(int).sum(axis=-1)
    assert made[0, 0] > made[7, 7]


def test_equal_patches_get_equal_colours_on_all_images():
    tokens = np.random.default_rng(0).normal(size=(2, 2, 2, 5)).astype(np.float32)
    tokens[1, 1, 1] = tokens[0, 0, 0]
    colours = principal_colours(tokens)
    assert (colours[1, 1, 1] == colours[0, 0, 0]).all()
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 4


def test_outliers_copies_and_clusters_are_shown_with_their_names():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40, 8)).astype(np.float32)
    features[30] = features[7]
    names = [f"/data/{'ab'[i % 2]}/photo{i}.png" for i in range(39)] + [f"/data/b/{EVIL}"]
    page = render(content(embedded=Embedded(features=features, images=pictures(40), names=names)))
    parts = dict(re.findall(r"<h2>([^<]+)</h2>(.*?)(?=<h2>)", page, re.DOTALL))
    assert {"Clusters", "Near-duplicates", "Outliers", "Map"} <= set(parts)
    pair = re.findall(r'alt="([^"]+)"', parts["Near-duplicates"])
    assert pair[:2] == ["b/photo7.png", "a/photo30.png"]
    assert len(re.findall("<img", parts["Outliers"])) == 8
    sizes = [int(size) for size in re.findall(r"(\d+) samples</h3>", parts["Clusters"])]
    assert sum(sizes) == 40
    data = json.loads(re.search(r'id="map-data-1">(.*?)</script>', page, re.DOTALL).group(1))
    assert np.bincount(data["colourings"]["cluster"]["of"]).tolist() == sizes
    assert data["files"][:2] == [
        "a/photo0.png",
        "b/photo1.png",
    ]  # by folder the page colours itself
    assert "<script>alert" not in page


def test_every_picture_says_which_it_is():
    views = [Strip(pictures=pictures(2), captions=["image", "global 1"], name="/data/a/x.png")]
    page = render(content(views=views))
    assert re.findall(r'alt="([^"]*, global 1)"', page) == ["a/x.png, global 1"]
    assert 'alt=""' not in page
    images = re.findall(r"<img [^>]*>", page)
    assert all("title=" in image for image in images)


def test_an_accuracy_while_training_stands_beside_pixels_and_untrained():
    levels = {"knn": {"raw pixels": 0.4, "untrained encoder": 0.45}}
    group = render(content(levels=levels)).split("<h2>With labels")[1].split("<h2>")[0]
    assert group.count("<polyline") == 3
    assert "raw pixels" in group
    assert render(content()).split("<h2>With labels")[1].split("<h2>")[0].count("<polyline") == 1


def test_the_diagnosis_does_not_say_again_what_the_verdict_says():
    sentence = DIAGNOSIS["state"]["sentence"]
    same = tuple(replace(a, sentence=sentence) for a in VERDICT.answers[:1])
    page = render(content(diagnosis=DIAGNOSIS, verdict=replace(VERDICT, answers=same)))
    assert page.count(sentence) == 1
    assert render(content(diagnosis=DIAGNOSIS, verdict=None)).count(sentence) == 1
