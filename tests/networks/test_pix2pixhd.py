from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from limner.errors import CheckpointError, ConfigError, DataError
from limner.networks import (
    NORMS,
    FeatureEncoder,
    GlobalGenerator,
    LocalEnhancer,
    count_parameters,
    initialise,
)

GLOBAL: dict[str, Any] = {"in_channels": 5, "width": 4, "downs": 2, "blocks": 1}
LOCAL: dict[str, Any] = {**GLOBAL, "width": 2, "enhancers": 1, "local_blocks": 1}


def drawn(network: Any, seed: int = 0) -> Any:
    initialise(network, "xavier", gain=1.0, generator=torch.Generator().manual_seed(seed))
    return network


def test_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert count_parameters(GlobalGenerator(in_channels=36)) == 182_546_755
        assert count_parameters(LocalEnhancer(in_channels=36)) == 182_857_059
        assert count_parameters(FeatureEncoder()) == 788_803


@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("make", [lambda **k: GlobalGenerator(**GLOBAL, **k),
                                  lambda **k: LocalEnhancer(**LOCAL, **k)])  # fmt: skip
def test_every_norm_trains_every_weight(make, norm: str) -> None:
    network = drawn(make(norm=norm, out_channels=2))
    out = network(torch.randn(2, 5, 16, 40))
    assert out.shape == (2, 2, 16, 40)
    assert out.abs().max().item() <= 1
    out.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("enhancers", [1, 2, 3])
def test_enhancers_nest(enhancers: int) -> None:
    network = drawn(LocalEnhancer(width=1, downs=1, blocks=1, enhancers=enhancers, local_blocks=1))
    assert network.multiple == 2 ** (1 + enhancers)
    assert network.get_parameter("coarse.first.conv.weight").shape[0] == 2**enhancers
    side = network.smallest
    assert network(torch.randn(1, 3, side, 2 * side)).shape == (1, 3, side, 2 * side)
    with pytest.raises(DataError, match=f"both sides must be at least {side}"):
        network(torch.randn(1, 3, side, side // 2))
    with pytest.raises(DataError, match=f"multiples of {network.multiple}"):
        network(torch.randn(1, 3, side, 2 * side + 2))


def test_the_global_part_sees_the_image_halved() -> None:
    network = drawn(LocalEnhancer(**LOCAL))
    seen = []
    network.coarse.first.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    image = torch.randn(1, 5, 16, 24)
    network(image)
    assert seen[0].shape == (1, 5, 8, 12)
    # A 3x3 mean around every other pixel; at the border of what lies within.
    assert seen[0][0, 0, 2, 3].item() == pytest.approx(image[0, 0, 3:6, 5:8].mean().item())
    assert seen[0][0, 0, 0, 0].item() == pytest.approx(image[0, 0, :2, :2].mean().item())


def test_a_global_generator_starts_a_local_one() -> None:
    trained = drawn(GlobalGenerator(**GLOBAL), seed=1)
    network = drawn(LocalEnhancer(**LOCAL), seed=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.start_from(trained.state_dict())
    image = torch.randn(1, 5, 16, 16)
    assert torch.equal(network.coarse.features(image), trained.features(image))
    for name, value in network.state_dict().items():
        if not name.startswith("coarse."):
            assert torch.equal(value, before[name]), name


def test_enhancers_go_on_from_fewer_enhancers() -> None:
    fewer = drawn(LocalEnhancer(**LOCAL), seed=1)
    more = drawn(LocalEnhancer(**{**LOCAL, "width": 1, "enhancers": 2}), seed=2)
    more.start_from(fewer.state_dict())
    for name, value in fewer.state_dict().items():
        if not name.startswith("last."):
            assert torch.equal(more.state_dict()[name], value), name


@pytest.mark.parametrize("change", [{"width": 8}, {"blocks": 2}, {"downs": 1}, {"norm": "batch"}])
def test_other_weights_start_nothing(change: dict[str, Any]) -> None:
    network = drawn(LocalEnhancer(**LOCAL))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match="do not fit into the global part at"):
        network.start_from(GlobalGenerator(**{**GLOBAL, **change}).state_dict())
    with pytest.raises(CheckpointError, match="do not fit"):
        network.start_from({})
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_fixed_global_part_does_not_learn_until_it_is_let() -> None:
    network = drawn(LocalEnhancer(**{**LOCAL, "enhancers": 2}))

    def learning() -> set[str]:
        network.zero_grad()
        network(torch.randn(1, 5, 32, 32)).square().mean().backward()
        return {name for name, p in network.named_parameters() if p.grad is not None}

    network.fix_global()
    outermost = {n for n, _ in network.named_parameters() if n.startswith(("enhancers.1.", "last"))}
    assert learning() == outermost
    network.fix_global(False)
    assert learning() == {name for name, _ in network.named_parameters()}


def test_unknown_paddings_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown padding 'reflekt': did you mean 'reflect'"):
        GlobalGenerator(padding="reflekt")


def naive_mean(features: Tensor, instance: Tensor) -> Tensor:
    out = features.clone()
    for picture, ids in enumerate(instance):
        for one in ids.unique():
            inside = ids == one
            out[picture][:, inside] = features[picture][:, inside].mean(1, keepdim=True)
    return out


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_features_are_means_over_instances(dtype: torch.dtype) -> None:
    encoder = drawn(FeatureEncoder(width=2, features=4, downs=2))
    picture = torch.randn(3, 3, 16, 24)
    # Ids far apart, some in one picture only, the same id in several pictures.
    ids = torch.tensor([0, 7, 255 if dtype == torch.uint8 else 26_013])
    instance = ids[torch.randint(0, 3, (3, 16, 24))].to(dtype)
    instance[1] = 3
    plain = encoder.last(encoder.features(picture))
    found = encoder(picture, instance)
    assert found.shape == (3, 4, 16, 24)
    assert torch.allclose(found, naive_mean(plain, instance), atol=1e-6)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_negative_ids_and_gradients_pass() -> None:
    encoder = drawn(FeatureEncoder(width=2, downs=1))
    instance = torch.tensor([-5, 2**40])[torch.randint(0, 2, (1, 8, 8))]
    weights = torch.randn(1, 3, 8, 8)
    (encoder(torch.randn(1, 3, 8, 8), instance) * weights).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_instances_of_another_size_are_refused() -> None:
    encoder = FeatureEncoder(width=2, downs=1)
    with pytest.raises(DataError, match=r"do not belong to features of \(1, 3, 8, 8\)"):
        encoder(torch.randn(1, 3, 8, 8), torch.zeros(1, 8, 4, dtype=torch.int64))
