"""The report's figures as functions."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.diagnosis.invariance import Bar
from manyviews.reports import figures
from manyviews.reports.charts import Interval, bar_chart
from manyviews.reports.pictures import data_uri


def ring(count=12):
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def pictures(count):
    return [np.full((4, 4, 1), 20 * i, np.uint8) for i in range(count)]


def test_neighbours_are_those_on_both_sides_and_the_farthest_is_opposite():
    for found in figures.neighbours(ring(), queries=12, nearest=2, farthest=1):
        q = found.query
        assert {i for i, _ in found.nearest} == {(q + 1) % 12, (q - 1) % 12}
        assert found.farthest[0][0] == (q + 6) % 12
        assert abs(found.farthest[0][1] + 1) < 1e-5


def test_no_image_is_both_near_and_far():
    for found in figures.neighbours(ring(4), nearest=7, farthest=2):
        assert len(found.nearest) == 3
        assert found.farthest == []


def test_the_gallery_shows_query_nearest_and_farthest():
    html = figures.gallery(ring(), pictures(12), queries=1, nearest=2, farthest=1)
    shown = re.findall(r'src="([^"]+)"', html)
    assert shown[0] == data_uri(pictures(12)[0], side=96)
    assert shown[3] == data_uri(pictures(12)[6], side=96)
    assert len(shown) == 4


def lengths(svg):
    return [float(r.get("width")) for r in ElementTree.fromstring(svg).iter() if "rect" in r.tag]


def test_bars_are_as_long_as_their_values_and_whiskers_span_intervals():
    bars = {"a": {"crop": Interval(0.5, 0.4, 0.6), "flip": Interval(0.25, 0.2, 0.3)}}
    svg = bar_chart(bars, x="change", mark=1.0).partition("<div")[0]
    first, second = lengths(svg)
    assert first == 2 * second == (460 - 20 - 130) / 2
    whisker = re.search(r"M([\d.]+) [\d.]+H([\d.]+)", svg)
    low, high = map(float, whisker.groups())
    assert (low - 130) / 310 == 0.4
    assert (high - 130) / 310 == 0.6


def test_bars_that_are_missing_or_not_finite_are_left_out():
    bars = {
        "a": {"crop": Interval(0.5, 0.4, 0.6), "flip": Interval(float("nan"), 0, 1)},
        "b": {"crop": Interval(0.1, float("nan"), float("nan"))},
    }
    svg = bar_chart(bars, x="x").partition("<div")[0]
    assert len(lengths(svg)) == 2
    assert "nan" not in svg.replace("(nan to nan)", "")
    assert bar_chart({}, x="x") == ""


def test_names_of_bars_are_escaped():
    assert "<b>" not in bar_chart({"<b>": {"<b>": Interval(1, 0, 2)}, "c": {}}, x="<b>")


def test_invariance_is_drawn_from_results_and_from_json():
    bar = Bar(change=0.5, low=0.4, high=0.6, cosine=0.9)
    both = [
        figures.invariance_bars({"encoder": {"crop": bar}}),
        figures.invariance_bars({"encoder": {"crop": vars(bar)}}),
    ]
    assert both[0] == both[1]
    assert "0.500 (0.400 to 0.600)" in both[0]


@pytest.mark.parametrize("spaces", [("encoder",), ("encoder", "projector")])
def test_bars_name_the_encoder_that_they_are_of(spaces):
    bar = Bar(change=0.5, low=0.4, high=0.6, cosine=0.9)
    drawn = figures.invariance_bars(
        {space: {"crop": bar} for space in spaces}, of="frozen start of run"
    )
    legend = str(drawn).partition("</svg>")[2]
    assert "frozen start of run" in legend
    assert ("projector" in legend) == ("projector" in spaces)


def test_there_is_a_picture_for_each_head():
    image = np.full((8, 8, 1), 100, np.uint8)
    weights = np.zeros((3, 4))
    weights[0, 0] = weights[1, 3] = weights[2, 0] = 1.0
    made = figures.attention_heads(image, weights)
    assert len(made) == 3
    assert made[0].astype(int).sum(-1)[0, 0] > made[1].astype(int).sum(-1)[0, 0]
    assert np.array_equal(made[0], made[2])


def test_the_spectrum_is_drawn():
    assert "<polyline" in figures.spectrum([3.0, 1.0, 0.1])


def test_figures_take_arrays_tensors_and_pillow_images_alike():
    rows, images = ring(), pictures(12)
    made = figures.gallery(rows, images, queries=1, nearest=2, farthest=1)
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    shares = [tensor / 255 for tensor in tensors]
    pillow = [Image.fromarray(image[..., 0]) for image in images]
    for others in (tensors, shares, pillow):
        counts = {"queries": 1, "nearest": 2, "farthest": 1}
        assert figures.gallery(torch.from_numpy(rows), others, **counts) == made
    values = [3.0, 2.0, 1.0]
    assert figures.spectrum(torch.tensor(values)) == figures.spectrum(values)
    found = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    assert figures.spectrum(torch.from_numpy(rows)) == figures.spectrum(found)
    places = figures.embedding_map(torch.from_numpy(rows))
    np.testing.assert_array_equal(places, figures.embedding_map(rows))
    tokens = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype(np.float32)
    colours = figures.patch_colours(torch.from_numpy(tokens))
    np.testing.assert_array_equal(colours, figures.patch_colours(tokens))


def test_colour_images_of_tensors_are_turned_round():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    np.testing.assert_array_equal(figures.picture(tensor), image)
    np.testing.assert_array_equal(figures.picture(tensor / 255), image)
    np.testing.assert_array_equal(figures.picture(image[..., 0]), image[..., :1])


def test_a_cell_shows_a_figure_and_not_its_text():
    made = figures.spectrum([2.0, 1.0])
    assert made._repr_html_() == str(made)
    assert made.startswith("<svg")


def test_pictures_of_a_gallery_say_which_they_are():
    names = [f"photo {i}.jpg" for i in range(12)]
    html = figures.gallery(ring(), pictures(12), names, queries=1)
    assert 'alt="photo 0.jpg" title="photo 0.jpg"' in html
    assert 'alt="sample 0"' in figures.gallery(ring(), pictures(12), queries=1)
