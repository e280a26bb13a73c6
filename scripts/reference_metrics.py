# pyright: basic, reportMissingImports=false
"""Record what the reference packages say of drawn images: tests/data_files/reference_metrics.json.

Run in an environment of its own, since pytorch-fid, torch-fidelity and lpips import torchvision:

    python3 -m venv reference
    reference/bin/pip install torch==2.13.0 "scipy<1.18" scikit-image safetensors numpy pillow tqdm
    reference/bin/pip install --no-deps torchvision==0.28.0 pytorch-fid torch-fidelity lpips
    reference/bin/python scripts/reference_metrics.py [--weights ../shared/weights]

With --weights (a folder with alexnet_features.safetensors, vgg16_features.safetensors and the
heads of LPIPS) LPIPS is recorded with the real weights too.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from reference_packages import HERE, KID_SUBSETS, drawn, fidelity, random_inception
from torch import Tensor

PACKAGES = ("torch", "torchvision", "pytorch-fid", "torch-fidelity", "lpips", "scikit-image")
PACKAGES += ("scipy", "numpy")
KID_SUBSET_SIZE = 4


def distances(folder: Path) -> dict[str, object]:
    """FID and KID of the drawn sets with random Inception weights, by both packages."""
    from pytorch_fid import fid_score, inception

    sets = {"real": drawn.real_images(), "fake": drawn.fake_images()}
    for name, images in sets.items():
        (folder / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / name / f"{number}.png")
    _, weights = random_inception(folder)
    paths = [str(folder / name) for name in sets]
    model = inception.InceptionV3([3])
    features = fid_score.get_activations(
        sorted((folder / "real").iterdir()), model.eval(), batch_size=1, num_workers=0
    )
    start = time.perf_counter()
    fid = fid_score.calculate_fid_given_paths(paths, 1, torch.device("cpu"), 2048, num_workers=0)
    print(f"pytorch-fid {fid} in {time.perf_counter() - start:.1f} s")
    other = fidelity(paths, weights, batch_size=1, subset_size=KID_SUBSET_SIZE)
    return {
        "features": {"sums": features.sum(axis=1).tolist(), "first": features[0, :8].tolist()},
        "fid": {
            "pytorch-fid": float(fid),
            "torch-fidelity": other["frechet_inception_distance"],
        },
        "kid": {
            "subsets": KID_SUBSETS,
            "subset_size": KID_SUBSET_SIZE,
            "mean": other["kernel_inception_distance_mean"],
            "std": other["kernel_inception_distance_std"],
        },
    }


def lpips_values(net: str, backbone: dict[str, Tensor], heads: dict[str, Tensor]) -> list[float]:
    """LPIPS of each drawn pair by the lpips package with these weights."""
    import lpips

    model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    for number in range(1, 6):
        _load(model.net.get_submodule(f"slice{number}"), backbone)
    missing = model.load_state_dict(heads, strict=False)
    assert not missing.unexpected_keys
    values = []
    with torch.no_grad():
        for real, fake in zip(drawn.real_images(), drawn.fake_images(), strict=True):
            a, b = (x[None].float() / 127.5 - 1 for x in (real, fake))
            values.append(model(a, b).item())
    return values


def _load(part: torch.nn.Module, backbone: dict[str, Tensor]) -> None:
    for name in part.state_dict():
        part.get_parameter(name).data.copy_(backbone[f"features.{name}"])


def _backbone_shapes(net: str) -> dict[str, Tensor]:
    import torchvision

    build = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net]
    return {k: v for k, v in build(weights=None).state_dict().items() if k.startswith("features.")}


def random_lpips() -> dict[str, list[float]]:
    """LPIPS with random backbones and heads."""
    return {
        net: lpips_values(net, drawn.weights(_backbone_shapes(net), seed=2), drawn.heads(net))
        for net in drawn.HEAD_CHANNELS
    }


def real_lpips(folder: Path) -> dict[str, list[float]]:
    """LPIPS with the real weights of a folder."""
    from safetensors.torch import load_file

    found = {}
    for net, file in (("alex", "alexnet"), ("vgg", "vgg16")):
        stored = load_file(folder / f"{file}_features.safetensors")
        heads = torch.load(folder / f"lpips_v0.1_{net}.pth", weights_only=True, map_location="cpu")
        found[net] = lpips_values(net, {k: v.float() for k, v in stored.items()}, heads)
    return found


def pixels() -> dict[str, list[float]]:
    """SSIM and PSNR by scikit-image."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    pairs = [
        (a.numpy(), b.numpy())
        for a, b in zip(drawn.real_images(), drawn.fake_images(), strict=True)
    ]
    ssim: Any = functools.partial(
        structural_similarity,
        data_range=255,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return {
        "ssim": [float(ssim(a, b)) for a, b in pairs],
        "psnr": [float(peak_signal_noise_ratio(a, b, data_range=255)) for a, b in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Record reference figures.")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    target = HERE / "tests" / "data_files" / "reference_metrics.json"
    old = json.loads(target.read_text()) if target.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        record = {
            "versions": {name: version(name) for name in PACKAGES},
            "image_sums": [int(np.asarray(x, dtype=np.int64).sum()) for x in drawn.fake_images()],
            **distances(Path(folder)),
            "lpips_random": random_lpips(),
            "lpips_real": old.get("lpips_real"),
            **pixels(),
        }
    if arguments.weights is not None:
        record["lpips_real"] = real_lpips(arguments.weights)
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(target)


if __name__ == "__main__":
    main()
