"""Values beyond 8 bits from training to files and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tiny import small

from limner.api import train
from limner.cli import main
from limner.config import replace
from limner.data import decode
from limner.errors import DataError
from limner.evaluation.evaluate import evaluate
from limner.files import read_events
from limner.inference import Translator, result_suffix, translate_file
from limner.inference.translation_plan import masks_of
from limner.training.datasets import open_training_data

LOW, HIGH = -1024.0, 3071.0


def values(number: int) -> np.ndarray:
    """Smooth int16 values of some 4,000 levels."""
    y, x = np.mgrid[:64, :64]
    wave = np.sin(x / (9 + number)) * np.cos(y / (7 + number))
    return (1000 + 1900 * wave).astype(np.int16)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose targets are its sources, in Hounsfield-like units, with a hole in each."""
    folder = tmp_path_factory.mktemp("hu")
    for split in ("train", "test"):
        for number in range(4):
            pixels = values(number)
            pixels[:16, :16] = -9999
            for side in ("source", "target"):
                (folder / "data" / split / side).mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(folder / "data" / split / side / f"{number}.tif", pixels)
    config = small(
        "data.size=64",
        "data.load_size=64",
        "data.mode=resize",
        "data.channels=1",
        "discriminators=[]",
        "training.epochs=2",
        f"data.range.target=[{LOW}, {HIGH}]",
        "data.range.source={percentiles: [0, 100]}",
        "data.nodata=-9999",
        "data.unit.target=HU",
    )
    config = replace(config, {"data.root": str(folder / "data")})
    train(config, out=folder / "run")
    return folder


def test_what_the_training_set_tells_is_kept_in_the_run(root: Path) -> None:
    data = Translator.load(root / "run").config.data
    assert (data.type.source, data.type.target) == ("int16", "int16")
    low, high = data.range.source  # pyright: ignore[reportGeneralTypeIssues]
    assert -1000 < low < high < 3000


def test_a_translation_has_the_targets_type_range_and_nodata(root: Path) -> None:
    translator = Translator.load(root / "run")
    source = root / "data" / "test" / "source" / "0.tif"
    written = {}
    for wanted in (None, "uint8", "float32"):
        path = root / f"{wanted}{result_suffix(translator.config, wanted)}"
        translate_file(translator, source, path, wanted_type=wanted)
        written[wanted] = decode(path)
    own = written[None]
    assert own.dtype == torch.int16
    assert (own[0, :16, :16] == -9999).all()
    counts = own[0] != -9999
    assert int(counts.sum()) == 64 * 64 - 16 * 16
    assert own[0][counts].min() >= LOW
    assert len(own.unique()) > 500  # far more than 8 bits could give in this part of the range
    assert (written["float32"][0][counts] - own[0][counts]).abs().max() < 0.501
    preview = (own[0][counts].double() - LOW) / (HIGH - LOW) * 255
    assert (written["uint8"][0][counts].double() - preview).abs().max() < 0.54  # two roundings


def test_errors_are_in_the_data_s_unit_and_of_pixels_that_count(root: Path) -> None:
    results = evaluate(root / "run", root / "data", metrics=["mae", "rmse", "psnr"])
    translator = Translator.load(root / "run", backend="eager")
    expected = []
    for number in range(4):
        source = root / "data" / "test" / "source" / f"{number}.tif"
        translate_file(translator, source, root / "f.tif", wanted_type="float32")
        truth = decode(source)[0]
        off = decode(root / "f.tif")[0].double() - truth.double()
        expected.append(float(off[truth != -9999].abs().mean()))
    assert results.scores.per_image["mae"] == pytest.approx(expected, rel=1e-4)
    assert results.scores.details["mae"]["unit"] == "HU"
    assert results.scores.details["mae"]["inside_mask"] is True
    assert results.scores.values["rmse"] >= results.scores.values["mae"] > 10
    assert 5 < results.scores.values["psnr"] < 60


