"""SPADE (GauGAN): its options, and the names it gives to weights.

Convolutions under spectral norm keep their weight as weight_orig, beside its singular vectors
weight_u and weight_v.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from limner.errors import ConfigError
from limner.transfer.project import (
    Options,
    Project,
    filled,
    flag,
    label_settings,
    one_of,
    settle_channels,
)

# semantic_nc counts the channels of the labels: classes, dontcare, edges. None means that the
# others decide. instance_edges is the opposite of no_instance.
_CHANNELS: Options = {
    "semantic_nc": None,
    "label_nc": None,
    "contain_dontcare_label": False,
    "no_instance": False,
}
DEFAULTS: dict[str, Options] = {
    "generator": {
        "netG": "spade",
        "norm_G": "spectralspadesyncbatch3x3",
        "ngf": 64,
        **_CHANNELS,
        "num_upsampling_layers": "normal",
        "crop_size": 512,
        "aspect_ratio": 1.0,
        "use_vae": False,
        "z_dim": 256,
    },
    "discriminator": {
        "norm_D": "spectralinstance",
        "ndf": 64,
        "num_D": 2,
        "n_layers_D": 4,
        **_CHANNELS,
        "output_nc": 3,
    },
    "encoder": {"norm_E": "spectralinstance", "ngf": 64, "crop_size": 512},
}
LABELS = 182
LEAVES = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}
NORMS = {"": "none", "none": "none", "instance": "instance", "sync_batch": "sync-batch"}
UPSAMPLINGS = {"normal": 5, "more": 6, "most": 7}
_SPADE = re.compile(r"(spectral)?spade(instance|syncbatch)([1357])x\3")
_BLOCKS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3", "up_4")
ENCODER_LATENT = 256


def complete(role: str, architecture: dict[str, Any]) -> Options:
    """Return the options of a network with the project's defaults for those not chosen.

    What computes the same is given one name: norms of type "batch" are called those of
    "sync_batch" and "syncbatch".

    Raises:
        ConfigError: an unknown role, option or value, or two that contradict each other.
    """
    chosen = dict(architecture)
    if role != "encoder" and "instance_edges" in chosen:
        edges = flag("instance_edges", chosen.pop("instance_edges"))
        if chosen.setdefault("no_instance", not edges) is edges:
            raise ConfigError(f"instance_edges={edges} contradicts no_instance={edges}: give one")
    options = filled("SPADE", role, chosen, DEFAULTS)
    if role == "generator":
        one_of("netG", options["netG"], ("spade",))
        one_of("num_upsampling_layers", options["num_upsampling_layers"], UPSAMPLINGS)
        options["norm_G"] = str(options["norm_G"]).replace("spadebatch", "spadesyncbatch")
        if not _SPADE.fullmatch(options["norm_G"]):
            raise ConfigError(
                f"norm_G is {options['norm_G']!r}: give one such as spectralspadesyncbatch3x3, "
                "spectralspadeinstance3x3 or spadebatch5x5"
            )
        ratio = options["aspect_ratio"]
        if not isinstance(ratio, int | float) or ratio <= 0:
            raise ConfigError(f"aspect_ratio is {ratio!r}: give width / height")
        if min(_size(options)) < 1:
            raise ConfigError(
                f"crop_size={options['crop_size']} with aspect_ratio={ratio} leaves no first map: "
                "give them as they were in training"
            )
    else:
        name = "norm_D" if role == "discriminator" else "norm_E"
        options[name] = re.sub(r"(?<!_)batch$", "sync_batch", str(options[name]))
        one_of(name, options[name], [f"spectral{norm}" for norm in NORMS])
    if role == "discriminator" and options["n_layers_D"] < 2:
        raise ConfigError(f"n_layers_D is {options['n_layers_D']}: give at least 2")
    if role != "encoder":
        settle_channels(options, "semantic_nc", labels=LABELS, others=_others(options))
    return options


def _others(options: Options) -> int:
    return options["contain_dontcare_label"] + (not options["no_instance"])


def _size(options: Options) -> tuple[int, int]:
    """Return height and width of the pictures that its first map, of whole pixels, grows to."""
    multiple = 2 ** UPSAMPLINGS[options["num_upsampling_layers"]]
    columns = options["crop_size"] // multiple
    return round(columns / options["aspect_ratio"]) * multiple, columns * multiple


def _encoder_layers(options: Options) -> int:
    """Return the strided layers of an encoder: its sixth is for crops of 256 pixels and more.

    Its own `forward` resizes every picture to 256 x 256, after which five layers leave more than
    the linear ones take; ours resizes to the 128 x 128 that fit them.
    """
    return 6 if options["crop_size"] >= 256 else 5


def settings(role: str, options: Options) -> tuple[str, Options]:
    """Return our network's name and keywords for a complete set of options."""
    if role == "generator":
        match = _SPADE.fullmatch(options["norm_G"])
        assert match is not None
        return "spade", {
            "in_channels": options["semantic_nc"],
            "out_channels": 3,
            "width": options["ngf"],
            "upsampling": options["num_upsampling_layers"],
            "norm": "instance" if match[2] == "instance" else "sync-batch",
            "spectral": match[1] is not None,
            "kernel": int(match[3]),
            "latent": options["z_dim"] if options["use_vae"] else 0,
            "size": _size(options),
        }
    norm = NORMS[options["norm_D" if role == "discriminator" else "norm_E"][len("spectral") :]]
    if role == "encoder":
        return "spade-encoder", {
            "in_channels": 3,
            "width": options["ngf"],
            "layers": _encoder_layers(options),
            "latent": ENCODER_LATENT,
            "norm": norm,
            "spectral": True,
        }
    return "multiscale", {
        "in_channels": options["semantic_nc"] + options["output_nc"],
        "width": options["ndf"],
        "layers": options["n_layers_D"] - 1,
        "scales": options["num_D"],
        "norm": norm,
        "spectral": True,
        "bias": norm == "none",
    }


