"""The verb `evaluate` on whatever can be evaluated: runs, checkpoints of others, files."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import manyviews
from manyviews.core import Failure, UsageError
from manyviews.evaluation.image.settings import FineTune
from manyviews.runs import evaluate as measuring
from manyviews.runs import probe as probing
from manyviews.runs import subject as subjects
from manyviews.verbs.evaluate import Robustness

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Two classes that differ in brightness, ten images each."""
    root = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (root / name).mkdir()
        for i in range(10):
            pixels = np.clip(random.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """What another project saved: a timm ViT's state in a torch file."""
    path = tmp_path_factory.mktemp("other") / "vit.pth"
    torch.manual_seed(1)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.save({"teacher": {f"backbone.{k}": v for k, v in model.state_dict().items()}}, path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "manyviews"


def other(checkpoint, labelled, **given):
    told = {"encoder": "vit_tiny_patch16_224", "image_size": 32} | given
    return manyviews.evaluate(checkpoint, data=str(labelled), **told)


def test_another_projects_checkpoint_goes_through_the_same_protocol(checkpoint, labelled, cache):
    found = other(checkpoint, labelled, protocol=["knn", "linear"]).found
    assert [one.result.protocol for one in found] == ["knn", "linear"]
    assert all(one.result.value == 1.0 for one in found)
    assert list(found[0].beside) == ["raw pixels", "centred pixels", "untrained encoder"]
    assert len(list(cache.glob("*.npy"))) == 6  # three encoders, two parts; centring costs nothing


def test_features_are_computed_once(checkpoint, labelled, monkeypatch):
    first = other(checkpoint, labelled).to_json()
    monkeypatch.setattr(probing, "extract", None)
    second = other(checkpoint, labelled).to_json()
    for said in (first, second):
        for result in (said["results"]["knn"], *said["results"]["knn"].pop("beside").values()):
            del result["seconds"]
    assert first == second


def test_another_view_or_encoder_is_another_entry_of_the_cache(checkpoint, labelled, cache):
    other(checkpoint, labelled, baselines=False)
    before = set(cache.glob("*.npy"))
    other(checkpoint, labelled, image_size=48, baselines=False)
    assert len(set(cache.glob("*.npy")) - before) == 2


def test_what_embed_wrote_evaluates_as_the_encoder_does(checkpoint, labelled, tmp_path):
    out = tmp_path / "features.npy"
    told = {"encoder": "vit_tiny_patch16_224", "image_size": 32}
    manyviews.embed(checkpoint, data=str(labelled), out=out, **told)
    [direct] = other(checkpoint, labelled, protocol="linear", baselines=False).found
    [read] = manyviews.evaluate(out, data=str(labelled), protocol="linear").found
    assert read.result.measures == direct.result.measures
    assert (read.result.train, read.result.n) == (direct.result.train, direct.result.n)


def test_features_of_any_program_are_taken_in_the_order_of_the_data(tmp_path):
    random = np.random.default_rng(0)
    for name, rows in (("train", 12_000), ("test", 2_000)):
        np.save(tmp_path / f"{name}.npy", random.normal(size=(rows, 4)).astype(np.float16))
    [found] = manyviews.evaluate(
        tmp_path / "train.npy",
        test_features=tmp_path / "test.npy",
        data="builtin:fashion",
    ).found
    assert 0.05 < found.result.value < 0.15  # noise says nothing of ten classes


def test_transfer_learns_on_one_data_set_and_is_tested_on_another(checkpoint, labelled, tmp_path):
    turned = tmp_path / "turned"
    for here, there in (("dark", "light"), ("light", "dark")):
        (turned / there).mkdir(parents=True)
        for path in (labelled / here).iterdir():
            (turned / there / path.name).write_bytes(path.read_bytes())
    (turned / "aardvark").mkdir()  # moves the numbers of the classes
    Image.new("RGB", (32, 32)).save(turned / "aardvark" / "0.png")
    [found] = other(checkpoint, labelled, train_data=str(turned), baselines=False).found
    assert found.result.value == 0.0
    with pytest.raises(UsageError, match=r"1 of the 3 classes of .*first: 'aardvark'"):
        other(checkpoint, turned, train_data=str(labelled))


def test_a_class_that_is_only_tested_is_named(checkpoint, labelled, tmp_path):
    rows = [f"{labelled}/{name}/{i}.png,{name},train" for name in ("dark", "light") for i in (0, 1)]
    rows.append(f"{labelled}/dark/5.png,dusk,test")
    (tmp_path / "l.csv").write_text("\n".join(["path,label,split", *rows]))
    with pytest.raises(UsageError, match=r"tests 1 classes that no training sample has .*'dusk'"):
        other(checkpoint, tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("protocol", "given"),
    [
        (["knn", "linear", "attentive"], {}),
        (["linear"], {"layer": "best"}),
        (
            ["robustness"],
            {"robustness": Robustness(corruptions=("fog", "contrast"), severities=(1, 2))},
        ),
        (
            ["finetune"],
            {
                "finetune": FineTune(epochs=1, lr=(1e-3, 1e-4)),
            },
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told_once(
    protocol, given, checkpoint, labelled, tmp_path, caplog
):
    rows = [f"{path},{path.parent.name},train" for path in sorted(labelled.rglob("*.png"))]
    (tmp_path / "cut.png").write_bytes((labelled / "dark" / "0.png").read_bytes()[:100])
    rows = [row if i % 5 else row.replace("train", "test") for i, row in enumerate(rows)]
    rows.append(f"{tmp_path / 'cut.png'},dark,test")
    (tmp_path / "l.csv").write_text("\n".join(["path,label,split", *rows]))
    other(checkpoint, tmp_path / "l.csv", protocol=protocol, **given)
    said = [r.getMessage() for r in caplog.records if "cut.png" in r.getMessage()]
    assert len(said) == 1, said
    assert said[0].startswith("1 of 5 images could not be read")


def test_timms_own_weights_are_taken_by_name(labelled, monkeypatch):
    made = timm.create_model("resnet10t", num_classes=0)
    real = timm.create_model

    def pretrained(name, *, pretrained=False, **given):
        return made if pretrained else real(name, **given)

    monkeypatch.setattr(timm, "create_model", pretrained)
    subject = subjects.open_subject("timm:resnet10t", image_size=32)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(subject(x), made.eval()(x))
    assert subject.pixels.side == 32


def test_weights_that_cannot_be_had_are_one_line(monkeypatch, caplog):
    hub = logging.getLogger("huggingface_hub.utils._http")
    level = logging.getLogger("huggingface_hub").level
    real = timm.create_model

    def offline(name, *, pretrained=False, **given):
        if pretrained:
            hub.warning("Retrying in 8s [Retry 5/5].")
            raise OSError("no network. Check your cable.\nand much more")
        return real(name, **given)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(Failure, match=r"weights of resnet10t \(no network\)\. Try again"):
        subjects.open_subject("timm:resnet10t")
    assert "Retrying" not in caplog.text
    assert logging.getLogger("huggingface_hub").level == level


def test_protocols_that_need_images_go_through_the_same_verb(checkpoint, labelled):
    found = other(
        checkpoint,
        labelled,
        protocol=["knn", "robustness", "finetune"],
        robustness=Robustness(corruptions=("brightness",), severities=(1,)),
        finetune=FineTune(epochs=1, batch_size=8, blocks=1),
    ).found
    knn, spoilt, tuned = found
    assert spoilt.result.protocol == "robustness"
    assert set(spoilt.beside) == {"raw pixels", "centred pixels", "untrained encoder"}
    for title, result in spoilt.beside.items():
        assert result.measures["clean_accuracy"] == knn.beside[title].measures["accuracy"]
    assert tuned.result.protocol == "finetune"
    assert set(tuned.beside) == {"untrained encoder"}  # pixels have no weights to tune


def test_a_query_attends_to_the_tokens_of_the_output_or_of_a_block(
    checkpoint, labelled, monkeypatch
):
    seen, learn = [], measuring.attentive

    def spy(*split, **told):
        seen.append(split[0])
        return learn(*split, rates=(1e-3,), steps=20, **told)

    monkeypatch.setattr(measuring, "attentive", spy)
    [found] = other(checkpoint, labelled, protocol="attentive").found
    assert list(found.beside) == ["untrained encoder"]  # pixels have no tokens
    assert found.result.measures["accuracy"].value == 1.0
    [deep] = other(checkpoint, labelled, protocol="attentive", layer=3, baselines=False).found
    assert "  tokens of block 3" in deep.lines()
    assert deep.result.settings["layer"] == 3
    assert "pool" not in deep.result.settings
    assert [x.shape for x in seen] == [(16, 4, 192)] * 3
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"protocol": "knm"}, "protocol is 'knm'. Did you mean 'knn'"),
        ({"protocol": []}, "No protocol was given"),
        ({"encoder": "vit_tinny_patch16_224"}, "There is no encoder"),
        (
            {"encoder": "resnet18"},
            "has no tensor with a name of this encoder's .* like a ViT of width",
        ),
        ({"encoder": "vit_tiny_patch16_224", "mean": (0.5,)}, "--mean and --std go together"),
        ({"encoder": ""}, "is for timm models and checkpoints"),
        ({"test_features": "x.npy"}, "goes with a .npy"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(checkpoint, labelled, given, words):
    with pytest.raises(UsageError, match=words) as error:
        other(checkpoint, labelled, **given)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("array", "paths", "words"),
    [
        (np.zeros((5, 3)), None, "has no f.npy.json beside it"),
        (np.zeros((5, 3)), ["a"], "5 rows and f.npy.json 1 paths"),
        (np.zeros((1, 3)), ["a"], "names no image of the training part"),
        (np.array(["text"]), None, "holds no numbers"),
        (None, None, "cannot be read as features"),
    ],
)
def test_files_that_are_no_features_are_one_line(labelled, tmp_path, array, paths, words):
    file = tmp_path / "f.npy"
    if array is None:
        file.write_bytes(b"nothing")
    else:
        np.save(file, array)
    if paths is not None:
        (tmp_path / "f.npy.json").write_text(json.dumps({"path": paths, "index": [0]}))
    with pytest.raises(UsageError, match=words):
        manyviews.evaluate(file, data=str(labelled))


def test_images_without_a_row_are_counted(labelled, tmp_path, caplog):
    names = [str(p) for p in sorted(labelled.rglob("*.png"))]
    np.save(tmp_path / "f.npy", np.eye(len(names))[:-3])
    (tmp_path / "f.npy.json").write_text(json.dumps({"path": names[:-3], "index": [0]}))
    [found] = manyviews.evaluate(tmp_path / "f.npy", data=str(labelled)).found
    assert found.result.train + found.result.n == len(names) - 3
    assert "have no features and are left out" in caplog.text


@pytest.mark.parametrize("protocol", ["linear", "logreg", "lowshot"])
def test_numbers_that_overflow_are_one_line(tmp_path, protocol):
    for name, rows in (("train", 12_000), ("test", 2_000)):
        random = np.random.default_rng(0).choice([-1e25, 1e25], (rows, 2))
        np.save(tmp_path / f"{name}.npy", random.astype(np.float32))
    with pytest.raises(UsageError, match=r"go up to 1\.0e\+25; wanted at most 1e\+18"):
        manyviews.evaluate(
            tmp_path / "train.npy",
            test_features=tmp_path / "test.npy",
            data="builtin:fashion",
            protocol=protocol,
        )


def test_rows_that_are_not_the_datas_are_refused(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((7, 3)))
    with pytest.raises(UsageError, match="7 rows; that part of builtin:fashion has 12000 samples"):
        manyviews.evaluate(
            tmp_path / "f.npy", test_features=tmp_path / "f.npy", data="builtin:fashion"
        )
    with pytest.raises(UsageError, match="--image-size 3 is for encoders"):
        manyviews.evaluate(tmp_path / "f.npy", data="builtin:fashion", image_size=3)
    with pytest.raises(UsageError, match="--protocol finetune is for encoders"):
        manyviews.evaluate(tmp_path / "f.npy", data="builtin:fashion", protocol="finetune")


def test_the_best_layer_is_chosen_by_training_labels_and_said(checkpoint, labelled):
    made = other(checkpoint, labelled, protocol=["knn", "linear"], layer="best")
    first = made.lines()[0]
    assert "training labels held out of" in first
    assert len(made.to_json()["layers"]["taps"]) == 24  # mean and class token of twelve blocks
    for one in made.found:
        assert one.result.settings["layer"] == 12  # all blocks tell brightness: the last is taken
        assert "chosen on training labels" in one.result.notes[0]
        assert list(one.beside) == ["raw pixels", "centred pixels", "untrained encoder"]


def test_the_choice_never_sees_a_test_label(checkpoint, labelled, monkeypatch):
    first = other(checkpoint, labelled, layer="best", baselines=False)
    real = probing.open_probe

    def turned(*given, **told):
        probe = real(*given, **told)
        probe.test = replace(probe.test, labels=1 - probe.test.labels)
        return probe

    monkeypatch.setattr(probing, "open_probe", turned)
    second = other(checkpoint, labelled, layer="best", baselines=False)
    assert second.layers.to_json() == first.layers.to_json()
    assert (first.found[0].result.value, second.found[0].result.value) == (1.0, 0.0)


def test_one_layer_is_what_a_network_cut_after_it_gives(checkpoint, labelled, cache):
    [found] = other(checkpoint, labelled, protocol="linear", layer=3, pool="mean").found
    assert (found.result.settings["layer"], found.result.settings["pool"]) == (3, "mean")
    assert "  features of block 3, mean" in found.lines()
    kept = [np.load(path) for path in cache.glob("*.npy")]
    subject = subjects.open_subject(checkpoint, encoder="vit_tiny_patch16_224", image_size=32)
    images = sorted(labelled.rglob("*.png"))
    views = subject.plain([np.asarray(Image.open(path)) for path in images])
    with torch.inference_mode():
        rows = subject.encoder(views, blocks=10).hidden[0].mean(dim=1)
    near = [
        all((rows - torch.tensor(row)).abs().amax(dim=1).min() < 1e-4 for row in array)
        for array in kept
        if array.shape[1] == rows.shape[1]
    ]
    assert sum(near) == 2  # the training and the test part


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layer": 13}, "--layer is 13 and the encoder has 12 blocks"),
        ({"layer": "last"}, "--layer is 'last'; wanted a number from 1, or best"),
        ({"pool": "mean"}, "--pool mean goes with --layer"),
        ({"layer": 2, "pool": "mean", "protocol": "attentive"}, "attentive takes all tokens"),
        ({"layer": 2, "protocol": "finetune"}, "--layer is for frozen features"),
    ],
)
def test_layers_that_cannot_be_had_are_one_line(checkpoint, labelled, given, words):
    with pytest.raises(UsageError, match=words):
        other(checkpoint, labelled, **given)


def test_features_in_a_file_have_no_layers(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((7, 3)))
    with pytest.raises(UsageError, match="--layer best is for encoders"):
        manyviews.evaluate(tmp_path / "f.npy", data="builtin:fashion", layer="best")
