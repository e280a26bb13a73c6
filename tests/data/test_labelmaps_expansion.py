"""Label maps as networks take them: one-hot, void, edges of instances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.data import boundaries, expand, network_input
from limner.errors import DataError

shapes = st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 7))


def drawn_ids(shape: tuple[int, int, int], ids: list[int], seed: int) -> Tensor:
    chosen = torch.randint(len(ids), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(ids)[chosen]


def test_a_map_drawn_by_hand_becomes_the_channels_written_by_hand() -> None:
    source = torch.tensor([[[0, 1, 255], [0, 1, 1]]])
    instance = torch.tensor([[[7, 8, 8], [7, 8, 8]]])
    expected = torch.tensor(
        [
            [[1, 0, 0], [1, 0, 0]],  # class 0
            [[0, 1, 0], [0, 1, 1]],  # class 1
            [[0, 0, 0], [0, 0, 0]],  # class 2, which the map has not
            [[0, 0, 1], [0, 0, 0]],  # void
            [[1, 1, 0], [1, 1, 0]],  # both sides of the line between 7 and 8
        ]
    ).float()[None]
    result = expand(source, instance, classes=3, void=255, edges=True)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(1, 6), st.sampled_from([None, 6, 255]), st.integers(0, 999))
def test_every_pixel_has_one_class_and_the_map_can_be_read_back(
    shape: tuple[int, int, int], classes: int, void: int | None, seed: int
) -> None:
    ids = [*range(classes), *([] if void is None else [void])]
    source = drawn_ids(shape, ids, seed)
    hot = expand(source, classes=classes, void=void)
    assert hot.shape == (shape[0], len(ids), *shape[1:])
    assert torch.equal(hot.sum(1), torch.ones(shape))
    assert torch.equal(torch.tensor(ids)[hot.argmax(1)], source)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 999))
def test_edges_follow_mirrors_transposes_and_renaming(
    shape: tuple[int, int, int], seed: int
) -> None:
    instance = drawn_ids(shape, [3, 26001, 26002], seed)
    edge = boundaries(instance)
    assert torch.equal(boundaries(instance.flip(-1)).flip(-1), edge)
    assert torch.equal(boundaries(instance.flip(-2)).flip(-2), edge)
    assert torch.equal(boundaries(instance.transpose(1, 2)).transpose(1, 2), edge)
    assert torch.equal(boundaries(instance * 5 + 1), edge)


def test_an_edge_is_where_one_of_four_neighbours_differs() -> None:
    instance = torch.zeros(5, 5, dtype=torch.int64)
    instance[2, 2] = 9
    cross = torch.zeros(5, 5, dtype=torch.bool)
    cross[2, 1:4] = True
    cross[1:4, 2] = True
    assert torch.equal(boundaries(instance), cross)
    assert not boundaries(torch.full((4, 4), 70000)).any()


def test_pictures_pass_and_label_maps_are_expanded() -> None:
    picture = torch.rand(2, 3, 4, 4)
    assert network_input({"source": picture}) is picture
    batch = {"source": torch.zeros(1, 4, 4, dtype=torch.int64), "instance": torch.eye(4)[None]}
    assert network_input(batch, classes=2, edges=True).shape == (1, 3, 4, 4)


def test_what_cannot_be_expanded_is_said() -> None:
    ids = torch.tensor([[[0, 5]]])
    with pytest.raises(DataError, match="the id 5, which has no channel: ids are 0 to 4"):
        expand(ids, classes=5)
    with pytest.raises(DataError, match="the id 5"):  # it is no void only because void exists
        expand(ids, classes=5, void=255)
    with pytest.raises(DataError, match="integers N x H x W"):
        expand(torch.rand(1, 3, 4, 4), classes=5)
    with pytest.raises(DataError, match="need an instance map"):
        expand(ids, classes=6, edges=True)