def test_masks_of_8_bit_pictures_reach_the_figures(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number in range(2):
            rng = np.random.default_rng(number)
            pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
            mask = np.zeros((32, 32), dtype=np.uint8)
            mask[:8] = 1
            for side, content in (("source", pixels), ("target", 255 - pixels), ("mask", mask)):
                path = tmp_path / "data" / split / side / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(path)
    config = small("data.channels=1", "data.mode=none", "discriminators=[]", "training.epochs=1")
    train(replace(config, {"data.root": str(tmp_path / "data")}), out=tmp_path / "run")
    results = evaluate(tmp_path / "run", tmp_path / "data", metrics=["mae", "l1"])
    assert results.scores.details["mae"]["inside_mask"] is True
    assert results.scores.details["l1"]["inside_mask"] is True
    for inside, whole in zip(
        results.scores.per_image["mae"], results.scores.per_image["l1"], strict=True
    ):
        assert whole * 255 == pytest.approx(inside)


def test_masks_and_several_sources_reach_translate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["source.a,source.b,target,group,split"]
    for number in range(2):
        y, x = np.mgrid[:32, :32]
        first = (x * 7 + number).astype(np.uint8)
        second = (y * 1500).astype(np.uint16)
        total = (first.astype(np.int16) - 100) * 8
        for side, pixels in (("a", first), ("b", second), ("target", total)):
            (tmp_path / side).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / side / f"{number}.tif", pixels)
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 4:30] = 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
        lines.append(f"a/{number}.tif,b/{number}.tif,target/{number}.tif,p{number},train")
    lines.append("a/1.tif,b/1.tif,target/1.tif,p1,val")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    config = small(
        "data.channels=[2, 1]", "data.mode=none", "discriminators=[]", "training.epochs=1",
        "data.range.source={percentiles: [0, 100]}", "data.range.target=[-800, 1240]",
    )  # fmt: skip
    run = tmp_path / "run"
    train(replace(config, {"data.root": str(tmp_path / "list.csv")}), out=run)
    ends = Translator.load(run).config.data.range.source
    assert ends == ((0, 218), (0, 46500))  # each in its own values
    out = tmp_path / "out"
    main(["translate", str(run), str(tmp_path / "list.csv"), "--out", str(out), "--masks",
          str(tmp_path / "masks"), "--device", "cpu"])  # fmt: skip
    assert "low end" in capsys.readouterr().err
    for number in range(2):
        picture = decode(out / f"{number}.tif")[0]
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[8:20, 4:30] = True
        assert picture.dtype == torch.int16
        assert (picture[~inside] == -800).all()
        assert len(picture[inside].unique()) > 50
    main(["evaluate", str(run), str(tmp_path / "list.csv"), "--split", "train", "--device", "cpu",
          "--metrics", "mae"])  # fmt: skip
    scores = json.loads((run / "evaluation" / "train" / "results.json").read_text())["scores"]
    assert scores["groups"] == ["group p0", "group p1"]
    assert scores["details"]["mae"]["groups"] == 2
    assert "groups" in scores["details"]["mae"]["interval_method"]
    notes = [event["text"] for event in read_events(run) if event["event"] == "note"]
    assert any("'p1' has pairs in train and in val" in note for note in notes)
    with pytest.raises(DataError, match=r"--masks|mask"):
        masks_of([tmp_path / "a" / "0.tif", tmp_path / "9.tif"], tmp_path / "masks")


def test_a_run_that_enlarges_translates_to_the_larger_size(tmp_path: Path) -> None:
    for number in range(2):
        fine = np.random.default_rng(number).integers(0, 256, (32, 48), dtype=np.uint8)
        for side, pixels in (("source", fine[::2, ::2]), ("target", fine)):
            (tmp_path / "data" / "train" / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / "train" / side / f"{number}.png")
    config = small("data.channels=1", "data.mode=crop", "discriminators=[]", "training.epochs=1")
    train(replace(config, {"data.root": str(tmp_path / "data")}), out=tmp_path / "run")
    translator = Translator.load(tmp_path / "run")
    assert translator.config.data.factor == 2
    translate_file(translator, tmp_path / "data/train/source/0.png", tmp_path / "0.png")
    assert decode(tmp_path / "0.png").shape == (1, 32, 48)


def wave(number: int, channel: int = 0) -> np.ndarray:
    """Return smooth values from 0 to 1 of a hundred squared pixels, all different."""
    y, x = np.mgrid[:64, :64]
    phase = number + 2 * channel
    return (np.sin(x / (9 + number) + phase) * np.cos(y / (7 + channel)) + 1) / 2


def decibels(number: int) -> np.ndarray:
    values = (wave(number) * 30 - 28).astype(np.float32)
    values[:10, :12] = np.nan
    return values


