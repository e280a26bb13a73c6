from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ConfigError, DataError
from limner.networks import SPADEEncoder, SPADEGenerator, count_parameters, initialise
from limner.networks.normalisation import SpectralConv2d
from limner.networks.spade import DOUBLINGS, PLAIN_NORMS, SPADE, SPADEBlock, resized

SMALL: dict[str, Any] = {"in_channels": 4, "width": 2, "hidden": 4}


def drawn(network: Any, seed: int = 0) -> Any:
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(seed))
    return network


def labels(*shape: int, seed: int = 0) -> Tensor:
    ids = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(seed))
    return F.one_hot(ids, 4).movedim(-1, 1).float()


@pytest.mark.parametrize(
    ("channels", "exact", "published"),
    [(184, 97_480_899, 97.48), (151, 96_492_483, 96.49), (36, 93_048_003, 93.05)],
)
def test_published_numbers_of_parameters(channels: int, exact: int, published: float) -> None:
    with torch.device("meta"):
        assert count_parameters(SPADEGenerator(in_channels=channels)) == exact
        assert round(exact / 1e6, 2) == published


def test_published_number_of_parameters_of_the_encoder() -> None:
    with torch.device("meta"):
        assert count_parameters(SPADEEncoder()) == 10_463_424
        assert round(10_463_424 / 1e6, 2) == 10.46


def silent(layer: SPADE) -> SPADE:
    for conv in (layer.gamma, layer.beta):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return layer


@pytest.mark.parametrize("norm", sorted(PLAIN_NORMS))
def test_without_modulation_mean_is_0_and_variance_1(norm: str) -> None:
    layer = silent(drawn(SPADE(6, 4, norm=norm, hidden=8)))
    features = 3 + 5 * torch.randn(4, 6, 16, 16)
    out = layer(features, labels(4, 32, 32))
    axes = (2, 3) if norm == "instance" else (0, 2, 3)
    assert out.mean(axes).abs().max().item() < 1e-5
    assert torch.allclose(out.var(axes, correction=0), torch.ones(()), atol=1e-3)


def test_equation_1() -> None:
    layer = drawn(SPADE(6, 4, norm="instance", hidden=8))
    features, source = torch.randn(2, 6, 8, 12), labels(2, 32, 48)
    hidden = torch.relu(layer.shared.conv(source[..., ::4, ::4]))  # type: ignore[operator]
    mean, variance = features.mean((2, 3), keepdim=True), features.var((2, 3), False, keepdim=True)
    normalised = (features - mean) / torch.sqrt(variance + 1e-5)
    expected = layer.gamma(hidden) * normalised + normalised + layer.beta(hidden)
    assert torch.allclose(layer(features, source), expected, atol=1e-5)


def test_a_block_without_gamma_and_beta_ignores_the_labels() -> None:
    block = drawn(SPADEBlock(6, 4, 4, norm="batch", spectral=True, hidden=8, kernel=3)).eval()
    features, maps = torch.randn(1, 6, 8, 8), [labels(1, 16, 16, seed=seed) for seed in (1, 2)]
    with_labels = [block(features, source) for source in maps]
    assert not torch.allclose(*with_labels, atol=1e-2)
    for module in block.modules():
        if isinstance(module, SPADE):
            silent(module)
    assert torch.equal(*(block(features, source) for source in maps))


