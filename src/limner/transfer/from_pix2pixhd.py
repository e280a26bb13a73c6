"""pix2pixHD: its options, and the names it gives to weights.

Its networks are flat sequences, in which norms without parameters, activations and paddings take
a place without leaving a name. In the discriminator scale 0 is that of the lowest resolution.
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
    label_settings,
    one_of,
    settle_channels,
)

# input_nc counts all that a network sees: classes, edges, features, and in the discriminator the
# picture. None means that the others decide.
_CHANNELS: Options = {"input_nc": None, "label_nc": None, "no_instance": False}
DEFAULTS: dict[str, Options] = {
    "generator": {
        "netG": "global",
        "norm": "instance",
        "ngf": 64,
        "n_downsample_global": 4,
        "n_blocks_global": 9,
        "n_local_enhancers": 1,
        "n_blocks_local": 3,
        **_CHANNELS,
        "output_nc": 3,
        "instance_feat": False,
        "label_feat": False,
        "feat_num": 3,
    },
    "discriminator": {
        "norm": "instance",
        "ndf": 64,
        "n_layers_D": 3,
        "num_D": 2,
        "getIntermFeat": True,
        **_CHANNELS,
        "output_nc": 3,
    },
    "encoder": {"norm": "instance", "nef": 16, "n_downsample_E": 4, "output_nc": 3, "feat_num": 3},
}
LABELS = 35
NET_G = {"global": "pix2pixhd", "local": "pix2pixhd-local"}


def complete(role: str, architecture: dict[str, Any]) -> Options:
    """Return the options of a network with the project's defaults for those not given.

    Raises:
        ConfigError: an unknown role, option or value, or two that contradict each other.
    """
    options = filled("pix2pixHD", role, architecture, DEFAULTS)
    one_of("norm", options["norm"], ("instance", "batch"))
    if role == "generator":
        one_of("netG", options["netG"], NET_G)
    if role != "encoder":
        settle_channels(options, "input_nc", labels=LABELS, others=_others(role, options))
    return options


def _others(role: str, options: Options) -> int:
    """Return how many channels of a network's input are no classes."""
    edges = not options["no_instance"]
    if role == "discriminator":
        return edges + options["output_nc"]
    features = options["instance_feat"] or options["label_feat"]
    return edges + (options["feat_num"] if features else 0)


def settings(role: str, options: Options) -> tuple[str, Options]:
    """Return our network's name and keywords for a complete set of options."""
    shared = {"norm": options["norm"], "bias": True}
    if role == "encoder":
        return "features", {
            "in_channels": options["output_nc"],
            "width": options["nef"],
            "features": options["feat_num"],
            "downs": options["n_downsample_E"],
            **shared,
        }
    shared = {"in_channels": options["input_nc"], **shared}
    if role == "discriminator":
        sizes = {"width": options["ndf"], "layers": options["n_layers_D"]}
        return "multiscale", {**shared, **sizes, "scales": options["num_D"]}
    keywords = {
        **shared,
        "out_channels": options["output_nc"],
        "width": options["ngf"],
        "downs": options["n_downsample_global"],
        "blocks": options["n_blocks_global"],
    }
    if options["netG"] == "local":
        keywords["enhancers"] = options["n_local_enhancers"]
        keywords["local_blocks"] = options["n_blocks_local"]
    return NET_G[options["netG"]], keywords


def module_names(role: str, options: Options) -> dict[str, str]:
    """Return its name of every layer that may have weights, with ours."""
    if role == "discriminator":
        return _discriminator(options)
    if role == "encoder":
        return _trunk("", options["n_downsample_E"], 0, last=True)
    downs, blocks = options["n_downsample_global"], options["n_blocks_global"]
    if options["netG"] == "global":
        return _trunk("", downs, blocks, last=True)
    names = _trunk("coarse.", downs, blocks, last=False)
    for number in range(1, options["n_local_enhancers"] + 1):
        names |= _enhancer(number, options["n_blocks_local"])
    after = options["n_blocks_local"] + 4
    return names | {f"model{options['n_local_enhancers']}_2.{after}": "last.conv"}


def _stage(theirs: str, place: int, ours: str) -> dict[str, str]:
    """[..., conv, norm, relu]: the convolution stands at `place`."""
    return {f"{theirs}.{place}": f"{ours}.conv", f"{theirs}.{place + 1}": f"{ours}.norm"}


