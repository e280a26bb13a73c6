# pyright: basic, reportMissingImports=false
"""Limner's figures against those of other packages on the same real photographs and weights.

Prints the largest relative difference of each. Run in the environment of reference_metrics.py,
which also needs these (clean-fid and prdc as further references, the rest for Limner):

    reference/bin/pip install scikit-learn requests pydantic pyyaml
    reference/bin/pip install --no-deps clean-fid prdc pytorch-msssim torchmetrics \
        lightning-utilities imagecodecs tifffile
    PYTHONPATH=src reference/bin/python scripts/distance_parity.py \
        ../shared/data/facades/test ../shared/weights

The first argument is a folder of side-by-side pairs; the left halves are the real set, the same
blurred, paler and noisy the fake one. Inception's weights are drawn at random, the same for all.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from reference_packages import KID_SUBSETS, drawn, fidelity, random_inception
from torch import Tensor

from limner.evaluation.features import InceptionExtractor
from limner.evaluation.features.extraction import extract
from limner.evaluation.measure import compare_folders
from limner.evaluation.metrics import OF_SETS
from limner.evaluation.metrics.distances import frechet, kid
from limner.evaluation.metrics.of_sets import FeatureSets
from limner.evaluation.metrics.per_pixel import SSIM_SIGMA
from limner.networks import pretrained as store


def folders(pairs: Path, count: int, home: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Write the two sets as PNG files under `home`/real and `home`/fake and return them."""
    sets: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number, path in enumerate(sorted(pairs.glob("*.jpg"))[:count]):
        with Image.open(path) as picture:
            half = picture.convert("RGB").crop((0, 0, picture.width // 2, picture.height))
        real = torch.from_numpy(np.array(half)).permute(2, 0, 1)
        fake = drawn.noisy(
            drawn.blurred(real, times=1 + number % 3) // 2 + 60, levels=6, seed=number
        )
        for name, image, kept in zip(("real", "fake"), (real, fake), sets, strict=True):
            (home / name).mkdir(exist_ok=True)
            kept.append(image)
            Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(
                home / name / f"{number:04d}.png"
            )
    return sets


def report(what: str, against: str, ours: Any, theirs: Any) -> None:
    """Print the largest difference between two lists of figures, relative to theirs."""
    a, b = (np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (ours, theirs))
    difference = np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12))
    print(f"| {what} | {against} | {difference:.1e} | {b.mean():.6g} |", flush=True)


