"""Label maps translated: any size, instances found, wrong use said in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from overriding import with_overrides
from PIL import Image

from limner.config import Config, resolved
from limner.data import decode
from limner.errors import DataError
from limner.inference import (
    Translator,
    pad_to_multiple,
    plan_translation,
    shown_source,
    translate_file,
)
from limner.presets import preset
from limner.training.state import build_generator


def config(*overrides: str) -> Config:
    base = ("data.size=[32, 48]", "generator.width=4", "generator.depth=3")
    labels = ("data.labels.classes=3", "data.labels.void=255")
    return resolved(with_overrides(preset("pix2pix-small"), [*base, *labels, *overrides]))


def translator(*overrides: str) -> Translator:
    settings = config(*overrides)
    return Translator(build_generator(settings).eval(), settings)


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.tensor([0, 1, 2, 255])[torch.randint(4, shape, generator=rng)]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (5, 100), (1, 1)])
def test_label_maps_of_any_size_become_pictures(size: tuple[int, int]) -> None:
    assert translator()(ids(2, *size)).shape == (2, 3, *size)
    edges = translator("data.labels.edges=true")
    assert edges(ids(2, *size), ids(2, *size, seed=1)).shape == (2, 3, *size)


def test_classes_and_edges_reach_the_generator() -> None:
    network = translator("data.labels.edges=true")
    seen: list[torch.Tensor] = []
    network.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    source = torch.zeros(1, 32, 48, dtype=torch.int64)
    source[:, 8:, :] = 2
    source[:, 16:, :] = 255
    instance = torch.zeros_like(source)
    instance[:, :, 24:] = 26001
    network(source, instance)
    (given,) = seen
    assert given.shape == (1, 5, 32, 48)
    assert given.mean((0, 2, 3)).tolist() == pytest.approx([0.25, 0, 0.25, 0.5, 2 / 48])


def test_the_border_of_label_maps_is_repeated() -> None:
    source = ids(1, 5, 6)
    padded, (top, left) = pad_to_multiple(source, 8, border="repeat")
    assert padded.shape == (1, 8, 8)
    assert torch.equal(padded[:, top : top + 5, left : left + 6], source)
    assert torch.equal(padded[:, 0, left : left + 6], source[:, 0])
    assert torch.equal(padded[:, -1, left : left + 6], source[:, -1])
    assert torch.equal(padded[:, :, 0], padded[:, :, left])


def test_odd_sizes_reach_the_generator_with_their_border_repeated() -> None:
    network = translator()
    seen: list[torch.Tensor] = []
    network.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(ids(1, 12, 14))  # a multiple of 8 takes 2 rows on either side, 1 column
    assert seen[0].shape[2:] == (16, 16)
    assert torch.equal(seen[0][:, :, 0], seen[0][:, :, 2])
    assert torch.equal(seen[0][:, :, 1], seen[0][:, :, 2])
    assert torch.equal(seen[0][..., 15], seen[0][..., 14])


def test_wrong_use_is_one_sentence() -> None:
    labels = translator("data.labels.edges=true")
    with pytest.raises(DataError, match="takes label maps, integers NxHxW: give class ids"):
        labels(torch.rand(1, 3, 8, 8))
    with pytest.raises(DataError, match="the id 3, which has no channel"):
        labels(torch.full((1, 8, 8), 3), torch.zeros(1, 8, 8))
    with pytest.raises(DataError, match="need an instance map"):
        labels(torch.zeros(1, 8, 8, dtype=torch.int64))


def put(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def test_files_are_translated_with_the_instances_beside_them(tmp_path: Path) -> None:
    network = translator("data.labels.edges=true")
    labels = ids(20, 30).numpy().astype(np.uint8)
    instance = np.where(np.arange(30) < 11, 26000, 26001) + np.zeros((20, 1), dtype=np.int64)
    frame = "frankfurt_000000_000576_gtFine"
    source = put(tmp_path / "test_label" / f"{frame}_labelIds.png", labels)
    with pytest.raises(DataError, match=r"has no instance map beside it.* as --instances"):
        translate_file(network, source, tmp_path / "out.png", size="original")
    put(tmp_path / "test_inst" / f"{frame}_instanceIds.png", instance.astype(np.uint16))
    translate_file(network, source, tmp_path / "out.png", size="original")
    given = torch.from_numpy(labels).long()[None], torch.from_numpy(instance)[None]
    expected = ((network(*given)[0] + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(decode(tmp_path / "out.png"), expected)

    elsewhere = put(tmp_path / "maps" / "a.png", labels)
    put(tmp_path / "more" / "a.png", instance.astype(np.uint16))
    result = tmp_path / "2.png"
    translate_file(network, elsewhere, result, size="original", instances=tmp_path / "more")
    assert torch.equal(decode(result), expected)
    with pytest.raises(DataError, match="no instance map of its name in"):
        translate_file(network, elsewhere, result, instances=tmp_path / "test_inst")
    with pytest.raises(DataError, match=r"--instances .*none is no folder"):
        translate_file(network, elsewhere, result, instances=tmp_path / "maps" / "none")


def test_files_are_resized_by_nearest_and_checked(tmp_path: Path) -> None:
    network = translator()
    seen: list[torch.Tensor] = []
    network.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    labels = put(tmp_path / "1.png", ids(100, 70).numpy().astype(np.uint8))
    translate_file(network, labels, tmp_path / "out.png")
    assert decode(tmp_path / "out.png").shape == (3, 32, 48)
    assert set(seen[0].unique().tolist()) == {0, 1}
    photo = put(tmp_path / "photo.png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    with pytest.raises(DataError, match=r"photo\.png is a colour image"):
        translate_file(network, photo, tmp_path / "out2.png")
    other = put(tmp_path / "other.png", np.full((8, 8), 7, dtype=np.uint8))
    with pytest.raises(DataError, match=r"other\.png holds the value 7 in 64 pixels"):
        translate_file(network, other, tmp_path / "out2.png")
    assert not (tmp_path / "out2.png").exists()


def test_a_folder_of_cityscapes_gives_its_label_maps(tmp_path: Path) -> None:
    for kind in ("labelIds", "instanceIds", "color"):
        put(
            tmp_path / "in" / f"x_000000_000001_gtFine_{kind}.png", np.zeros((2, 2), dtype=np.uint8)
        )
    plan = plan_translation([str(tmp_path / "in")], out=tmp_path / "out", labels=True)
    assert [source.name for source, _ in plan] == ["x_000000_000001_gtFine_labelIds.png"]
    assert len(plan_translation([str(tmp_path / "in")], out=tmp_path / "out")) == 3


def test_sources_are_shown_in_the_colours_of_their_classes() -> None:
    source = torch.tensor([[0, 2], [255, 1]])
    shown = shown_source(config("data.labels.colours=[[255, 0, 0], [0, 255, 0]]"), source)
    levels = ((shown + 1) * 127.5).round().long().permute(1, 2, 0).tolist()
    assert levels[0][0] == [255, 0, 0]
    assert levels[1][1] == [0, 255, 0]
    assert levels[1][0] == [0, 0, 0]
    assert levels[0][1] not in levels[1] + [levels[0][0]]
    picture = torch.rand(3, 4, 4)
    assert shown_source(preset("pix2pix"), picture) is picture
