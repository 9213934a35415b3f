import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

import manyviews
from manyviews import encoders
from manyviews.core import Failure, UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.encoders import ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.file import KEY
from manyviews.encoders.settings import TubeletsConfig
from manyviews.parts import norm
from manyviews.runs import embedder as export
from manyviews.verbs.export import onnx_model, timm_weights, torch_program
from manyviews.verbs.export.from_pixels import FromPixels
from manyviews.views.image.plain import Plain

MEAN, STD = (0.25,), (0.5,)


def fed(side, channels=3):
    return Pixels(side=side, channels=channels, mean=MEAN, std=STD)


VIT = ViTConfig(input=fed(16), patch=4, width=16, depth=2, heads=2, positions="sincos", pool="mean")
CASES = {
    "resnet_small": ResNetSmallConfig(input=fed(24, 1), width=4, grid=4),
    "vit": VIT,
    "vit, drop path": replace(VIT, drop_path=0.1, pool="cls"),
    "timm vit": ViTConfig(name="test_vit", input=fed(32)),
    "resnet": TimmConfig(name="test_resnet", input=fed(32, 1), stem="small"),
    "resnet, no zero init": TimmConfig(name="test_resnet", input=fed(64), zero_init=False),
    "convnext": TimmConfig(name="test_convnext", input=fed(32)),
}
EARLIER = Path(__file__).parents[1] / "golden" / "runs" / "simclr" / "encoder.safetensors"
"""What 0.1.0 wrote."""


def trained(config, seed=0):
    """An encoder whose batch norms have seen something."""
    torch.manual_seed(seed)
    encoder = encoders.build(config)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return encoder.eval()


def images(config, count=3):
    return torch.randn(count, *config.input.shape, generator=torch.Generator().manual_seed(0))


def save(path, config):
    encoder = trained(config)
    export.save_encoder(path, encoder, config=config, info={"method": "simclr"})
    return encoder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "encoder.safetensors"


@pytest.mark.parametrize("name", CASES)
def test_a_saved_encoder_comes_back_bit_for_bit(path, name):
    config = CASES[name]
    encoder = save(path, config)
    embedder = export.load_encoder(path)
    x = images(config)
    with torch.no_grad():
        features = encoder(x)
    assert torch.equal(embedder(x), features.pooled)
    assert torch.equal(embedder.tokens(x), features.tokens)
    assert embedder.config == config
    assert embedder.input == embedder.pixels == config.input
    assert embedder.info == {"method": "simclr"}
    assert embedder.dim == encoder.dim
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_encoder_with_shared_batch_norm_comes_back_as_a_plain_one(path):
    config = CASES["resnet"]
    encoder = norm.convert(trained(config))
    export.save_encoder(path, encoder, config=config, info={})
    x = images(config)
    assert torch.allclose(export.load_encoder(path)(x), encoder(x).pooled, atol=1e-6)


