"""Precision: chosen by the hardware, and attention whose gradient is float32 on a CPU."""

import pytest
import torch
import torch.nn.functional as F

from manyviews.core.inputs import Pixels
from manyviews.encoders import build
from manyviews.encoders.settings import ViTConfig
from manyviews.training import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("flags\t\t: fpu avx512_bf16 sse", torch.bfloat16),
        ("flags : fpu amx_bf16", torch.bfloat16),
        ("Features : fp asimd bf16", torch.bfloat16),
        ("flags : fpu avx2", None),
        ("", None),
    ],
)
def test_auto_is_bf16_only_where_the_processor_computes_it(monkeypatch, flags, wanted, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\n{flags}\n")
    found = precision._cpu_flags(info)
    monkeypatch.setattr(precision, "_cpu_flags", lambda: found)
    cpu = torch.device("cpu")
    assert precision.autocast_dtype("auto", cpu) is wanted
    assert precision.autocast_dtype("bf16", cpu) is torch.bfloat16
    assert precision.autocast_dtype("fp32", cpu) is None


def test_without_proc_there_are_no_flags(tmp_path):
    assert precision._cpu_flags(tmp_path / "nothing") == set()


def heads(seed, *, grad=True):
    g = torch.Generator().manual_seed(seed)
    return (4 * torch.randn(2, 3, 7, 8, generator=g)).bfloat16().requires_grad_(grad)


def attended(mask=None, *, inside, **given):
    """The output, and the gradients of query, key and value."""
    parts = [heads(i) for i in range(3)]
    if inside:
        with precision.mixed(CPU, torch.bfloat16):
            out = F.scaled_dot_product_attention(*parts, mask, **given)
    else:
        wide = [part.float() for part in parts]
        out = F.scaled_dot_product_attention(*wide, mask, **given).bfloat16()
    out.float().square().sum().backward()
    return [out.detach(), *(part.grad for part in parts)]


MASK = torch.arange(49).view(7, 7) % 3 != 1


@pytest.mark.parametrize(
    ("mask", "given"),
    [
        (None, {}),
        (None, {"is_causal": True}),
        (None, {"scale": 0.1}),
        (MASK, {}),
        (torch.where(MASK, 0.5, -2.0), {}),
    ],
)
def test_attention_with_a_gradient_is_that_of_float32(mask, given):
    for found, wanted in zip(
        attended(mask, inside=True, **given), attended(mask, inside=False, **given), strict=True
    ):
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, wanted)


def test_attention_without_a_gradient_stays_as_it_was():
    parts = [heads(i, grad=False) for i in range(3)]
    with precision.mixed(CPU, torch.bfloat16):
        found = F.scaled_dot_product_attention(*parts)
    assert torch.equal(found, F.scaled_dot_product_attention(*parts))
    learnt = [heads(i) for i in range(3)]
    with precision.mixed(CPU, torch.bfloat16), torch.no_grad():
        assert torch.equal(F.scaled_dot_product_attention(*learnt), found)


def test_long_attention_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(precision, "_SHORT", 6)
    found, *_ = attended(inside=True)
    parts = [heads(i) for i in range(3)]
    assert torch.equal(found, F.scaled_dot_product_attention(*parts))
    monkeypatch.setattr(precision, "_SHORT", 7)  # as many keys as there are, of 8 numbers each
    assert torch.equal(attended(inside=True)[0], attended(inside=False)[0])


def test_double_precision_stays_as_it_was():
    parts = [heads(i).detach().double().requires_grad_() for i in range(3)]
    with precision.mixed(CPU, torch.bfloat16):
        found = F.scaled_dot_product_attention(*parts)
    assert found.dtype == torch.float64
    assert torch.equal(found, F.scaled_dot_product_attention(*parts))


def test_arguments_by_place_do_as_well():
    parts = [heads(i) for i in range(3)]
    with precision.mixed(CPU, torch.bfloat16):
        placed = F.scaled_dot_product_attention(*parts, None, 0.0, True)
        assert torch.equal(placed, F.scaled_dot_product_attention(*parts, is_causal=True))


def test_names_of_arguments_do_as_well():
    query, key, value = (heads(i) for i in range(3))
    with precision.mixed(CPU, torch.bfloat16):
        named = F.scaled_dot_product_attention(query=query, key=key, value=value)
        assert torch.equal(named, F.scaled_dot_product_attention(query, key, value))


def test_all_else_is_autocasts():
    x, layer = torch.randn(4, 8), torch.nn.Linear(8, 8)
    with precision.mixed(CPU, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with precision.mixed(CPU, None):
        assert layer(x).dtype == torch.float32
        wide = [part.detach().float().requires_grad_() for part in map(heads, range(3))]
        assert F.scaled_dot_product_attention(*wide).dtype == torch.float32


def test_a_transformers_blocks_go_this_way(monkeypatch):
    asked = []

    def seen(query, *rest, **more):
        asked.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return precision._ATTENTION(query, *rest, **more)

    monkeypatch.setattr(precision, "_in_float32", seen)
    config = ViTConfig(input=Pixels(side=16), patch=8, width=64, depth=2, pool="mean")
    encoder = build(config)
    with precision.mixed(CPU, torch.bfloat16):
        encoder(torch.randn(2, 3, 16, 16))
    assert asked == [(torch.bfloat16, True)] * 2
