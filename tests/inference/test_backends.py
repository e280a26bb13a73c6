"""Back ends: what is exact equals the trained network, whatever it is made of."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import pytest
import torch
from overriding import with_overrides
from torch import nn

from limner.config import Config, resolved
from limner.errors import ConfigError
from limner.inference import BACKENDS, Translator, as_for_pictures
from limner.inference.backends import OpenVINO, lacking
from limner.inference.cpu.packed_convolutions import PackedConv, PackedDoubling, packed, unseen
from limner.inference.folding import BATCH_NORMS, simplified
from limner.networks import NORMS, initialise, make_generator
from limner.networks.normalisation import SpectralConv2d
from limner.presets import preset
from limner.training.state import build_generator

CONVOLUTIONS = "limner.inference.cpu.packed_convolutions"


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def lively(network: nn.Module) -> nn.Module:
    """Give every norm statistics, scales and shifts that show when they are lost."""
    rng = torch.Generator().manual_seed(1)
    initialise(network, "xavier", gain=1.0, generator=rng)
    for module in network.modules():
        bias = getattr(module, "bias", None)
        if bias is not None:
            nn.init.normal_(bias, 0, 0.3, generator=rng)
        if isinstance(module, (nn.InstanceNorm2d, nn.GroupNorm, BATCH_NORMS)):
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=rng)
            if isinstance(module, BATCH_NORMS):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.3, generator=rng)
                nn.init.uniform_(module.running_var, 0.5, 2, generator=rng)
    return network


GENERATORS = {
    **{f"unet {norm}": {"name": "unet", "depth": 4, "width": 6, "norm": norm} for norm in NORMS},
    "unet multiply": {"name": "unet", "depth": 3, "width": 4, "skips": "multiply"},
    "unet alternating": {"name": "unet", "depth": 4, "width": 4, "skips": "alternating"},
    "unet study": {
        "name": "unet", "depth": 3, "width": 4, "bias": True, "rectify_last_skip": False,
    },
    **{
        f"resnet {norm}": {"name": "resnet", "width": 4, "blocks": 1, "norm": norm}
        for norm in NORMS
    },
    "pix2pixhd": {"name": "pix2pixhd", "width": 4, "downs": 2, "blocks": 1, "norm": "batch"},
    "enhancer": {
        "name": "pix2pixhd-local", "width": 4, "downs": 1, "blocks": 1, "local_blocks": 1,
    },
    "spade": {"name": "spade", "width": 4, "hidden": 6, "norm": "sync-batch"},
    "spade instance": {"name": "spade", "width": 4, "hidden": 6, "norm": "instance"},
    "spade code": {"name": "spade", "width": 4, "hidden": 6, "latent": 5, "size": (64, 32)},
}  # fmt: skip


def one_by_one(network: nn.Module, inputs: Sequence[torch.Tensor], statistics: str) -> torch.Tensor:
    with as_for_pictures(network, statistics=statistics, dropout=False):
        return torch.cat([network(*(one[i : i + 1] for one in inputs)) for i in range(2)])


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("kind", GENERATORS)
def test_the_folded_network_equals_the_trained_one(kind: str, statistics: str) -> None:
    network = lively(make_generator(**GENERATORS[kind], in_channels=4, out_channels=3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inputs = (noise(2, 4, 64, 96), *([torch.randn(2, 5)] if kind == "spade code" else []))
    expected = one_by_one(network, inputs, statistics)
    # A norm of few pixels magnifies rounding, the trained network's own too.
    exact = one_by_one(copy.deepcopy(network).double(), [i.double() for i in inputs], statistics)
    bound = max(1e-5, 4 * float((expected - exact).abs().max()))
    assert bound < 1e-4
    folded = BACKENDS["folded"].build(network, statistics=statistics, dropout=False)
    with torch.inference_mode():
        made = folded(*inputs)
        other = folded(*(one[1:] for one in inputs))  # a shape that the weights are not laid for
    assert float((made - expected).abs().max()) < bound
    assert float((other - expected[1:]).abs().max()) < bound
    assert float(expected.std()) > 0.05  # a flat picture would hide what is wrong
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_batch_and_spectral_norms_are_gone() -> None:
    network = lively(make_generator("unet", depth=4, width=4, norm="sync-batch"))
    folded = simplified(network, statistics="running", dropout=False)
    assert not any(isinstance(m, BATCH_NORMS) for m in folded.modules())
    kept = simplified(network, statistics="batch", dropout=False)
    norms = [m for m in kept.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == sum(isinstance(m, BATCH_NORMS) for m in network.modules())
    spade = make_generator("spade", width=4, hidden=4)
    plain = simplified(spade, statistics="running", dropout=False)
    assert not any(isinstance(m, SpectralConv2d) for m in plain.modules())


@pytest.mark.parametrize("after", ["none", "relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize("doubling", [True, False])
def test_packed_convolutions_are_the_plain_ones(
    after: str, doubling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    conv = nn.ConvTranspose2d(5, 7, 4, 2, 1) if doubling else nn.Conv2d(5, 7, 3, padding=1)
    x = noise(2, 5, 6, 9)
    with torch.no_grad():
        expected = {
            "none": lambda y: y,
            "relu": torch.relu,
            "leaky_relu": lambda y: nn.functional.leaky_relu(y, 0.2),
            "tanh": torch.tanh,
        }[after](conv(x))
        for without in (False, True):
            if without:
                monkeypatch.setattr(f"{CONVOLUTIONS}.has_onednn", lambda: False)
            one = packed(conv, dtype=torch.float32)
            inner = one.conv if isinstance(one, PackedDoubling) else one
            assert isinstance(inner, PackedConv)
            inner.after = (after, [0.2] if after == "leaky_relu" else [])
            torch.testing.assert_close(one(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize(
    "sizes", [[(2, 2), (4, 6), (2, 2), (4, 6)], [(4, 4), (2, 2)], [(2, 4), (2, 2)]]
)
def test_kernels_that_see_padding_are_cropped_for_that_size_alone(
    sizes: list[tuple[int, int]], onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(f"{CONVOLUTIONS}.has_onednn", lambda: False)
    torch.manual_seed(0)
    down, up = nn.Conv2d(5, 6, 4, 2, 1), nn.ConvTranspose2d(6, 7, 4, 2, 1)
    packed_down, packed_up = (packed(conv, dtype=torch.float32) for conv in (down, up))
    assert isinstance(packed_up, PackedDoubling)
    packed_up.conv.after = ("leaky_relu", [0.2])
    with torch.no_grad():
        for size in sizes:
            x = noise(2, 5, *size)
            inner = down(x)
            torch.testing.assert_close(packed_down(x), inner, atol=1e-6, rtol=1e-5)
            expected = nn.functional.leaky_relu(up(inner), 0.2)
            torch.testing.assert_close(packed_up(inner), expected, atol=1e-6, rtol=1e-5)


def test_how_much_of_a_kernel_sees_padding_alone() -> None:
    for size, kernel, stride, pad in itertools.product((2, 3, 4, 5), (3, 4), (1, 2), (0, 1, 2)):
        if size + 2 * pad < kernel:
            continue
        conv = nn.Conv2d(1, 1, kernel, stride, pad, bias=False)
        seen = torch.autograd.grad(conv(torch.ones(1, 1, size, size)).sum(), conv.weight)[0]
        rows = (seen[0, 0].sum(1) > 0).tolist()
        rims = min(rows.index(True), rows[::-1].index(True))
        assert unseen(size, kernel, pad) == rims


def run_config(*overrides: str) -> Config:
    base = ("data.size=64", "generator.width=4", "generator.depth=6", "generator.norm=batch")
    return resolved(with_overrides(preset("pix2pix-small"), [*base, *overrides]))


def make(backend: str, *overrides: str) -> Translator:
    settings = run_config(*overrides)
    return Translator(lively(build_generator(settings)), settings, backend=backend)


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("kind", ["element", "channel"])
def test_dropout_falls_on_the_same_values(kind: str, statistics: str) -> None:
    settings = (
        "inference.dropout=true",
        f"inference.statistics={statistics}",
        f"generator.dropout_kind={kind}",
    )
    source = noise(2, 3, 64, 70)
    expected = make("eager", *settings)(source)
    assert float((make("folded", *settings)(source) - expected).abs().max()) < 1e-5
    still = make("eager", settings[1])(source)
    assert float((still - expected).abs().max()) > 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_fewer_bits_stay_near(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = noise(1, 3, 64, 64)
    eager = make("eager", f"generator.norm={norm}")(source)
    off = {}
    for name in ("bf16", "f16"):
        if lacking(name, torch.device("cpu")):  # plain operations are there on every processor
            for module in (CONVOLUTIONS, "limner.inference.backends"):
                monkeypatch.setattr(f"{module}.has_onednn", lambda: False)
        coarse = make(name, f"generator.norm={norm}")(source)
        assert coarse.dtype == torch.float32
        off[name] = float((coarse - eager).square().mean().sqrt())
    assert 0 < off["bf16"] < 0.05
    # Three more bits of mantissa: an eighth of the error.
    assert 0 < off["f16"] < off["bf16"] / 4


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_a_back_end_that_the_processor_lacks_is_replaced_with_a_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {f"_is_mkldnn_{kind}_supported": lambda: False for kind in ("fp16", "bf16")}
    for check, answer in without.items():
        monkeypatch.setattr(torch.ops.mkldnn, check, answer, raising=False)
    translator, source = make(name), noise(1, 3, 64, 64)
    assert translator.note is not None
    assert name in translator.note
    assert translator.backend == "folded"
    assert torch.equal(translator(source), make("folded")(source))
    assert make("folded").note is None


def test_float16_is_refused_where_it_cannot_hold_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = run_config()
    network = build_generator(settings)
    monkeypatch.setattr("limner.inference.backends.has_onednn", lambda: False)
    with torch.no_grad():
        next(network.parameters())[0] = 7e4
    with pytest.raises(ConfigError, match="too large for float16: take bf16"):
        Translator(network, settings, backend="f16")


def test_pictures_share_a_batch_where_they_cannot_see_each_other() -> None:
    assert make("eager", "inference.statistics=batch").alone
    assert not make("folded", "inference.statistics=batch").alone
    assert make("folded", "inference.dropout=true").alone


@pytest.mark.parametrize("backend", ["eager", "folded"])
def test_pictures_are_made_without_a_graph(backend: str) -> None:
    translator, modes = make(backend), []
    translator.generator.register_forward_pre_hook(
        lambda module, given: modes.append(torch.is_inference_mode_enabled())
    )
    translator(noise(1, 3, 64, 64))
    assert modes == [True]


def test_a_translator_does_not_follow_a_generator_in_training() -> None:
    settings = run_config()
    network = lively(build_generator(settings))
    one = Translator(network, settings, backend="folded")
    source = noise(1, 3, 64, 64)
    before = one(source)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(one(source), before)


def test_wrong_back_ends_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown back end 'fold': did you mean 'folded'.*eager"):
        make("fold")
    with pytest.raises(ConfigError, match="onnxruntime cannot repeat what it draws: take eager"):
        make("onnxruntime", "inference.dropout=true")


def test_onnxruntime_gives_the_same_pictures() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    for size in ((64, 64), (70, 130)):
        source = noise(2, 3, *size)
        expected = make("eager", "inference.statistics=batch")(source)
        made = make("onnxruntime", "inference.statistics=batch")(source)
        assert float((made - expected).abs().max()) < 1e-5


def test_openvino_gives_the_same_pictures() -> None:
    pytest.importorskip("openvino", reason="openvino is an extra: pip install 'limner[export]'")
    source = noise(2, 3, 70, 130)
    expected = make("eager")(source)
    assert float((make("openvino")(source) - expected).abs().max()) < 1e-5
    coarse = float((make("openvino-bf16")(source) - expected).abs().max())
    assert coarse < 0.2


def test_openvino_takes_other_shapes_than_the_first() -> None:
    pytest.importorskip("openvino", reason="openvino is an extra: pip install 'limner[export]'")
    one, eager = make("openvino"), make("eager")
    shapes = [(2, 3, 64, 64), (1, 3, 128, 64), (2, 3, 64, 64), (1, 3, 64, 64)]
    for seed, shape in enumerate(shapes):
        source = noise(*shape, seed=seed)
        assert float((one(source) - eager(source)).abs().max()) < 1e-5, shape
    runtime = one.generator
    assert isinstance(runtime, OpenVINO)
    assert runtime.shapes == [list(shapes[0])]
    fixed = [input.partial_shape.is_static for input in runtime.fitted.inputs]
    assert fixed == [True]