def inception_figures(home: Path, sets: tuple[list[Tensor], list[Tensor]]) -> None:
    """FID in three manners, KID, and the manifold metrics."""
    from cleanfid import fid as cleanfid
    from prdc import compute_prdc
    from pytorch_fid import fid_score, inception

    state, file = random_inception(home)
    paths = [str(home / name) for name in ("real", "fake")]
    manners = {
        name: InceptionExtractor(state, preparation=name).eval()
        for name in ("pytorch-fid", "clean-fid", "torch-fidelity")
    }
    real, fake = (extract(manners, images) for images in sets)

    theirs = fid_score.calculate_fid_given_paths(
        paths, 50, torch.device("cpu"), 2048, num_workers=0
    )
    report("FID", "pytorch-fid", frechet(real["pytorch-fid"], fake["pytorch-fid"]), theirs)

    model = inception.InceptionV3([3], resize_input=False, normalize_input=False).eval()

    def network(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            return model((batch - 128) / 128)[0][:, :, 0, 0]

    theirs = cleanfid.compute_fid(
        *paths,
        mode="clean",
        custom_feat_extractor=network,
        num_workers=0,
        device=torch.device("cpu"),
        use_dataparallel=False,
        verbose=False,
    )
    report("FID-clean", "clean-fid", frechet(real["clean-fid"], fake["clean-fid"]), theirs)

    size = len(sets[0]) // 2
    other = fidelity(paths, file, batch_size=16, subset_size=size)
    a, b = real["torch-fidelity"], fake["torch-fidelity"]
    report("FID", "torch-fidelity", frechet(a, b), other["frechet_inception_distance"])
    mean, deviation = kid(a, b, subsets=KID_SUBSETS, subset_size=size)
    report("KID", "torch-fidelity", mean, other["kernel_inception_distance_mean"])
    report("KID, deviation", "torch-fidelity", deviation, other["kernel_inception_distance_std"])

    # Fakes this far from the reals would make all four figures 0: meet the reals half way.
    x, y = real["pytorch-fid"], fake["pytorch-fid"]
    y = torch.cat([x[: len(x) // 2] * 0.98 + y[: len(x) // 2] * 0.02, y[len(x) // 2 :]])
    for name in ("precision", "recall", "density", "coverage"):
        metric = OF_SETS[name]
        assert metric.nearest is not None
        theirs = compute_prdc(x.numpy(), y.numpy(), nearest_k=metric.nearest)[name]
        value = metric.function(FeatureSets(x, y, nearest=[metric.nearest]), seed=0, resamples=0)
        report(name, "prdc", value.value, theirs)


def pair_figures(home: Path, sets: tuple[list[Tensor], list[Tensor]], weights: Path) -> None:
    """LPIPS, DISTS, SSIM, MS-SSIM and PSNR of each pair."""
    import lpips
    from pytorch_msssim import ms_ssim
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    from torchmetrics.functional.image import dists as reference

    names = ["lpips-alex", "lpips-vgg", "dists", "ssim", "ms-ssim", "psnr"]
    scores = compare_folders(
        home / "real", home / "fake", metrics=names, weights=weights, download=False, bootstrap=0
    )
    pairs = list(zip(*sets, strict=True))
    for net, file in (("alex", "alexnet"), ("vgg", "vgg16")):
        backbone = store.load(file, weights=weights, download=False)
        model = lpips.LPIPS(net=net, pretrained=True, pnet_rand=True, verbose=False)
        for number in range(1, 6):
            part = model.net.get_submodule(f"slice{number}")
            for name in part.state_dict():
                part.get_parameter(name).data.copy_(backbone[f"features.{name}"])
        with torch.inference_mode():
            theirs = [model(*(x[None].float() / 127.5 - 1 for x in pair)).item() for pair in pairs]
        report(f"LPIPS {net}, each pair", "lpips", scores.per_image[f"lpips-{net}"], theirs)

    import torchvision

    def vgg16(**_: Any) -> Any:
        network = torchvision.models.vgg16(weights=None)
        network.load_state_dict(store.load("vgg16", weights=weights, download=False), strict=False)
        return network

    reference.vgg16 = vgg16
    network = reference.DISTSNetwork().eval()
    with torch.inference_mode():
        theirs = [network(*(x[None].float() / 255 for x in pair)).item() for pair in pairs]
    report("DISTS, each pair", "torchmetrics", scores.per_image["dists"], theirs)

    ssim: Any = functools.partial(
        structural_similarity,
        data_range=255,
        channel_axis=0,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
    )
    theirs = [ssim(a.numpy(), b.numpy()) for a, b in pairs]
    report("SSIM, each pair", "scikit-image", scores.per_image["ssim"], theirs)
    theirs = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255) for a, b in pairs]
    report("PSNR, each pair", "scikit-image", scores.per_image["psnr"], theirs)
    theirs = [ms_ssim(b[None].double(), a[None].double(), data_range=255).item() for a, b in pairs]
    report("MS-SSIM, each pair", "pytorch-msssim", scores.per_image["ms-ssim"], theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare figures with reference packages.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--only", choices=("pairs", "sets"), help="half of the table")
    arguments = parser.parse_args()
    os.environ.setdefault("LIMNER_FEATURE_CACHE", "off")
    with tempfile.TemporaryDirectory() as folder:
        sets = folders(arguments.pairs, arguments.images, Path(folder))
        print("| figure | against | largest relative difference | theirs, mean |")
        print("|---|---|---|---|")
        if arguments.only != "sets":
            pair_figures(Path(folder), sets, arguments.weights)
        if arguments.only != "pairs":
            inception_figures(Path(folder), sets)


if __name__ == "__main__":
    main()
