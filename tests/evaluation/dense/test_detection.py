"""Detection: what average precision says of boxes, and that a detector learns where things are."""

import dataclasses
import sys

import pytest
import torch

import shapes
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import ResNetSmallConfig, TimmConfig, ViTConfig, build
from manyviews.encoders.apart import parted
from manyviews.evaluation.dense.boxed import Boxes, open_boxed
from manyviews.evaluation.dense.detection import Seeing, detection, flipped, maps_of
from manyviews.evaluation.dense.detector import Detector, Places, Pyramid, Trunk
from manyviews.evaluation.dense.precision import FoundBoxes, box_precision
from manyviews.evaluation.dense.settings import Detection

pytest.importorskip("pycocotools", reason="needs the extra `detection`")
torch.set_num_threads(1)
SIDE = 48
KNOWN = {"channels": 3, "max_pixels": 10**6}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    shapes.draw(root, 24, name="train.json", folder="one")
    shapes.draw(root, 12, seed=1, name="test.json", folder="two")
    return [open_boxed(str(root), split=part, **KNOWN) for part in ("train", "test")]


def perfect(there):
    return [
        FoundBoxes(one.xyxy[~one.crowd], one.kinds[~one.crowd], torch.ones(int((~one.crowd).sum())))
        for one in there
    ]


def precision(found, there, kinds=2):
    return {name: one.value for name, one in box_precision(found, there, kinds=kinds).items()}


def test_perfect_boxes_have_an_average_precision_of_one(drawn):
    there = drawn[1].boxes
    found = box_precision(perfect(there), there, kinds=2)
    assert {name: (one.value, one.low, one.high) for name, one in found.items()} == {
        "AP": (1, 1, 1), "AP50": (1, 1, 1), "AP75": (1, 1, 1)
    }  # fmt: skip


def test_kinds_off_by_one_and_boxes_of_another_form_are_none(drawn):
    there = drawn[1].boxes
    right = perfect(there)
    off = [dataclasses.replace(one, kinds=(one.kinds + 1) % 2) for one in right]
    assert precision(off, there)["AP50"] < 0.1
    sides = [torch.cat([o.xyxy[:, :2], o.xyxy[:, 2:] - o.xyxy[:, :2]], dim=1) for o in right]
    xywh = [dataclasses.replace(o, xyxy=box) for o, box in zip(right, sides, strict=True)]
    assert precision(xywh, there)["AP50"] < 0.5
    assert precision([FoundBoxes(o.xyxy[:0], o.kinds[:0], o.scores[:0]) for o in right], there) == {
        "AP": 0, "AP50": 0, "AP75": 0
    }  # fmt: skip


def test_precision_by_hand():
    """One kind, one thing an image; the overlap of the first is 0.8, the second is missed."""
    box = torch.tensor([[0.0, 0, 10, 10]]).double()
    there = [Boxes(box, torch.tensor([0]), torch.tensor([False]))] * 2
    found = [
        FoundBoxes(torch.tensor([box]).double(), torch.tensor([0]), torch.tensor([score]))
        for box, score in [((0, 0, 10, 8), 0.9), ((50, 0, 60, 9), 0.5)]
    ]
    half = 51 / 101  # precision 1 at recalls 0 to 0.5, of 101
    said = precision(found, there, kinds=1)
    assert said["AP50"] == said["AP75"] == pytest.approx(half)
    assert said["AP"] == pytest.approx(half * 7 / 10)  # overlaps 0.5 to 0.8 of ten


def test_a_crowd_is_neither_missed_nor_found_wrongly():
    two = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 60, 30]]).double()
    there = [Boxes(two, torch.tensor([0, 0]), torch.tensor([False, True]))]
    some = [FoundBoxes(two, torch.tensor([0, 0]), torch.tensor([0.5, 0.9]))]
    assert precision(some, there, kinds=1)["AP"] == pytest.approx(1)
    assert precision(perfect(there), there, kinds=1)["AP"] == pytest.approx(1)