def _block(theirs: str, ours: str) -> dict[str, str]:
    """[pad, conv, norm, relu, pad, conv, norm]."""
    places = {1: "conv1", 2: "norm1", 5: "conv2", 6: "norm2"}
    return {f"{theirs}.conv_block.{n}": f"{ours}.body.{leaf}" for n, leaf in places.items()}


def _trunk(prefix: str, downs: int, blocks: int, *, last: bool) -> dict[str, str]:
    """[pad, conv, norm, relu], downs, blocks, ups, and then perhaps [pad, conv, tanh]."""
    names = _stage("model", 1, f"{prefix}first")
    for level in range(downs):
        names |= _stage("model", 4 + 3 * level, f"{prefix}downs.{level}")
    place = 4 + 3 * downs
    for block in range(blocks):
        names |= _block(f"model.{place + block}", f"{prefix}blocks.{block}")
    place += blocks
    for level in range(downs):
        names |= _stage("model", place + 3 * level, f"{prefix}ups.{level}")
    return names | ({f"model.{place + 3 * downs + 1}": "last.conv"} if last else {})


def _enhancer(number: int, blocks: int) -> dict[str, str]:
    """Downwards [pad, conv, norm, relu, conv, norm, relu], upwards blocks, conv, norm, relu."""
    ours = f"enhancers.{number - 1}"
    down, up = f"model{number}_1", f"model{number}_2"
    names = _stage(down, 1, f"{ours}.first") | _stage(down, 4, f"{ours}.down")
    for block in range(blocks):
        names |= _block(f"{up}.{block}", f"{ours}.blocks.{block}")
    return names | _stage(up, blocks, f"{ours}.up")


def _discriminator(options: Options) -> dict[str, str]:
    """Each scale: [conv, relu], [conv, norm, relu] as often as there are layers, [conv]."""
    scales, layers = options["num_D"], options["n_layers_D"]
    names: dict[str, str] = {}
    for scale in range(scales):
        theirs = scales - 1 - scale
        for layer in range(layers + 2):
            ours = f"scales.{scale}.{layer}"
            if options["getIntermFeat"]:
                names |= _stage(f"scale{theirs}_layer{layer}", 0, ours)
            else:  # all layers in one sequence
                names |= _stage(f"layer{theirs}", 3 * layer - 1 if layer else 0, ours)
    return names


def leftovers(role: str, options: Options) -> frozenset[str]:
    """Return the leaves in old files to be dropped: instance norm kept statistics once."""
    if options["norm"] == "instance":
        return frozenset(("running_mean", "running_var", "num_batches_tracked"))
    return frozenset()


def asked_by_encoder(options: Options) -> Options:
    """Return what an encoder of these options makes true of the generator beside it."""
    return {"instance_feat": True, "feat_num": options["feat_num"]}


def run_settings(options: Options, keywords: Options, encoder: Options | None) -> Options:
    """Return what a run with this generator, and perhaps an encoder, needs beside, as dotted keys.

    Raises:
        ConfigError: the options do not say what the channels of the source are, or features are
            wanted that nothing makes.
    """
    if options["label_feat"]:
        raise ConfigError(
            "a generator that was trained with features averaged over labels (label_feat) cannot "
            "be a run: use limner.transfer.import_network"
        )
    if options["instance_feat"] and encoder is None:
        raise ConfigError(
            "a generator that was trained with features of instances needs them to translate: "
            "give the encoder (*_net_E.pth) as --encoder"
        )
    labels = label_settings(
        options,
        "input_nc",
        labels=LABELS,
        others=_others("generator", options),
        edges=not options["no_instance"],
        void=False,
    )
    halvings = keywords["downs"] + keywords.get("enhancers", 0)
    multiple = 2 ** max(halvings, 0 if encoder is None else encoder["downs"])
    size = [max(2, round(side / multiple)) * multiple for side in (512, 1024)]
    source = options["input_nc"] if labels is None else 3
    return {
        "data.size": size,
        "data.channels": [source, options["output_nc"]],
        **({} if labels is None else {"data.labels": labels}),
        "inference.statistics": "running",
    }


def detect(state: dict[str, Tensor]) -> tuple[str, Options] | None:
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


PROJECT = Project(
    complete=complete,
    settings=settings,
    module_names=module_names,
    leftovers=leftovers,
    detect=detect,
    run_settings=run_settings,
    preset="pix2pixhd-global",
    encoder_preset="pix2pixhd-global",
    asked_by_encoder=asked_by_encoder,
)
