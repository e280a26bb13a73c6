"""Pixels that a pair's mask leaves out have no part in what is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import small
from torch import Tensor

from limner.api import train
from limner.files import read_events
from limner.losses import l1, l2, perceptual
from limner.networks import UNet, make_discriminator
from limner.objective import Objective
from limner.training.parts import parts_of, pictures_of


def masked_pairs(root: Path, *, hidden: int) -> Path:
    """Draw pairs whose targets' masked-out halves have the value `hidden`."""
    for number in range(2):
        rng = np.random.default_rng(number)
        source = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        target = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[:, :16] = 255
        target[:, 16:] = hidden
        for kind, pixels in (("source", source), ("target", target), ("mask", mask)):
            (root / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / "train" / kind / f"{number}.png")
    return root


def test_pixels_that_do_not_count_have_no_part_in_the_losses(tmp_path: Path) -> None:
    means = {}
    for hidden in (0, 255):
        data = masked_pairs(tmp_path / f"data{hidden}", hidden=hidden)
        run = tmp_path / f"run{hidden}"
        config = small(
            f"data.root={str(data)!r}", "data.mode=resize", "training.steps=1",
            "data.interpolation=[nearest, nearest]", "generator.norm=instance",
        )  # fmt: skip
        train(config, out=run, cache_folder=tmp_path / "cache")
        (event,) = [e for e in read_events(run) if e["event"] == "train"]
        means[hidden] = event["g/l1"]
    # The halves that count are alike; what lies beyond them is blank in both pictures.
    assert means[0] == means[255]


def stepped(
    target: Tensor, mask: Tensor | None, *, count: int = 1
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return the terms of the generator's loss and the gradients of both networks."""
    torch.manual_seed(0)
    generator = UNet(in_channels=1, out_channels=1, width=4, depth=3, norm="instance", dropout=0)
    discriminator = make_discriminator("patch", in_channels=2, norm="instance", layers=1, width=4)
    objective = Objective(l1=100.0, l2=10.0, feature_matching=1.0)
    rng = torch.Generator().manual_seed(7)
    batch = {"source": torch.rand(len(target), 1, 32, 32, generator=rng), "target": target}
    if mask is not None:
        batch["mask"] = mask
    sums: dict[str, Tensor] = {}
    for part in parts_of(batch, count, {}):
        fake = pictures_of(generator, None, part).fake
        judged, _ = objective.discriminator(
            discriminator, part.source, part.target, fake.detach(), step=None
        )
        total, terms = objective.generator(
            [(discriminator, True)], part.source, part.target, fake, weight=part.weight
        )
        ((judged + total) / count).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros(())) + value.detach() / count
    both = [*generator.parameters(), *discriminator.parameters()]
    return sums, [p.grad.clone() for p in both if p.grad is not None]


def masks(*shares: float) -> Tensor:
    """Return random masks, each with so large a part of its pixels counting."""
    rng = torch.Generator().manual_seed(3)
    return torch.stack([(torch.rand(1, 32, 32, generator=rng) < share).float() for share in shares])


@given(st.lists(st.sampled_from([0.0, 0.03, 0.4, 1.0]), min_size=1, max_size=2), st.floats(-9, 9))
@settings(max_examples=12, deadline=None)
def test_a_pixel_that_does_not_count_contributes_exactly_nothing(
    shares: list[float], hidden: float
) -> None:
    mask = masks(*shares)
    target = torch.rand(len(mask), 1, 32, 32, generator=torch.Generator().manual_seed(1))
    terms, gradients = stepped(target, mask)
    other_terms, others = stepped(torch.where(mask > 0, target, hidden), mask)
    assert gradients
    assert all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))
    assert {name: float(value) for name, value in terms.items()} == {
        name: float(value) for name, value in other_terms.items()
    }
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


def test_reconstruction_losses_are_means_over_the_mask() -> None:
    mask = masks(0.1, 0.6)
    target = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = {"source": target, "target": target, "mask": mask}
    (part,) = parts_of(batch, 1, {})
    fake = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2), requires_grad=True)
    inside = (fake - target).detach()[mask > 0]
    for term, mean in ((l1, inside.abs().mean()), (l2, inside.square().mean())):
        fake.grad = None
        value = term(fake, part.target, part.weight)
        value.backward()
        torch.testing.assert_close(value.detach(), mean)
        assert fake.grad is not None
        assert (fake.grad[mask == 0] == 0).all()
        assert (fake.grad[mask > 0] != 0).all()
    nothing = parts_of({**batch, "mask": torch.zeros(2, 1, 32, 32)}, 1, {})[0]
    assert float(l1(fake.detach(), nothing.target, nothing.weight)) == 0


def test_a_whole_mask_is_none_at_all_and_parts_add_up_whatever_their_masks() -> None:
    target = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    for (terms, gradients), (others, expected) in (
        (stepped(target, masks(1.0, 1.0)), stepped(target, None)),
        (stepped(target, masks(0.1, 0.7), count=2), stepped(target, masks(0.1, 0.7))),
    ):
        for name in ("l1", "l2", "gan"):
            torch.testing.assert_close(terms[name], others[name])
        for a, b in zip(gradients, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_perceptual_loss_is_a_mean_over_the_mask() -> None:
    layers = [torch.rand(1, 2, 32, 32), torch.rand(1, 2, 16, 16)]
    others = [layer + 1 for layer in layers]
    half = torch.zeros(1, 1, 32, 32)
    half[..., :16] = 1
    (weight,) = (part.weight for part in parts_of(
        {"source": half, "target": half, "mask": half}, 1, {}
    ))  # fmt: skip
    assert float(perceptual(others, layers, [1.0, 1.0], weight)) == pytest.approx(2.0)
    for layer in others:  # whatever is off where no pixel counts
        layer[..., layer.shape[-1] // 2 :] = 99
    assert float(perceptual(others, layers, [1.0, 1.0], weight)) == pytest.approx(2.0)
