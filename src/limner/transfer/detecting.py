"""What state dicts of pix2pixHD and SPADE show of the options that they were made with."""

from __future__ import annotations

import re

from torch import Tensor

from limner.transfer.options import Options

Shapes = dict[str, tuple[int, ...]]


def detect_pix2pixhd(state: dict[str, Tensor]) -> tuple[str, Options] | None:
    """Return the role and those options that a state dict shows; None for another project's."""
    kernels = {n: tuple(v.shape) for n, v in state.items() if n.endswith("weight") and v.ndim == 4}
    plain = not any(n.endswith("weight") and v.ndim == 1 for n, v in state.items())
    norm = {"norm": "instance" if plain else "batch"}
    scales = {match[1] for n in kernels if (match := re.match(r"(?:scale|layer)(\d+)[_.]", n))}
    if scales:
        split = "scale0_layer0.0.weight" in kernels
        first = kernels["scale0_layer0.0.weight" if split else "layer0.0.weight"]
        layers = len(kernels) // len(scales) - 2
        sizes = {"ndf": first[0], "input_nc": first[1], "n_layers_D": layers}
        return "discriminator", {**norm, **sizes, "num_D": len(scales), "getIntermFeat": split}
    if "model.1.weight" not in kernels:
        return None
    outer = [n for n in kernels if re.fullmatch(r"model\.\d+\.weight", n)]
    inner = sum(n.startswith("model.") for n in kernels) - len(outer)
    enhancers = len({n.split("_")[0] for n in kernels if re.match(r"model\d+_1\.", n)})
    if enhancers:
        first = kernels[f"model{enhancers}_1.1.weight"]
        local = [n for n in kernels if n.startswith("model1_2.") and ".conv_block." in n]
        ends = [n for n in kernels if re.fullmatch(rf"model{enhancers}_2\.\d+\.weight", n)]
    else:
        first, local, ends = kernels["model.1.weight"], [], outer
    out = kernels[max(ends, key=lambda name: int(name.split(".")[1]))][0]
    downs = (len(outer) - (1 if enhancers else 2)) // 2
    if not inner:
        sizes = {"nef": first[0], "output_nc": first[1], "feat_num": out}
        return "encoder", {**norm, **sizes, "n_downsample_E": downs}
    options = {
        **norm,
        "netG": "local" if enhancers else "global",
        "ngf": first[0],
        "input_nc": first[1],
        "output_nc": out,
        "n_downsample_global": downs,
        "n_blocks_global": inner // 2,
    }
    if enhancers:
        options |= {"n_local_enhancers": enhancers, "n_blocks_local": len(local) // 2}
    return "generator", options


def detect_spade(state: dict[str, Tensor]) -> tuple[str, Options] | None:
    """Return the role and those options that a state dict shows; None for another project's.

    It does not show which of the labels' channels are classes, nor the size of pictures, nor
    "normal" against "more" upsamplings.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    if "head_0.norm_0.mlp_shared.0.weight" in shapes:
        shared, fc = shapes["head_0.norm_0.mlp_shared.0.weight"], shapes.get("fc.weight", (0,))
        spectral = "spectral" if "head_0.conv_0.weight_orig" in shapes else ""
        batch = "head_0.norm_0.param_free_norm.running_mean" in shapes
        norm = f"{spectral}spade{'syncbatch' if batch else 'instance'}{shared[-1]}x{shared[-1]}"
        vae = {"use_vae": True, "z_dim": fc[1]} if len(fc) == 2 else {"use_vae": False}
        ngf = shapes.get("head_0.norm_0.mlp_gamma.bias", (0,))[0] // 16
        most = {"num_upsampling_layers": "most"} if "up_4.conv_0.bias" in shapes else {}
        return "generator", {"norm_G": norm, "ngf": ngf, "semantic_nc": shared[1], **vae, **most}
    if "fc_mu.weight" in shapes:
        norm = _spectral_norm(shapes, "layer1")
        return "encoder", {"ngf": shapes["fc_mu.weight"][1] // 128, "norm_E": norm}
    first = shapes.get("discriminator_0.model0.0.weight")
    if first is None:
        return None
    scales = {name.split(".")[0] for name in shapes}
    layers = {name.split(".")[1] for name in shapes if name.startswith("discriminator_0.")}
    norm = _spectral_norm(shapes, "discriminator_0.model1.0")
    sizes = {"ndf": first[0], "semantic_nc": first[1] - 3}
    return "discriminator", {
        **sizes,
        "num_D": len(scales),
        "n_layers_D": len(layers) - 1,
        "norm_D": norm,
    }


def _spectral_norm(shapes: Shapes, layer: str) -> str:
    if f"{layer}.weight_orig" in shapes:
        return "spectral"
    return "spectralsync_batch" if f"{layer}.1.running_mean" in shapes else "spectralinstance"