def test_saving_twice_writes_the_same_bytes(tmp_path):
    save(tmp_path / "a", VIT)
    save(tmp_path / "b", VIT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_channels_last_weights_are_saved_right(path):
    config = CASES["resnet"]
    encoder = trained(config).to(memory_format=torch.channels_last)
    export.save_encoder(path, encoder, config=config, info={})
    x = images(config)
    assert torch.allclose(export.load_encoder(path)(x), encoder(x).pooled, atol=1e-6)


def test_loading_draws_no_random_numbers(path):
    save(path, VIT)
    before = torch.get_rng_state()
    export.load_encoder(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_embedder_is_frozen_and_stays_in_evaluation(path):
    save(path, CASES["resnet"])
    embedder = export.load_encoder(path)
    assert not any(p.requires_grad for p in embedder.parameters())
    nn.Sequential(embedder).train()
    assert not any(m.training for m in embedder.modules())
    state = {k: v.clone() for k, v in embedder.state_dict().items()}
    embedder(images(embedder.config))
    assert all(torch.equal(v, state[k]) for k, v in embedder.state_dict().items())


@pytest.mark.parametrize("side", [16, 96])
def test_transform_is_the_evaluation_transform(tmp_path, side):
    pixels = Pixels(side=side, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    save(tmp_path / "e", replace(VIT, input=pixels))
    embedder = export.load_encoder(tmp_path / "e")
    picture = np.random.default_rng(0).integers(0, 256, (130, 150, 3), dtype=np.uint8)
    plain = Plain(pixels)
    Image.fromarray(picture).save(tmp_path / "x.png")
    wanted = plain([picture])[0]
    assert wanted.shape == (3, side, side)
    for given in (picture, Image.fromarray(picture), tmp_path / "x.png", str(tmp_path / "x.png")):
        assert torch.equal(embedder.transform(given), wanted)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_a_pillow_image_and_its_file_give_the_same(tmp_path, channels, mode):
    save(tmp_path / "e", replace(VIT, input=fed(16, channels)))
    embedder = export.load_encoder(tmp_path / "e")
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA").convert(mode)
    file = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(file)
    difference = (embedder.transform(image) - embedder.transform(file)).abs().max()
    assert difference <= 1.01 / 255 / STD[0]  # one grey level, from rounding of transparency


@pytest.mark.parametrize("mode", ["RGBA", "CMYK"])
def test_all_bands_of_a_pillow_image_are_used_where_there_are_so_many_channels(tmp_path, mode):
    save(tmp_path / "e", replace(VIT, input=fed(16, 4)))
    embedder = export.load_encoder(tmp_path / "e")
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    image = Image.frombytes(mode, (24, 20), noise.tobytes())
    image.save(tmp_path / "x.tif")
    wanted = embedder.transform(noise)
    assert torch.equal(embedder.transform(image), wanted)
    assert torch.equal(embedder.transform(tmp_path / "x.tif"), wanted)
    for other in ("RGB", "L", "P"):
        with pytest.raises(UsageError, match="channels"):
            embedder.transform(Image.new(other, (8, 8)))


def test_a_turned_photograph_is_put_upright(tmp_path):
    save(tmp_path / "e", VIT)
    embedder = export.load_encoder(tmp_path / "e")
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        assert torch.equal(embedder.transform(image), embedder.transform(tmp_path / "x.png"))


def test_grey_arrays_gain_channels_and_colour_loses_them(tmp_path):
    save(tmp_path / "colour", VIT)
    save(tmp_path / "grey", replace(VIT, input=fed(16, 1)))
    colour, grey = (export.load_encoder(tmp_path / name) for name in ("colour", "grey"))
    flat = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    same = np.repeat(flat[..., None], 3, axis=2)
    assert torch.equal(colour.transform(flat), colour.transform(same))
    assert torch.equal(grey.transform(flat), grey.transform(same))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), "array of float32"),
        (np.zeros((4, 4, 5), dtype=np.uint8), "5 channels and the encoder takes 3"),
        (Image.new("I;16", (4, 4)), "mode I;16 has more than 8 bits"),
        ("nowhere.png", "nowhere.png cannot be read"),
    ],
)
def test_what_is_no_image_is_one_line(path, image, message):
    save(path, VIT)
    with pytest.raises(UsageError, match=message):
        export.load_encoder(path).transform(image)


def rewrite(path, change):
    """Change the description of an encoder file, and nothing else."""
    with safetensors.safe_open(path, framework="pt") as file:
        tree = json.loads(file.metadata()[KEY])
    text = change(tree)
    text = text if isinstance(text, str) else json.dumps(tree)
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {KEY: text})