ROUND_TRIPS = {
    "12 bits in 16": (
        lambda k: (wave(k) * 4095).astype(np.uint16),
        ["data.range.source=[0, 4095]", "data.range.target=[0, 4095]", "data.channels=1"],
        100,
    ),
    "HU in a window": (
        lambda k: (wave(k) * 3000 - 1000).astype(np.int16),
        ["data.range.source=[-1024, 3071]", "data.range.target=[-1024, 3071]", "data.channels=1"],
        100,
    ),
    "dB with NaN": (
        decibels,
        [
            "data.range.source={percentiles: [0, 100]}",
            "data.range.target={percentiles: [0, 100]}",
            "data.channels=1",
            "data.nodata=nan",
        ],
        1,
    ),
    "16-bit RGB": (
        lambda k: np.stack([wave(k, c) * 65535 for c in range(3)], -1).astype(np.uint16),
        [],
        2000,
    ),
}


class Same(torch.nn.Module):
    """A generator that gives its source back, to the last bit."""

    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        return source


@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_values_go_through_files_and_ranges_and_come_back(tmp_path: Path, kind: str) -> None:
    make, settings, _ = ROUND_TRIPS[kind]
    for number in range(2):
        for side in ("source", "target"):
            path = tmp_path / "data" / "train" / side / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, make(number))
    config = small(*settings, "data.mode=none", "data.interpolation=[bicubic, bicubic]")
    config = replace(config, {"data.root": str(tmp_path / "data")})
    config = open_training_data(config, cache_folder=tmp_path / "cache").config
    translator = Translator(Same(), config)
    result = tmp_path / f"0{result_suffix(config)}"
    translate_file(translator, tmp_path / "data/train/source/0.tif", result)
    png = result.suffix == ".png"
    values = imagecodecs.png_decode(result.read_bytes()) if png else tifffile.imread(result)
    expected = make(0)
    assert values.dtype == expected.dtype
    assert (np.isnan(values) == np.isnan(expected)).all()
    assert len(np.unique(values)) > 1000
    if values.dtype.kind == "f":
        assert np.nanmax(np.abs(values - expected)) < 1e-5
    else:
        assert (values == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_a_short_training_on_identity_gives_a_thousand_levels_back(
    tmp_path: Path, kind: str
) -> None:
    make, settings, far = ROUND_TRIPS[kind]
    for split in ("train", "test"):
        for number in range(4):
            for side in ("source", "target"):
                path = tmp_path / "data" / split / side / f"{number}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(path, make(number + (9 if split == "test" else 0)))
    config = small(
        *settings, "data.mode=resize", "data.size=64", "discriminators=[]", "generator.width=8",
        "generator.norm=instance", "training.epochs=60", "training.lr=2e-3", "data.flip=false",
    )  # fmt: skip
    run = tmp_path / "run"
    train(replace(config, {"data.root": str(tmp_path / "data")}), out=run)
    scores = evaluate(run, tmp_path / "data", metrics=["mae", "psnr", "ssim"]).scores
    translator = Translator.load(run)
    result = tmp_path / "0.tif"
    translate_file(translator, tmp_path / "data/test/source/0.tif", result, wanted_type="float32")
    assert len(decode(result).unique()) > 1000
    assert scores.values["mae"] < far
    assert scores.values["psnr"] > 25


def test_the_cure_of_a_narrow_range_is_said_before_training_and_cures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        for side in ("source", "target"):
            path = tmp_path / "data" / "train" / side / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, (wave(number) * 4095).astype(np.uint16))
    words = ["train", str(tmp_path / "data"), "--preset", "pix2pix-small", "--size", "32",
             "--epochs", "1", "--device", "cpu", "--set", "data.channels=1",
             "--set", "generator.width=4", "--set", "discriminators=[]"]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    said = capsys.readouterr()
    cures = re.findall(r"--set (data\.range\.(?:source|target)=\S+)", said.out + said.err)
    assert {cure.split("=")[0] for cure in cures} == {"data.range.source", "data.range.target"}
    both = [word for cure in dict.fromkeys(cures) for word in ("--set", cure)]
    assert main([*words, *both, "--out", str(tmp_path / "two")]) == 0
    said = capsys.readouterr()
    assert "stays empty" not in said.out + said.err
