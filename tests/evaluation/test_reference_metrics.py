"""Figures against those of pytorch-fid, torch-fidelity, lpips and scikit-image.

Recorded by scripts/reference_metrics.py from the same drawn images and weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import drawn
import pytest
import torch
from torch import Tensor

from limner.evaluation.features import InceptionExtractor
from limner.evaluation.features.extraction import extract
from limner.evaluation.measure import measure
from limner.evaluation.metrics import per_pixel
from limner.evaluation.metrics.distances import frechet, kid
from limner.evaluation.metrics.learned import LPIPS
from limner.networks import pretrained as store

RECORD = Path(__file__).resolve().parents[1] / "data_files" / "reference_metrics.json"
PREPARATIONS = ("pytorch-fid", "torch-fidelity")


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def features(inception_state: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Features of the real and the fake set by each of the published preparations."""
    both = {
        name: InceptionExtractor(inception_state, preparation=name).eval() for name in PREPARATIONS
    }
    real, fake = (extract(both, images) for images in (drawn.real_images(), drawn.fake_images()))
    return {name: (real[name], fake[name]) for name in PREPARATIONS}


def lpips(backbone: str, state: dict[str, Tensor], heads: dict[str, Tensor]) -> list[float]:
    network = LPIPS(backbone=backbone).eval()
    network.load(state, heads)
    pairs = zip(drawn.real_images(), drawn.fake_images(), strict=True)
    with torch.inference_mode():
        return [
            network(a[None].float() / 127.5 - 1, b[None].float() / 127.5 - 1).item()
            for a, b in pairs
        ]


def test_the_images_are_those_of_the_record(record: dict[str, Any]) -> None:
    assert [int(x.long().sum()) for x in drawn.fake_images()] == record["image_sums"]


def test_inception_features_are_pytorch_fids(
    record: dict[str, Any], features: dict[str, tuple[Tensor, Tensor]]
) -> None:
    real, _ = features["pytorch-fid"]
    # pytorch-fid lists its files by name, and so does the record: "0.png" to "5.png".
    assert real.sum(dim=1).tolist() == pytest.approx(record["features"]["sums"], rel=1e-5)
    assert real[0, :8].tolist() == pytest.approx(record["features"]["first"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("package", PREPARATIONS)
def test_fid_is_that_of(
    package: str, record: dict[str, Any], features: dict[str, tuple[Tensor, Tensor]]
) -> None:
    assert frechet(*features[package]) == pytest.approx(record["fid"][package], rel=1e-5)


def test_kid_is_torch_fidelitys(
    record: dict[str, Any], features: dict[str, tuple[Tensor, Tensor]]
) -> None:
    asked = {name: record["kid"][name] for name in ("subsets", "subset_size")}
    mean, deviation = kid(*features["torch-fidelity"], **asked)
    assert mean == pytest.approx(record["kid"]["mean"], rel=1e-4)
    assert deviation == pytest.approx(record["kid"]["std"], rel=1e-4)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_lpips_is_the_packages_with_random_weights(
    backbone: str,
    record: dict[str, Any],
    alexnet_state: dict[str, Tensor],
    vgg16_state: dict[str, Tensor],
) -> None:
    state = {"alex": alexnet_state, "vgg": vgg16_state}[backbone]
    values = lpips(backbone, state, drawn.heads(backbone))
    assert values == pytest.approx(record["lpips_random"][backbone], abs=2e-6)


@pytest.mark.parametrize(("backbone", "file"), [("alex", "alexnet"), ("vgg", "vgg16")])
def test_lpips_is_the_packages_with_the_real_weights(
    backbone: str, file: str, record: dict[str, Any], shared: Path
) -> None:
    folder = shared / "weights"
    state = store.load(file, weights=folder, download=False)
    heads = store.load(f"lpips-{backbone}", weights=folder, download=False)
    values = lpips(backbone, state, heads)
    assert values == pytest.approx(record["lpips_real"][backbone], abs=2e-6)


def test_ssim_and_psnr_are_scikit_images(record: dict[str, Any]) -> None:
    scores = measure(drawn.real_images(), drawn.fake_images(), metrics=["ssim", "psnr"])
    assert scores.per_image["ssim"] == pytest.approx(record["ssim"], abs=1e-9)
    assert scores.per_image["psnr"] == pytest.approx(record["psnr"], rel=1e-12)


def test_ssim_is_scikit_images_in_this_very_environment() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    real, fake = drawn.image(1, height=40, width=61), drawn.image(2, height=40, width=61)
    expected = metrics.structural_similarity(
        real.numpy(),
        fake.numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=0,
    )
    assert per_pixel.ssim(real[None], fake[None]).item() == pytest.approx(expected, abs=1e-9)