def put(*keys, value):
    def change(tree):
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "{", "no JSON"),
        (lambda _: "[]", "has format None"),
        (lambda tree: tree.pop("info") and None, "has no 'info'"),
        (put("format", value=3), "has format 3, and manyviews .* reads formats 1 and 2"),
        (put("about", value=None), "about lacks 'encoder' or 'resize'"),
        (put("about", "encoder", value=None), "about lacks 'encoder' or 'resize'"),
        (put("about", "encoder", "is", value="vitt"), "of the kind 'vitt'. Did you mean 'vit'?"),
        (put("about", "encoder", "input", value=None), "about.encoder.input should be a mapping"),
        (put("about", "encoder", "input", "side", value=0), "encoder.input.side is 0"),
        (
            put("about", "encoder", "width", value="wide"),
            "about.encoder.width should be a value of",
        ),
        (put("about", "encoder", "code", value="x"), "no field 'code'"),
        (put("about", "encoder", "width", value=10**9), "encoder.width is 1000000000"),
        (put("about", "encoder", "width", value=32), "not those of the encoder vit"),
        (put("about", "encoder", "name", value="hf-hub:a/b"), "There is no encoder 'hf-hub:a/b'"),
        (put("about", "encoder", "pool", value="max"), "about.encoder.pool should be one of"),
        (
            put("about", "encoder", "input", "mean", value=[0.1, 0.2]),
            "input.mean is 0.1 0.2; wanted",
        ),
        (put("about", "encoder", "input", "std", value=[0.0]), "encoder.input.std is 0; wanted"),
        (put("about", "encoder", "input", "mean", value=[float("nan")]), "input.mean is nan"),
        (put("about", "resize", value="stretch"), "another way of resizing images .stretch."),
    ],
)
def test_a_tampered_description_is_one_line_of_advice(path, change, message):
    save(path, VIT)
    rewrite(path, change)
    with pytest.raises(UsageError, match=message) as caught:
        export.load_encoder(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("about", "mean", value=[0.1, 0.2]), "input.mean is 0.1 0.2; wanted one number"),
        (put("about", "std", value=[0.0]), "encoder.input.std is 0; wanted"),
        (lambda tree: tree["about"].pop("mean") and None, "encoder.input.mean should be a list"),
        (put("about", "encoder", "image_size", value=0), "encoder.input.side is 0"),
        (lambda tree: tree["about"]["encoder"].pop("width") and None, "settings lack 'width'"),
        (put("about", "encoder", "name", value="hf-hub:a/b"), "There is no encoder 'hf-hub:a/b'"),
    ],
)
def test_a_tampered_description_of_an_earlier_version_is_one_line_too(path, change, message):
    path.write_bytes(EARLIER.read_bytes())
    assert export.load_encoder(path).pixels.side == 28
    rewrite(path, change)
    with pytest.raises(UsageError, match=message) as caught:
        export.load_encoder(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04pickle" * 100])
def test_a_garbage_file_is_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no readable safetensors file") as caught:
        export.load_encoder(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(path):
    save(path, VIT)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UsageError, match="no readable safetensors file"):
        export.load_encoder(path)


def test_files_from_elsewhere_and_nowhere_are_refused(path):
    with pytest.raises(UsageError, match="There is no encoder file"):
        export.load_encoder(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="does not say what encoder it holds"):
        export.load_encoder(path)


def test_a_copy_is_the_same_file_and_a_broken_one_is_not_copied(tmp_path):
    save(tmp_path / "a", VIT)
    export.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UsageError):
        export.copy(tmp_path / "a", tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", [n for n in CASES if n != "resnet_small"])
def test_the_lines_for_timm_rebuild_the_encoder(tmp_path, name):
    config = CASES[name]
    encoder = save(tmp_path / "encoder", config)
    lines = timm_weights.export_timm(tmp_path / "encoder", tmp_path / "timm.safetensors")
    scope = {}
    exec(lines, scope)
    x = images(config)
    with torch.no_grad():
        assert torch.equal(scope["model"](x), encoder(x).pooled)


def test_timm_has_no_resnet_small_and_is_said_so(tmp_path):
    save(tmp_path / "encoder", CASES["resnet_small"])
    wanted = r"onnx or torch, or train with --encoder\.name resnet18"
    for write in (timm_weights.export_timm, timm_weights.export_folder):
        with pytest.raises(UsageError, match=wanted):
            write(tmp_path / "encoder", tmp_path / "out")
        assert not (tmp_path / "out").exists()


TIMM = [n for n in CASES if n not in ("resnet_small", "resnet")]


@pytest.mark.parametrize("name", TIMM)
def test_timm_reads_the_folder_without_a_word_of_ours(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = CASES[name]
    encoder = save(tmp_path / "encoder", config)
    folder = tmp_path / "model"
    folder.mkdir()
    lines = timm_weights.export_timm(tmp_path / "encoder", folder / "model.safetensors")
    assert f'timm.create_model("local-dir:{folder}", pretrained=True)' in lines
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = images(config)
    with torch.no_grad():
        assert torch.equal(model(x), encoder(x).pooled)
    fed = timm.data.resolve_model_data_config(model)
    side, channels = config.input.side, config.input.channels
    assert fed["input_size"] == (channels, side, side)
    assert (tuple(fed["mean"]), tuple(fed["std"])) == (MEAN * channels, STD * channels)
    assert (fed["interpolation"], fed["crop_pct"]) == ("bilinear", 1.0)


def test_the_file_alone_says_what_it_is_and_is_fed(tmp_path):
    fed = Pixels(side=96, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    config = replace(VIT, input=fed, pool="cls", positions="learned")
    save(tmp_path / "encoder", config)
    timm_weights.export_timm(tmp_path / "encoder", tmp_path / "timm.safetensors")
    with safetensors.safe_open(tmp_path / "timm.safetensors", framework="pt") as file:
        words = file.metadata()
    assert words["architecture"] == "vit_tiny_patch16_224"
    assert json.loads(words["model_args"])["num_heads"] == 2
    assert json.loads(words["mean"]) == [0.1, 0.2, 0.3]
    assert json.loads(words["input_size"]) == [3, 96, 96]
    assert json.loads(words["crop_pct"]) == pytest.approx(96 / 109)


def test_anothers_config_stays(tmp_path):
    save(tmp_path / "encoder", VIT)
    (tmp_path / "config.json").write_text('{"architectures": ["x"]}')
    lines = timm_weights.export_timm(tmp_path / "encoder", tmp_path / "timm.safetensors")
    assert "is another program's and stays" in lines
    assert (tmp_path / "config.json").read_text() == '{"architectures": ["x"]}'
    (tmp_path / "config.json").unlink()
    for _ in range(2):  # ours is written anew
        assert "Or: timm.create_model" in timm_weights.export_timm(
            tmp_path / "encoder", tmp_path / "timm.safetensors"
        )


@pytest.mark.parametrize("name", TIMM)
def test_a_folder_for_hugging_face_is_read_without_a_network(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = save(tmp_path / "encoder", CASES[name])
    folder = tmp_path / "new" / "model"
    timm_weights.export_folder(tmp_path / "encoder", folder)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    told = json.loads((folder / "config.json").read_text())
    # what transformers asks of a model of timm's; it gives num_classes itself, and would stumble
    assert {"architecture", "num_classes", "pretrained_cfg"} <= told.keys()
    assert "num_classes" not in told["model_args"]
    x = images(CASES[name])
    with torch.no_grad():
        wanted = encoder(x).pooled
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        assert torch.equal(model(x), wanted)
        transformers = pytest.importorskip("transformers")
        read = transformers.AutoModel.from_pretrained(str(folder)).eval()
        torch.testing.assert_close(read(pixel_values=x).pooler_output, wanted)


def test_a_folder_is_not_written_over_anothers_nor_for_a_small_stem(tmp_path):
    save(tmp_path / "encoder", VIT)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="another program's model"):
        timm_weights.export_folder(tmp_path / "encoder", tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        timm_weights.export_folder(tmp_path / "encoder", tmp_path / "encoder")
    small = TimmConfig(name="resnet18", input=fed(16, 3), stem="small")
    save(tmp_path / "small", small)
    with pytest.raises(UsageError, match="small stem"):
        timm_weights.export_folder(tmp_path / "small", tmp_path / "model")


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11, as it loads
@pytest.mark.parametrize(("name", "normalise"), [(next(iter(CASES)), True), ("timm vit", False)])
def test_a_program_of_torch_gives_what_the_encoder_gives(tmp_path, name, normalise):
    config = CASES[name]
    encoder = save(tmp_path / "encoder", config)
    path = tmp_path / "encoder.pt2"
    made = manyviews.export(tmp_path / "encoder", out=path, format="torch", normalise=normalise)
    fed, _, gap = made.notes[0].partition("; largest difference to the encoder: ")
    assert fed == ("it takes pixels in [0, 1]" if normalise else "it takes normalised views")
    assert float(gap) < 1e-5
    program = torch.export.load(path).module()
    x = torch.rand(5, *config.input.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        fed = x
        if normalise:
            each = [torch.tensor(v)[:, None, None] for v in (config.input.mean, config.input.std)]
            fed = (x - each[0]) / each[1]
        torch.testing.assert_close(program(x), encoder(fed).pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        replace(VIT, input=Pixels(side=16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))),
        TubeletsConfig(
            input=Frames(side=16, frames=2, rate=8.0, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
            patch=8, width=12, depth=1, heads=2,
        ),
    ],
    ids=["images", "clips"],
)  # fmt: skip
def test_every_channel_has_a_mean_of_its_own_inside(path, config):
    encoder = save(path, config)
    x = torch.rand(2, *config.input.shape, generator=torch.Generator().manual_seed(1))
    each = [((x[:, c] - config.input.mean[c]) / config.input.std[c]) for c in range(3)]
    with torch.no_grad():
        wanted = encoder(torch.stack(each, dim=1)).pooled
        torch.testing.assert_close(FromPixels(export.load_encoder(path))(x), wanted)


def test_a_program_that_gives_something_else_is_not_written(tmp_path, monkeypatch):
    save(tmp_path / "encoder", CASES["resnet_small"])
    monkeypatch.setattr(torch_program, "TOLERANCE", -1.0)
    with pytest.raises(Failure, match=r"differs from the encoder by .*; nothing was written"):
        torch_program.export_torch(tmp_path / "encoder", tmp_path / "x.pt2")
    assert not (tmp_path / "x.pt2").exists()


def test_the_verb_hands_on_whether_to_normalise_and_refuses_where_it_cannot(tmp_path, monkeypatch):
    save(tmp_path / "encoder", VIT)
    asked = []
    monkeypatch.setattr(onnx_model, "export_onnx", lambda *_, normalise: asked.append(normalise))
    for normalise in (True, False):
        manyviews.export(
            tmp_path / "encoder", out=tmp_path / "x", format="onnx", normalise=normalise
        )
    assert asked == [True, False]
    for other in ("timm", "safetensors", "huggingface"):
        with pytest.raises(UsageError, match=f"with --format onnx or torch, and this is {other}"):
            manyviews.export(tmp_path / "encoder", out=tmp_path / "x", format=other, normalise=True)


def test_only_pixels_are_normalised_inside(tmp_path):
    config = AudioConvConfig(input=LogMel(seconds=0.5, bins=32), width=4, depth=1)
    save(tmp_path / "encoder", config)
    with pytest.raises(UsageError, match="--normalise is for pixels, and audio_conv is fed LogMel"):
        torch_program.export_torch(tmp_path / "encoder", tmp_path / "x.pt2", normalise=True)
