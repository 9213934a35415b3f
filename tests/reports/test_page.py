"""The report page: one file, asks the network for nothing, survives hostile names and no data."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from manyviews.reports.content import Content, Embedded, Strip
from manyviews.reports.page import render
from manyviews.reports.pictures import data_uri, heat, principal_colours

EVIL = '</script><script>alert("x")</script>.png'


def pictures(count, side=12, channels=1):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, channels), dtype=np.uint8) for _ in range(count)]


def content(**changes):
    rng = np.random.default_rng(1)
    records = [{"kind": "train", "step": i, "loss": 5.0 / i, "lr": 0.1} for i in range(1, 30)]
    records += [{"kind": "health", "step": i, "rank_embedding": 3.0 * i} for i in (10, 20)]
    records += [{"kind": "probe", "step": i, "knn": 0.5 + i / 100} for i in (10, 20)]
    whole = Content(
        title="a run",
        light="ok",
        verdict="Healthy: 3 of 8 directions are used.",
        figures={"steps": "29"},
        facts={"method": "SimCLR"},
        records=records,
        embedded=Embedded(
            features=rng.normal(size=(20, 8)).astype(np.float32),
            images=pictures(20),
            names=[f"photo{i}.png" for i in range(19)] + [EVIL],
        ),
        spectrum=[3.0, 1.0, 0.1],
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


def test_names_from_the_data_cannot_become_markup():
    page = render(content())
    assert "<script>alert" not in page
    data = re.search(r'id="map-data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data.group(1))["names"][-1] == "script>.png"  # what follows the last slash
    assert "&lt;script&gt;alert" in page


def test_every_group_with_data_has_charts():
    page = render(content())
    for heading in ("Training", "Health", "With labels", "Spectrum", "Nearest neighbours", "Map"):
        assert f"<h2>{heading}" in page
    assert page.count("<svg") == 5  # loss, lr, rank, knn, spectrum


DIAGNOSIS = {
    "run": "run",
    "data": EVIL,
    "images": 30,
    "verdict": {"sentence": "Healthy: 3 of 8.", "state": "healthy"},
    "trend": {"sentence": "Still improving."},
    "best": 20,
    "spaces": {"encoder": {"rankme": 12.345, "entropy_joe": -4902.0}, "projector": {"rankme": 3}},
    "invariance": {"encoder": {"crop": {"change": 0.5, "low": 0.4, "high": 0.6, "cosine": 0.8}}},
    "prototypes": {"perplexity": 0.25, "usage_entropy": 0.8},
    "groups": {"nmi": 0.6, "purity": 0.7, "clusters": 20.0},
}


def test_a_diagnosis_is_shown_with_its_words():
    page = render(content(diagnosis=DIAGNOSIS))
    for words in ("Healthy: 3 of 8.", "Still improving.", "step 20 looks best", "NMI 0.600"):
        assert words in page
    assert '<td class="number">12.345</td>' in page
    assert "-4,902.0" in page
    assert "Garrido et al. 2023" in page  # the evidence for RankMe
    assert "0.500 (0.400 to 0.600)" in page
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
