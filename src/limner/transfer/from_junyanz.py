"""pytorch-CycleGAN-and-pix2pix: its options, and the names it gives to weights.

Its U-Net nests one block in the next, its other networks are flat sequences; a layer's name is
its place there. Norms without parameters and dropout take a place without leaving a name.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from limner.errors import ConfigError, unknown_name
from limner.transfer.project import Project, count, flag

# The defaults of its pix2pix model; those of its CycleGAN differ (resnet_9blocks, instance norm).
DEFAULTS: dict[str, dict[str, Any]] = {
    "generator": {
        "netG": "unet_256",
        "norm": "batch",
        "ngf": 64,
        "input_nc": 3,
        "output_nc": 3,
        "dropout": True,
        "padding_type": "reflect",
    },
    # Here input_nc counts all that the discriminator sees: source and target.
    "discriminator": {"netD": "basic", "n_layers_D": 3, "norm": "batch", "ndf": 64, "input_nc": 6},
}

# Each option's values: our network's name and the keywords that are particular to it.
NET_G: dict[str, tuple[str, dict[str, int]]] = {
    # The project itself has unet_128 and unet_256; its forks go on in the same way.
    **{f"unet_{2**depth}": ("unet", {"depth": depth}) for depth in range(5, 11)},
    "resnet_6blocks": ("resnet", {"blocks": 6}),
    "resnet_9blocks": ("resnet", {"blocks": 9}),
}
NET_D = {"basic": "patch", "n_layers": "patch", "pixel": "pixel"}
PADDING = ("reflect", "replicate", "zero")
"""What its ResNets' blocks see beyond the border; their outer convolutions always reflect."""
NORM = {"batch": "batch", "syncbatch": "batch", "instance": "instance", "none": "none"}
_DROPOUT = 0.5


