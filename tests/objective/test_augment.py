"""Augmentation of what discriminators see: nothing where empty, seeded, differentiable, joint."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError
from limner.objective import AUGMENTATIONS, Objective, draw

ALL = tuple(AUGMENTATIONS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(count: int = 3, channels: int = 3, height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(count, channels, height, width, generator=seeded(9)) * 1.6 - 0.8


def test_none_is_the_identity_and_draws_nothing() -> None:
    rng = seeded(1)
    before = rng.get_state()
    image, source = picture(), picture(channels=5)
    drawn = draw((), 3, generator=rng)
    assert torch.equal(rng.get_state(), before)
    assert torch.equal(drawn(image), image)
    assert torch.equal(drawn(image, source), torch.cat([source, image], dim=1))


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_changes_pictures_by_its_generator_alone(kind: str) -> None:
    image = picture()
    before = torch.get_rng_state()
    one, same, other = (draw((kind,), 3, generator=seeded(s))(image) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, image)
    # Each sample has a draw of its own.
    same_thrice = draw((kind,), 3, generator=seeded(1))(image[:1].expand(3, -1, -1, -1))
    assert not torch.equal(same_thrice[0], same_thrice[1])


@pytest.mark.parametrize("kind", ALL)
def test_gradients_pass_and_are_those_of_the_transform(kind: str) -> None:
    image = picture(1, 3, 8, 8).double().requires_grad_()
    drawn = draw((kind,), 1, generator=seeded(3))
    assert torch.autograd.gradcheck(drawn, image)
    drawn(image).square().sum().backward()
    assert image.grad is not None
    assert float(image.grad.abs().sum()) > 0


@pytest.mark.parametrize("kind", ["translation", "cutout"])
def test_what_moves_or_cuts_acts_on_source_and_picture_alike(kind: str) -> None:
    image = picture(channels=1)
    seen = draw((kind,), 3, generator=seeded(4))(image, image)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert not torch.equal(seen[:, 1:], image)


def test_colours_are_the_pictures_alone() -> None:
    image, source = picture(), picture(channels=5)
    seen = draw(("colour",), 3, generator=seeded(4))(image, source)
    assert torch.equal(seen[:, :5], source)
    assert not torch.equal(seen[:, 5:], image)


def test_a_shift_is_of_whole_pixels_within_an_eighth_and_a_cut_of_a_quarter_at_most() -> None:
    height, width = 32, 48
    place = torch.zeros(1, 1, height, width)
    place[0, 0, 16, 24] = 1
    rows, columns = set(), set()
    for seed in range(150):
        found = draw(("translation",), 1, generator=seeded(seed))(place).nonzero()
        assert len(found) == 1
        rows.add(int(found[0, 2]) - 16)
        columns.add(int(found[0, 3]) - 24)
    assert rows == set(range(-4, 5))
    assert columns == set(range(-6, 7))
    ones = torch.ones(100, 1, height, width)
    share = 1 - draw(("cutout",), 100, generator=seeded(0))(ones).mean(dim=(1, 2, 3))
    assert float(share.max()) == pytest.approx(0.25)
    assert float(share.min()) >= 1 / 16


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match=r"augmentation.*colour, cutout, translation"):
        draw(("mirror",), 1, generator=seeded(0))


def test_features_are_compared_under_one_draw_and_judged_under_two() -> None:
    """With fake = real, matching is 0 however pictures are augmented; the judge sees two draws."""
    objective = Objective(augment=ALL, feature_matching=1.0, l1=0.0, gan="hinge")
    seen: list[Tensor] = []

    def judge(image: Tensor) -> list[list[Tensor]]:
        seen.append(image.detach())
        return [[image, image.mean((1, 2, 3), True)]]

    image, source = picture(), picture(channels=2)
    torch.manual_seed(0)
    _, terms = objective.generator([(judge, True)], source, image, image)
    assert terms["feature_matching"].item() == 0
    assert torch.equal(seen[0], seen[1])
    seen.clear()
    objective.discriminator(judge, source, image, image)
    assert not torch.equal(seen[0], seen[1])
    again = seen[:]
    seen.clear()
    torch.manual_seed(0)
    objective.generator([(judge, True)], source, image, image)
    objective.discriminator(judge, source, image, image)
    assert torch.equal(seen[2], again[0])
    assert torch.equal(seen[3], again[1])


def test_the_generator_learns_through_the_augmentation() -> None:
    objective = Objective(augment=ALL, l1=0.0, gan="hinge")
    fake = picture().requires_grad_()
    weight = picture(1, 3)

    def judge(image: Tensor) -> list[list[Tensor]]:
        return [[(image[:, -3:] * weight).mean((1, 2, 3), True)]]

    total, _ = objective.generator([(judge, True)], picture(channels=2), picture(), fake)
    total.backward()
    assert fake.grad is not None
    assert all(float(sample.abs().sum()) > 0 for sample in fake.grad)
