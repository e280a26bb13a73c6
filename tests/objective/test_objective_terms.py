"""The objective: which terms there are, how weights and scales add up, when r1 is due."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from overriding import with_overrides
from safetensors.torch import save_file
from torch import Tensor

from limner.errors import ConfigError, WeightsError
from limner.losses import GAN_LOSSES
from limner.networks import make_discriminator
from limner.networks.vgg import VGGFeatures, imagenet_normalised
from limner.objective import INPUTS, Objective, Perceptual, make_perceptual
from limner.presets import preset


def image(seed: int, count: int = 2, channels: int = 3, side: int = 16) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=rng) * 2 - 1


def judge(seen: Tensor) -> list[list[Tensor]]:
    """Two scales of one inner layer each, logits 0.3 and 0.7 times the mean's negative."""
    mean = seen.mean((1, 2, 3), keepdim=True)
    return [[seen, -0.3 * mean], [2 * seen, -0.7 * mean]]


@pytest.mark.parametrize("gan", sorted(GAN_LOSSES))
def test_scales_are_averaged_as_spade_or_summed_as_pix2pixhd(gan: str) -> None:
    source, target, fake = image(0), image(1), image(2)
    common = {"gan": gan, "l1": 0.0, "gradient_penalty": 0.0}
    values = {}
    for scales in ("mean", "sum"):
        objective = Objective(scales=scales, **common)
        _, d = objective.discriminator(judge, source, target, fake)
        _, g = objective.generator([(judge, True)], source, target, fake)
        values[scales] = [d["real"], d["fake"], d["total"], g["gan"]]
        assert 0 <= float(d["accuracy"]) <= 1
    for mean, total in zip(values["mean"], values["sum"], strict=True):
        torch.testing.assert_close(total, 2 * mean)
    logits = judge(torch.cat([source, fake], dim=1))
    expected = sum(GAN_LOSSES[gan].g(scale[-1]) for scale in logits) / 2
    torch.testing.assert_close(values["mean"][3], expected)


JUDGES = {
    "instance": (lambda: make_discriminator("patch", in_channels=6, norm="instance", layers=1), 1),
    "none": (lambda: make_discriminator("pixel", in_channels=6, norm="none"), 1),
    "scales": (lambda: make_discriminator("multiscale", in_channels=6, width=4), 1),
    "batch": (lambda: make_discriminator("patch", in_channels=6, norm="batch", layers=1), 1),
    "sync-batch": (
        lambda: make_discriminator("patch", in_channels=6, norm="sync-batch", layers=1),
        2,
    ),
}