def complete(role: str, architecture: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a network with the project's defaults for those not chosen.

    What computes the same is given one name: `no_dropout` is the opposite of `dropout`, norm
    "syncbatch" is "batch", and netD "n_layers" with 3 layers is "basic".

    Raises:
        ConfigError: an unknown role, option or value, or two that contradict each other.
    """
    if role not in DEFAULTS:
        raise unknown_name("role", role, DEFAULTS)
    chosen = dict(architecture)
    known = DEFAULTS[role]
    for name in chosen:
        if name not in known and not (role == "generator" and name == "no_dropout"):
            raise unknown_name(f"option of junyanz's {role}", name, known)
    if "no_dropout" in chosen:
        without = flag("no_dropout", chosen.pop("no_dropout"))
        if chosen.setdefault("dropout", not without) is without:
            raise ConfigError(f"no_dropout={without} contradicts dropout={without}: give only one")
    options = known | chosen
    for name, table in (("netG", NET_G), ("netD", NET_D), ("norm", NORM)):
        if name in options and options[name] not in table:
            raise unknown_name(name, str(options[name]), table)
    if options.get("padding_type", "reflect") not in PADDING:
        raise unknown_name("padding_type", str(options["padding_type"]), PADDING)
    for name in ("ngf", "ndf", "input_nc", "output_nc", "n_layers_D"):
        count(name, options.get(name, 1))
    if "dropout" in options:
        flag("dropout", options["dropout"])
    if "n_layers_D" in chosen and options["netD"] != "n_layers" and chosen["n_layers_D"] != 3:
        raise ConfigError(
            f"n_layers_D={chosen['n_layers_D']} has no effect with netD={options['netD']}: "
            "give netD=n_layers too"
        )
    options["norm"] = NORM[options["norm"]]
    if options.get("netD") == "n_layers" and options["n_layers_D"] == 3:
        options["netD"] = "basic"
    return options


def settings(role: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return our network's name and keywords for a complete set of options."""
    shared: dict[str, Any] = {"in_channels": options["input_nc"], "norm": options["norm"]}
    if options["norm"] == "none":
        shared["bias"] = False  # ours would have one where no norm follows
    if role == "generator":
        name, particular = NET_G[options["netG"]]
        dropout = _DROPOUT if options["dropout"] else 0.0
        sizes = {"out_channels": options["output_nc"], "width": options["ngf"]}
        if name == "resnet" and options["padding_type"] != "reflect":
            particular = {**particular, "block_padding": options["padding_type"]}
        return name, {**shared, **sizes, **particular, "dropout": dropout}
    name = NET_D[options["netD"]]
    layers = {"layers": options["n_layers_D"]} if name == "patch" else {}
    return name, {**shared, "width": options["ndf"], **layers}


def module_names(role: str, options: dict[str, Any]) -> dict[str, str]:
    """Return its name of every layer that may have weights, with ours, in our order."""
    name, keywords = settings(role, options)
    if name == "unet":
        return _unet(keywords["depth"])
    if name == "resnet":
        padded = options["padding_type"] != "zero"
        return _resnet(keywords["blocks"], dropout=options["dropout"], padded=padded)
    return _patch(keywords["layers"]) if name == "patch" else _pixel()


def _unet(depth: int) -> dict[str, str]:
    """A block: [relu, conv, norm, BLOCK, relu, conv, norm, dropout]; the ends leave some out."""
    outermost, innermost = 0, depth - 1
    downs: dict[str, str] = {}
    ups: list[tuple[str, str]] = []
    prefix = "model.model"
    for level in range(depth):
        up = f"ups.{depth - 1 - level}"
        if level == outermost:
            down_conv, up_conv, inner = 0, 3, 1
        elif level == innermost:
            down_conv, up_conv, inner = 1, 3, -1
        else:
            down_conv, up_conv, inner = 1, 5, 3
        downs[f"{prefix}.{down_conv}"] = f"downs.{level}.conv"
        if level not in (outermost, innermost):
            downs[f"{prefix}.{down_conv + 1}"] = f"downs.{level}.norm"
        if level != outermost:
            ups.append((f"{prefix}.{up_conv + 1}", f"{up}.norm"))
        ups.append((f"{prefix}.{up_conv}", f"{up}.conv"))
        prefix = f"{prefix}.{inner}.model"
    return downs | dict(reversed(ups))


def _resnet(blocks: int, *, dropout: bool, padded: bool) -> dict[str, str]:
    """One sequence; each block is one of [pad?, conv, norm, relu, dropout?, pad?, conv, norm].

    Zeros are padded by the convolutions themselves: then the blocks have no layers for that.
    """
    names: dict[str, str] = {}
    for index, ours in ((1, "first"), (4, "downs.0"), (7, "downs.1")):
        names |= {f"model.{index}": f"{ours}.conv", f"model.{index + 1}": f"{ours}.norm"}
    first = 1 if padded else 0
    second = first + 3 + dropout + padded
    for block in range(blocks):
        theirs, ours = f"model.{10 + block}.conv_block", f"blocks.{block}.body"
        names |= {f"{theirs}.{first}": f"{ours}.conv1", f"{theirs}.{first + 1}": f"{ours}.norm1"}
        names |= {f"{theirs}.{second}": f"{ours}.conv2", f"{theirs}.{second + 1}": f"{ours}.norm2"}
    after = 10 + blocks
    for index, ours in ((after, "ups.0"), (after + 3, "ups.1")):
        names |= {f"model.{index}": f"{ours}.conv", f"model.{index + 1}": f"{ours}.norm"}
    return names | {f"model.{after + 7}": "last.conv"}


def _patch(layers: int) -> dict[str, str]:
    """[conv, relu], then as often as there are layers [conv, norm, relu], then conv."""
    names = {"model.0": "blocks.0.conv"}
    for block in range(1, layers + 1):
        names[f"model.{3 * block - 1}"] = f"blocks.{block}.conv"
        names[f"model.{3 * block}"] = f"blocks.{block}.norm"
    return names | {f"model.{3 * layers + 2}": f"blocks.{layers + 1}.conv"}


def _pixel() -> dict[str, str]:
    """[conv, relu, conv, norm, relu, conv]."""
    return {
        "net.0": "blocks.0.conv",
        "net.2": "blocks.1.conv",
        "net.3": "blocks.1.norm",
        "net.5": "blocks.2.conv",
    }


def run_settings(
    options: dict[str, Any], keywords: dict[str, Any], encoder: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what a run with this generator needs beside it, as dotted keys."""
    beside: dict[str, Any] = {
        "data.size": 2 ** keywords["depth"] if "depth" in keywords else 256,
        "data.channels": [options["input_nc"], options["output_nc"]],
    }
    if keywords.get("block_padding") == "zero":
        # No option of the project leads here: it is a fork's (DeepLIIF), which works in eval mode.
        beside |= {"inference.statistics": "running", "inference.dropout": False}
    return beside


def leftovers(role: str, options: dict[str, Any]) -> frozenset[str]:
    """Return the leaves in old files that its loader drops: instance norm kept statistics once."""
    if options["norm"] == "instance":
        return frozenset(("running_mean", "running_var", "num_batches_tracked"))
    return frozenset()


def detect(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """Return the role and those options that a state dict shows; None for another project's.

    A U-Net does not show whether it has dropout, and no network whether its norm is "none" where
    its convolutions have biases (older versions): that is called "instance".
    """
    kernels = {n: tuple(v.shape) for n, v in state.items() if n.endswith("weight") and v.ndim == 4}
    norm = {"norm": _detect_norm(state)}
    if "model.model.0.weight" in kernels and "model.model.3.weight" in kernels:
        first, last = kernels["model.model.0.weight"], kernels["model.model.3.weight"]
        sizes = {"ngf": first[0], "input_nc": first[1], "output_nc": last[1]}
        return "generator", {"netG": f"unet_{2 ** (len(kernels) // 2)}", **norm, **sizes}
    if "model.1.weight" in kernels:
        first, last = kernels["model.1.weight"], kernels[max(kernels, key=_place)]
        inside = [n for n in kernels if ".conv_block." in n]
        sizes = {"ngf": first[0], "input_nc": first[1], "output_nc": last[0]}
        zeros = any(".conv_block.0." in n for n in inside)
        second = ".conv_block.4." if zeros else ".conv_block.6."
        more = {"dropout": any(second in n for n in inside)}
        more |= {"padding_type": "zero"} if zeros else {}
        return "generator", {"netG": f"resnet_{len(inside) // 2}blocks", **norm, **sizes, **more}
    if "model.0.weight" in kernels:
        first, layers = kernels["model.0.weight"], len(kernels) - 2
        kind = {"netD": "basic"} if layers == 3 else {"netD": "n_layers", "n_layers_D": layers}
    elif "net.0.weight" in kernels:
        first, kind = kernels["net.0.weight"], {"netD": "pixel"}
    else:
        return None
    return "discriminator", {**kind, **norm, "ndf": first[0], "input_nc": first[1]}


def _place(name: str) -> int:
    """Return a layer's place in the outer sequence."""
    return int(name.split(".")[1])


def _detect_norm(state: dict[str, Tensor]) -> str:
    # Scales of norms are the only weights with one axis.
    if any(name.endswith("weight") and value.ndim == 1 for name, value in state.items()):
        return "batch"
    biases = sum(name.endswith("bias") for name in state)
    kernels = sum(name.endswith("weight") for name in state)
    # The first or last convolutions have a bias in any case: one in a generator, two in a PatchGAN.
    return "instance" if biases == kernels else "none"


PROJECT = Project(
    complete=complete,
    settings=settings,
    module_names=module_names,
    leftovers=leftovers,
    detect=detect,
    run_settings=run_settings,
    preset="pix2pix",
)