def test_a_missing_package_is_named_with_how_to_have_it(drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    line = r"needs the package pycocotools\. Install it: .* install '(pycocotools|manyviews\[det)"
    with pytest.raises(UsageError, match=line):
        box_precision(perfect(drawn[1].boxes), drawn[1].boxes, kinds=2)


def test_boxes_of_a_mirror_image():
    boxes = torch.tensor([[1.0, 2, 5, 6]])
    assert flipped(boxes, 10).tolist() == [[5, 2, 9, 6]]
    assert torch.equal(flipped(flipped(boxes, 10), 10), boxes)


def test_the_pyramid_has_four_sides_and_every_second_place():
    levels = Pyramid(8, 4)(torch.randn(2, 8, 6, 6))
    shapes_of = {name: tuple(x.shape) for name, x in levels.items()}
    sides = {"0": 24, "1": 12, "2": 6, "3": 3, "pool": 2}
    assert shapes_of == {name: (2, 4, side, side) for name, side in sides.items()}


@pytest.mark.parametrize(
    "config",
    [
        ResNetSmallConfig(input=Pixels(side=SIDE), width=8),
        TimmConfig(name="resnet10t", input=Pixels(side=64)),
    ],
)
def test_both_parts_of_a_residual_network_are_the_whole(config):
    encoder = build(config).eval()
    body, tail = parted(encoder)
    x = torch.randn(2, 3, config.input.side, config.input.side)
    with torch.no_grad():
        assert torch.equal(tail(body(x)).flatten(2).transpose(1, 2), encoder(x).tokens)
        assert body(x).shape[2] == 2 * tail(body(x)).shape[2]
    assert parted(build(ViTConfig(input=Pixels(side=32), patch=16, width=16, depth=1))) is None


def test_the_loss_knows_where_things_are():
    """A thing's kind or place that is wrong costs more, once it has been learnt."""
    torch.manual_seed(0)
    maps = torch.randn(1, 8, 6, 6)
    settings = Detection(width=16, proposals=50)
    detector = Detector(Trunk(torch.nn.Identity()), maps, kinds=2, side=SIDE, settings=settings)
    boxes, kinds = [torch.tensor([[8.0, 8, 30, 34]])], [torch.tensor([1])]
    optimizer = torch.optim.AdamW(detector.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        detector.loss(maps, boxes, kinds).backward()
        optimizer.step()

    def loss(boxes, kinds):
        torch.manual_seed(1)
        return float(detector.loss(maps, boxes, kinds).detach())

    right = loss(boxes, kinds)
    assert loss(boxes, [torch.tensor([0])]) > 2 * right
    assert loss([torch.tensor([[2.0, 20, 24, 46]])], kinds) > 2 * right
    [found] = detector.eval().found(maps)
    assert int(found.kinds[0]) == 1
    assert (found.xyxy[0] - boxes[0][0]).abs().max() < 3


def seeing(encoder, **changes):
    def maps(body, part):
        return maps_of(body, part, input, batch_size=8, device=torch.device("cpu"), workers=0)

    def trunk(copied):
        halves = parted(copied)
        return Trunk(Places(copied)) if halves is None else Trunk(*halves)

    input = encoder.input
    return Seeing(input, trunk, maps, torch.device("cpu"))


ENCODERS = {
    "C4": ResNetSmallConfig(input=Pixels(side=SIDE), width=16, zero_init=False),
    "pyramid": ViTConfig(input=Pixels(side=SIDE), patch=8, width=48, depth=1, heads=2),
}


@pytest.mark.parametrize(
    ("name", "blocks", "steps"), [("C4", -1.0, 90), ("pyramid", 0.0, 200), ("pyramid", -1.0, 160)]
)
def test_a_detector_learns_coloured_shapes(name, blocks, steps, drawn):
    """A frozen C4 is not among them: what is random knows too little of what is cut out."""
    torch.manual_seed(0)
    encoder = build(ENCODERS[name])
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    settings = Detection(steps=steps, batch_size=6, lr=3e-3, width=24, proposals=60, blocks=blocks)
    result = detection(encoder, *drawn, seeing=seeing(encoder), settings=settings)
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert (result.train, result.n, result.classes) == (24, 12, 2)
    assert result.settings["detector"] == name
    assert result.measures["AP50"].value > 0.4


def test_the_encoder_trains_only_where_it_is_asked_to(drawn):
    trained = {}
    for blocks in (0.0, 1.0, -1.0):
        encoder = build(ENCODERS["pyramid"])
        settings = Detection(steps=1, batch_size=4, width=8, proposals=10, blocks=blocks)
        result = detection(encoder, *drawn, seeing=seeing(encoder), settings=settings)
        trained[blocks] = result.settings["trained_parameters"]
    whole = sum(p.numel() for p in encoder.parameters())
    assert trained[-1.0] - trained[0.0] == whole
    assert 0 < trained[1.0] - trained[0.0] < whole


def test_kinds_that_training_images_lack_are_refused(drawn):
    train, test = drawn
    strange = dataclasses.replace(test, names=("green", "blue"))
    encoder = build(ENCODERS["C4"])
    with pytest.raises(UsageError, match="has the category blue, which"):
        detection(encoder, train, strange, seeing=seeing(encoder), settings=Detection())