def test_a_spectral_discriminator_iterates_once_an_update() -> None:
    """As SPADE's, which is shown both pictures in one pass, for its own loss and the other's."""
    torch.manual_seed(0)
    network = make_discriminator("multiscale", in_channels=6, width=4, spectral=True)
    expected = copy.deepcopy(network)
    source, target, fake = (image(seed, side=32) for seed in (0, 1, 2))
    objective = Objective(l1=0, feature_matching=10.0)
    objective.discriminator(network, source, target, fake)
    objective.generator([(network, True)], source, target, fake)
    for _ in range(2):
        expected(torch.cat([source, fake], 1))
    for one, two in zip(network.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", JUDGES)
def test_real_and_fake_are_judged_at_once_where_that_changes_nothing(kind: str) -> None:
    """Losses, gradients and running statistics are those of two passes, the fake one first."""
    build, passes = JUDGES[kind]
    torch.manual_seed(0)
    network = build().double()
    other = copy.deepcopy(network)
    source, target, fake = (image(seed, side=32).double() for seed in (0, 1, 2))
    seen: list[int] = []
    network.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    objective = Objective()
    total, terms = objective.discriminator(network, source, target, fake)
    total.backward()
    assert seen == ([4] if passes == 1 else [2, 2])
    # A plain function cannot be looked into, so it is called twice.
    expected, others = objective.discriminator(other.forward, source, target, fake)
    expected.backward()
    torch.testing.assert_close(terms, others)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    for one, two in zip(network.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(one, two)
    assert terms["real"].item() != terms["fake"].item()
    with torch.no_grad():  # afterwards a batch is one again
        one, two = (judged(torch.cat([source, fake], 1)) for judged in (network, other))
    torch.testing.assert_close(one, two)


def test_hinge_is_spades_form_of_it() -> None:
    """Park et al.'s code: -mean(min(x - 1, 0)), -mean(min(-x - 1, 0)) and -mean(x)."""
    logits = torch.linspace(-3, 3, 61)
    loss = GAN_LOSSES["hinge"]
    zero = torch.zeros(())
    torch.testing.assert_close(loss.d_real(logits), -torch.minimum(logits - 1, zero).mean())
    torch.testing.assert_close(loss.d_fake(logits), -torch.minimum(-logits - 1, zero).mean())
    torch.testing.assert_close(loss.g(logits), -logits.mean())


def tiny_vgg() -> VGGFeatures:
    torch.manual_seed(0)
    return VGGFeatures(depth=19, taps=("relu1_1", "relu2_1")).requires_grad_(False)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    weights = {"gan_weight": 2.0, "l1": 3.0, "l2": 5.0, "feature_matching": 7.0, "kl": 0.5}
    objective = Objective(
        gan="hinge", **weights, vgg=11.0, perceptual=Perceptual(tiny_vgg(), (0.5, 1.0))
    )
    style = (torch.ones(2, 4), torch.zeros(2, 4))
    total, terms = objective.generator([(judge, False)], image(0), image(1), image(2), style=style)
    factors = {
        "gan": 2.0, "l1": 3.0, "l2": 5.0, "feature_matching": 7.0, "kl": 0.5, "vgg": 11.0,
    }  # fmt: skip
    assert set(terms) == {*factors, "total"}
    assert all(float(terms[name]) != 0 for name in factors)
    expected = sum(weight * terms[name] for name, weight in factors.items())
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(terms["kl"], torch.tensor(2.0))


def test_r1_comes_every_so_many_steps_and_as_much_heavier() -> None:
    slope = torch.tensor(3.0, requires_grad=True)

    def linear(seen: Tensor) -> list[list[Tensor]]:
        return [[slope * seen[:, -3:].flatten(1).sum(1)]]

    objective = Objective(gan="hinge", r1=2.0, r1_every=4, discriminator_scale=0.5)
    # ||grad||^2 is slope^2 for each of the 3 x 16 x 16 values of the picture, source left out.
    penalty = 0.5 * 9 * 3 * 16 * 16
    for step in range(6):
        total, terms = objective.discriminator(linear, image(0), image(1), image(2), step=step)
        base = 0.5 * (terms["real"] + terms["fake"])
        if step % 4:
            assert "r1" not in terms
            torch.testing.assert_close(total, base)
        else:
            assert terms["r1"].item() == pytest.approx(penalty, rel=1e-5)
            torch.testing.assert_close(total, base + 0.5 * 2.0 * 4 * terms["r1"])
    _, terms = objective.discriminator(linear, image(0), image(1), image(2), step=None)
    assert "r1" not in terms


@pytest.mark.parametrize("given", sorted(INPUTS))
def test_perception_falls_as_pictures_come_near_and_teaches(given: str) -> None:
    loss = Perceptual(tiny_vgg(), (0.5, 1.0), given)
    real = image(1)
    far = [float(loss(real + offset * image(2), real)) for offset in (0.0, 0.1, 0.3, 0.9)]
    assert far[0] == 0
    assert far == sorted(far)
    fake = image(2).requires_grad_()
    loss(fake, real).backward()
    assert fake.grad is not None
    assert float(fake.grad.abs().max()) > 0


def test_what_the_classifier_is_given() -> None:
    pictures = image(3)
    assert INPUTS["raw"](pictures) is pictures
    torch.testing.assert_close(
        INPUTS["imagenet"](pictures), imagenet_normalised(pictures / 2 + 0.5)
    )


def test_the_weights_come_from_a_file_and_fit_the_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = VGGFeatures(depth=19)
    save_file(network.state_dict(), tmp_path / "vgg19_features.safetensors")
    loss = make_perceptual(weights=tmp_path)
    assert loss.weights == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    assert not any(parameter.requires_grad for parameter in loss.network.parameters())
    expected = network.features[0].weight  # type: ignore[union-attr]
    assert torch.equal(loss.network.get_parameter("features.0.weight"), expected)
    assert [f.shape[1] for f in loss.network(image(0))] == [64, 128, 256, 512, 512]


def test_missing_weights_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("LIMNER_WEIGHTS", raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(WeightsError, match=r"VGG19 .* is needed and was not found .*--weights"):
        make_perceptual()


def test_vgg16_features_of_the_published_weights(shared: Path) -> None:
    weights = shared / "weights" / "vgg16_features.safetensors"
    loss = make_perceptual(network="vgg16", weights=weights)
    real = image(0, count=1, side=32)
    assert float(loss(real, real)) == 0
    assert 0 < float(loss(real * 0.9, real)) < float(loss(-real, real))


def test_an_objective_without_its_perception_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.vgg is set"):
        Objective(vgg=10.0).generator([], image(0), image(1), image(2))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.vgg=1", "data.channels=[3, 1]"], r"objective\.vgg=1.*colour"),
        (["objective.vgg_weights=[1, 2]"], r"2 numbers for the 5 layers"),
        (["discriminators=[]", "objective.feature_matching=1"], r"there are none: add one"),
        (["objective.kl=1"], r"objective\.kl=1.*spade-encoder"),
        (["discriminators=[]", "objective.l1=0"], r"nothing to learn from"),
        (["encoder={name: features}"], r"encoder\.name=features averages over instances"),
        (["training.fix_global=2"], r"training\.fix_global=2.*pix2pixhd-local"),
    ],
)
def test_losses_without_what_they_compare_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_overrides(preset("pix2pix-small"), overrides)
