"""Several sources become one picture's channels, and the two sizes of a pair one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from limner.data import PairedDataset, derive_ranges, find_pairs, open_dataset, read_pair, splits
from limner.data.data_settings import DataSettings
from limner.data.pair_reading import common_size, factor_of
from limner.errors import DataError


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


def opened(root: Path, split: str = "train", **settings: Any) -> PairedDataset:
    keywords: dict[str, Any] = {"channels": (2, 1), "interpolation": ("bicubic", "bicubic")}
    return open_dataset(root, split, **{**keywords, "mode": "none", **settings})


@pytest.fixture
def contrasts(tmp_path: Path) -> Path:
    """A manifest of two contrasts, one of 8 bits and one of 16, and a target."""
    rng = np.random.default_rng(0)
    lines = ["source.T1,source.t2,target,group,split"]
    for number in range(4):
        first = rng.integers(0, 256, (12, 10), dtype=np.uint8)
        write(tmp_path / "t1" / f"{number}.png", first)
        write(tmp_path / "t2" / f"{number}.tif", first.astype(np.uint16) * 257)
        write(tmp_path / "ct" / f"{number}.png", 255 - first)
        split = "fold1" if number < 2 else "fold2"
        lines.append(f"t1/{number}.png,t2/{number}.tif,ct/{number}.png,p{number // 2},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("given", ["folder", "file"])
def test_several_source_columns_become_channels(contrasts: Path, given: str) -> None:
    root = contrasts if given == "folder" else contrasts / "manifest.csv"
    assert splits(root) == ["fold1", "fold2"]
    pairs = find_pairs(root, "fold2", direction=None)
    assert [pair.group for pair in pairs] == ["p1", "p1"]
    assert [path.name for path in pairs[0].sources] == ["2.png", "2.tif"]
    source, target = read_pair(pairs[0])
    assert (source.dtype, source.shape) == (torch.uint16, (2, 12, 10))
    assert torch.equal(source[0].int(), source[1].int())
    sample = opened(root, "fold1")[0]
    assert torch.equal(sample["source"][0], sample["source"][1])
    assert torch.allclose(sample["source"][:1], -sample["target"], atol=1e-6)
    assert target.dtype == torch.uint8


def test_percentiles_of_several_columns_are_of_each(contrasts: Path) -> None:
    data = DataSettings.model_validate(
        {"channels": (2, 1), "range": {"source": {"percentiles": (0, 100)}}}
    )
    facts = derive_ranges(find_pairs(contrasts, "fold1", direction=None), data)
    ends = facts.settings["data.range.source"]
    first = [np.array(Image.open(contrasts / "t1" / f"{k}.png")) for k in (0, 1)]
    low, high = float(np.min(first)), float(np.max(first))
    assert ends == [(low, high), (low * 257, high * 257)]  # in the files' own values
    stated = DataSettings.model_validate({"channels": (2, 1), "range": {"source": ends}})
    sample = opened(contrasts, "fold1", spans=stated.spans)[0]
    assert torch.allclose(sample["source"][0], sample["source"][1], atol=1e-6)
    assert -1 <= float(sample["source"].min()) < -0.9


def test_what_does_not_fit_together_is_named(contrasts: Path) -> None:
    with pytest.raises(DataError, match=r"data\.channels=\[2, 1\]"):
        opened(contrasts, "fold1", channels=(1, 1))
    with pytest.raises(DataError, match="channels"):
        opened(contrasts, "fold1", channels=(3, 1), convert=True)  # grey and grey are no colours
    with pytest.raises(DataError, match="AtoB"):
        find_pairs(contrasts, "fold1", direction="BtoA")
    write(contrasts / "t2" / "1.tif", np.zeros((5, 5), np.uint16))
    with pytest.raises(DataError, match=r"1\.tif is 5x5"):
        opened(contrasts, "fold1")
    text = (contrasts / "manifest.csv").read_text()
    (contrasts / "manifest.csv").write_text(text.replace("source.T1", "source"))
    with pytest.raises(DataError, match=r"source\.t2"):
        find_pairs(contrasts, "fold1", direction=None)
    (contrasts / "manifest.csv").write_text(text.replace("t2/0.tif", "t2/9.tif"))
    with pytest.raises(DataError, match=r"t2/9\.tif"):
        find_pairs(contrasts, "fold1", direction=None)


@pytest.mark.parametrize(
    ("source", "target", "resizing", "expected"),
    [
        ((8, 6), (8, 6), "off", (8, 6)),
        ((8, 6), (32, 24), "multiple", (32, 24)),
        ((32, 24), (8, 6), "multiple", (32, 24)),
        ((8, 6), (32, 24), "off", None),
        ((8, 6), (32, 18), "multiple", None),
        ((8, 6), (9, 7), "multiple", None),
        ((8, 6), (9, 7), "source", (9, 7)),
        ((8, 6), (9, 7), "target", (8, 6)),
    ],
)
def test_two_sizes_become_one(source: Any, target: Any, resizing: str, expected: Any) -> None:
    assert common_size(source, target, resizing) == expected


def test_the_factor_is_the_one_of_all_pairs() -> None:
    assert factor_of([((8, 6), (16, 12)), ((4, 4), (8, 8))]) == 2
    assert factor_of([((8, 6), (16, 12)), ((4, 4), (12, 12))]) == 1
    assert factor_of([((16, 12), (8, 6))]) == 1
    assert factor_of([((8, 6), (8, 6))]) == 1
    assert factor_of([]) == 1


@pytest.mark.parametrize("mode", ["none", "crop", "resize"])
@pytest.mark.parametrize("larger", ["source", "target"])
def test_the_smaller_image_of_a_pair_is_enlarged(tmp_path: Path, mode: str, larger: str) -> None:
    small = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    big = small.repeat(3, 0).repeat(3, 1)
    for kind in ("source", "target"):
        write(tmp_path / "train" / kind / "0.png", big if kind == larger else small)
    mask = np.eye(6, 8, dtype=np.uint8)
    write(tmp_path / "train" / "mask" / "0.png", mask)
    dataset = opened(
        tmp_path,
        channels=(1, 1),
        mode=mode,
        size=(18, 24),
        interpolation=("nearest", "nearest"),
        cache_folder=tmp_path / "cache",
        cache_bytes=10**6,
    )
    for _ in range(2):  # the second time from the cache
        sample = dataset[0]
        assert sample["source"].shape == (1, 18, 24)
        assert torch.equal(sample["source"], sample["target"])
        assert int(sample["mask"].sum()) == 6 * 9
    facts = derive_ranges(find_pairs(tmp_path, "train", direction=None), DataSettings())
    assert facts.settings.get("data.factor", 1) == (3 if larger == "target" else 1)


def test_other_sizes_are_refused_with_a_cure_that_cures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write(tmp_path / "train" / "source" / "0.png", rng.integers(0, 256, (6, 8), dtype=np.uint8))
    write(tmp_path / "train" / "target" / "0.png", rng.integers(0, 256, (7, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"8x6.*9x7.*data\.resize=source"):
        opened(tmp_path, channels=(1, 1))
    for resizing, shape in (("source", (1, 7, 9)), ("target", (1, 6, 8))):
        sample = opened(tmp_path, channels=(1, 1), resizing=resizing)[0]
        assert sample["source"].shape == sample["target"].shape == shape
