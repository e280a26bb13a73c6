"""Folders of files of any type compared by their own numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from limner.cli import main
from limner.data import Span
from limner.errors import DataError
from limner.evaluation.value_folders import compare_values


def folders(root: Path, dtype: str, *, holes: bool = False) -> tuple[list[np.ndarray], ...]:
    """Write two folders of files, noisy copies; the other side has holes elsewhere."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number in range(3):
        rng = np.random.default_rng(number)
        clean = rng.normal(1000, 500, (24, 30)).astype(dtype)
        noisy = (clean + rng.normal(0, 40, clean.shape)).astype(dtype)
        if holes:
            clean[:4], noisy[:, :3] = np.nan, np.inf
        for kind, values, side in (("real", clean, sides[0]), ("fake", noisy, sides[1])):
            (root / kind).mkdir(exist_ok=True)
            tifffile.imwrite(root / kind / f"{number}.tif", values)
            side.append(values.astype(np.float64))
    return sides


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_figures_are_those_of_the_numbers(tmp_path: Path, dtype: str) -> None:
    real, fake = folders(tmp_path, dtype)
    scores = compare_values(
        tmp_path / "real",
        tmp_path / "fake",
        metrics=["mae", "rmse", "l1", "psnr", "ssim"],
        span=Span(-1000, 3095),
    )
    for k, (a, b) in enumerate(zip(real, fake, strict=True)):
        expected = {
            "mae": np.abs(a - b).mean(),
            "rmse": np.sqrt(np.square(a - b).mean()),
            "l1": np.abs(a - b).mean() / 4095,
            "psnr": peak_signal_noise_ratio(a, b, data_range=4095),
            "ssim": structural_similarity(  # of values counted from the low end
                a + 1000,
                b + 1000,
                data_range=4095,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            ),
        }
        for name, value in expected.items():
            assert scores.per_image[name][k] == pytest.approx(value, rel=1e-6), name
    assert scores.details["mae"]["inside_mask"] is False


def test_what_is_not_finite_nodata_or_masked_counts_in_no_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = folders(tmp_path, "float32", holes=True)
    mask = np.zeros((24, 30), np.uint8)
    mask[2:20, 1:25] = 255
    (tmp_path / "masks").mkdir()
    for number in range(3):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
        fake[number][10, 10] = -9999
        tifffile.imwrite(tmp_path / "fake" / f"{number}.tif", fake[number].astype(np.float32))
    status = main(
        ["compare", str(tmp_path / "real"), str(tmp_path / "fake"), "--range", "-1000,3095",
         "--nodata", "-9999", "--masks", str(tmp_path / "masks"), "--metrics", "mae,psnr,ssim",
         "--device", "cpu", "--json"]
    )  # fmt: skip
    assert status == 0
    scores = json.loads(capsys.readouterr().out)
    for k, (a, b) in enumerate(zip(real, fake, strict=True)):
        counts = np.isfinite(a) & np.isfinite(b) & (mask > 0) & (b != -9999)
        assert scores["per_image"]["mae"][k] == pytest.approx(np.abs(a - b)[counts].mean())
        error = np.square(a - b)[counts].mean()
        assert scores["per_image"]["psnr"][k] == pytest.approx(10 * np.log10(4095**2 / error))
    assert scores["details"]["ssim"]["inside_mask"] is True


def test_other_metrics_see_pictures_of_the_range(tmp_path: Path) -> None:
    folders(tmp_path, "float32")
    scores = compare_values(
        tmp_path / "real", tmp_path / "fake", metrics=["edge-f", "psnr"], span=Span(-1000, 3095)
    )
    assert 0 <= scores.values["edge-f"] <= 1
    assert scores.names == ("0", "1", "2")


def test_what_is_missing_is_one_sentence_and_its_cure_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(tmp_path, "float32")
    both = ["compare", str(tmp_path / "real"), str(tmp_path / "fake"), "--device", "cpu"]
    assert main(both) == 2
    assert "--range LOW,HIGH" in capsys.readouterr().err
    assert main([*both, "--range=-1000,3095"]) == 0
    assert main([*both, "--range", "5"]) == 2
    assert main([*both, "--nodata", "5"]) == 2
    assert main([*both, "--range", "0,1", "--masks", str(tmp_path)]) == 2
    for number in range(3):
        tifffile.imwrite(tmp_path / "fake" / f"{number}.tif", np.full((24, 30), np.nan, "float32"))
    with pytest.raises(DataError, match="counts"):
        compare_values(tmp_path / "real", tmp_path / "fake", metrics=["mae"], span=Span(0, 1))