def test_labels_are_resized_to_labels() -> None:
    small = resized(labels(1, 64, 96), (16, 32))
    assert set(small.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(small.sum(1), torch.ones(1, 16, 32))


@pytest.mark.parametrize("upsampling", sorted(DOUBLINGS))
def test_any_aspect_ratio_that_divides(upsampling: str) -> None:
    network = drawn(SPADEGenerator(**SMALL, upsampling=upsampling, out_channels=2))
    multiple = {"normal": 32, "more": 64, "most": 128}[upsampling]
    assert network.multiple == multiple
    assert len(network.blocks) == (8 if upsampling == "most" else 7)
    for height, width in ((1, 2), (3, 1)):
        source = labels(1, height * multiple, width * multiple)
        out = network(source)
        assert out.shape == (1, 2, height * multiple, width * multiple)
        assert out.abs().max().item() <= 1
    with pytest.raises(DataError, match=f"both sides must be multiples of {multiple}"):
        network(labels(1, multiple, multiple + 16))


@pytest.mark.parametrize("norm", sorted(PLAIN_NORMS))
@pytest.mark.parametrize("latent", [0, 5])
def test_every_norm_trains_every_weight(norm: str, latent: int) -> None:
    network = drawn(SPADEGenerator(**SMALL, norm=norm, latent=latent, size=(64, 96)))
    network(labels(2, 64, 96)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_labels_decide_the_picture() -> None:
    network = drawn(SPADEGenerator(**SMALL)).eval()
    first, second = (network(labels(1, 64, 64, seed=seed)) for seed in (1, 2))
    assert (first - second).abs().max().item() > 1e-2


def test_the_style_decides_the_picture_and_is_drawn_where_none_is_given() -> None:
    network = drawn(SPADEGenerator(**SMALL, latent=8, size=(32, 64))).eval()
    source = labels(2, 32, 64)
    z = torch.randn(2, 8)
    assert torch.equal(network(source, z), network(source, z))
    assert not torch.allclose(network(source, z), network(source, -z), atol=1e-3)
    torch.manual_seed(4)
    drawn_code = network(source)
    torch.manual_seed(4)
    assert torch.equal(drawn_code, network(source, torch.randn(2, 8)))
    assert network(labels(1, 64, 32)).shape == (1, 3, 64, 32)  # another size, the same style


def test_wrong_codes_and_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"generator.size is None: with a latent code"):
        SPADEGenerator(latent=8)
    with pytest.raises(ConfigError, match=r"generator.size is \(32, 48\).* multiples of 32"):
        SPADEGenerator(latent=8, size=(32, 48))
    network = SPADEGenerator(**SMALL, latent=8, size=(32, 32))
    with pytest.raises(DataError, match="the style code is 1 x 9: give 2 x 8"):
        network(labels(2, 32, 32), torch.zeros(1, 9))
    with pytest.raises(DataError, match="takes no style code"):
        SPADEGenerator(**SMALL)(labels(1, 32, 32), torch.zeros(1, 8))
    for make in (lambda: SPADEGenerator(norm="bach"), lambda: SPADE(1, 1, norm="bach")):
        with pytest.raises(ConfigError, match="unknown norm 'bach': did you mean 'batch'"):
            make()
    with pytest.raises(ConfigError, match="unknown upsampling 'mor': did you mean 'mo"):
        SPADEGenerator(upsampling="mor")


def test_spectral_norm_is_in_the_blocks_alone() -> None:
    def normed(spectral: bool) -> int:
        network = SPADEGenerator(**SMALL, spectral=spectral)
        return sum(isinstance(module, SpectralConv2d) for module in network.modules())

    assert normed(False) == 0
    assert normed(True) == 7 * 2 + 4  # and the four shortcuts where the width changes


def test_copies_and_states_are_complete() -> None:
    network = drawn(SPADEGenerator(**SMALL))
    source = labels(1, 32, 64)
    network(source).mean().backward()
    twin = copy.deepcopy(network)
    fresh = SPADEGenerator(**SMALL)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(twin(source), fresh(source))  # still in training: vectors move alike


@pytest.mark.parametrize("norm", ["instance", "sync-batch", "none"])
def test_the_encoder_tells_mean_and_log_variance(norm: str) -> None:
    encoder = drawn(SPADEEncoder(width=2, layers=3, latent=7, norm=norm))
    assert encoder.side == 32
    mean, logvar = encoder(torch.randn(2, 3, 40, 24))
    assert mean.shape == logvar.shape == (2, 7)
    (mean.square().mean() + logvar.square().mean()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
    inner = {name.split(".")[-1] for name, _ in encoder.blocks.named_parameters()}
    assert inner == ({"weight", "bias"} if norm != "instance" else {"weight"})


def test_the_encoder_resizes_pictures_itself() -> None:
    encoder = drawn(SPADEEncoder(width=2, layers=3, latent=3)).eval()
    picture = torch.randn(1, 3, 64, 96)
    small = F.interpolate(picture, size=(32, 32), mode="bilinear")
    assert torch.equal(encoder(picture)[0], encoder(small)[0])
    with pytest.raises(DataError, match="the style encoder takes N x 3 x H x W"):
        encoder(torch.randn(1, 1, 32, 32))