def module_names(role: str, options: Options) -> dict[str, str]:
    """Return its name of every layer that may have weights, with ours."""
    if role == "generator":
        return _generator(options)
    if role == "encoder":
        bare = options["norm_E"] in ("spectral", "spectralnone")
        names = {}
        for layer in range(_encoder_layers(options)):
            names |= _normed(f"layer{layer + 1}", f"blocks.{layer}", bare=bare)
        return names | {"fc_mu": "mean", "fc_var": "logvar"}
    names = {}
    bare = options["norm_D"] in ("spectral", "spectralnone")
    for scale in range(options["num_D"]):
        for layer in range(options["n_layers_D"] + 1):
            theirs, ours = f"discriminator_{scale}.model{layer}", f"scales.{scale}.{layer}"
            if layer in (0, options["n_layers_D"]):
                names[f"{theirs}.0"] = f"{ours}.conv"
            else:
                names |= _normed(f"{theirs}.0", ours, bare=bare)
    return names


def _normed(theirs: str, ours: str, *, bare: bool) -> dict[str, str]:
    """A convolution by itself, or [conv, norm]."""
    if bare:
        return {theirs: f"{ours}.conv"}
    return {f"{theirs}.0": f"{ours}.conv", f"{theirs}.1": f"{ours}.norm"}


def _generator(options: Options) -> dict[str, str]:
    names = {"fc": "start", "conv_img": "last"}
    blocks = _BLOCKS if options["num_upsampling_layers"] == "most" else _BLOCKS[:-1]
    parts = {
        "0": ("conv1", "norm1"),
        "1": ("conv2", "norm2"),
        "s": ("shortcut.conv", "shortcut.norm"),
    }
    for number, block in enumerate(blocks):
        for part, (conv, norm) in parts.items():
            ours = f"blocks.{number}.{norm}"
            names[f"{block}.conv_{part}"] = f"blocks.{number}.{conv}"
            names[f"{block}.norm_{part}.param_free_norm"] = f"{ours}.norm"
            names[f"{block}.norm_{part}.mlp_shared.0"] = f"{ours}.shared.conv"
            for leaf in ("gamma", "beta"):
                names[f"{block}.norm_{part}.mlp_{leaf}"] = f"{ours}.{leaf}"
    return names


def leftovers(role: str, options: Options) -> frozenset[str]:
    """Return the leaves to be dropped: none."""
    return frozenset()


def asked_by_encoder(options: Options) -> Options:
    """Return what an encoder of these options makes true of the generator beside it."""
    return {"use_vae": True, "z_dim": ENCODER_LATENT}


def run_settings(options: Options, keywords: Options, encoder: Options | None) -> Options:
    """Return what a run with this generator needs beside it, as dotted keys.

    Raises:
        ConfigError: the options do not say what the channels of the source are.
    """
    labels = label_settings(
        options,
        "semantic_nc",
        labels=LABELS,
        others=_others(options),
        edges=not options["no_instance"],
        void=options["contain_dontcare_label"],
    )
    return {
        "data.size": list(keywords["size"]),
        "data.channels": [options["semantic_nc"] if labels is None else 3, 3],
        **({} if labels is None else {"data.labels": labels}),
        "inference.statistics": "running",
    }


def detect(state: dict[str, Tensor]) -> tuple[str, Options] | None:
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
        ngf = shapes["fc_mu.weight"][1] // 128
        small = not any(name.startswith("layer6.") for name in shapes)
        return "encoder", {"ngf": ngf, "norm_E": norm, **({"crop_size": 128} if small else {})}
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


def _spectral_norm(shapes: dict[str, tuple[int, ...]], layer: str) -> str:
    if f"{layer}.weight_orig" in shapes:
        return "spectral"
    return "spectralsync_batch" if f"{layer}.1.running_mean" in shapes else "spectralinstance"


PROJECT = Project(
    complete=complete,
    settings=settings,
    module_names=module_names,
    leftovers=leftovers,
    detect=detect,
    run_settings=run_settings,
    preset="spade",
    encoder_preset="spade-vae",
    asked_by_encoder=asked_by_encoder,
    leaves=LEAVES,
)
