"""Take over networks that other projects trained: their options, their names, our networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner.errors import CheckpointError, unknown_name
from limner.networks import make_discriminator, make_encoder, make_generator
from limner.transfer import from_junyanz, from_pix2pixhd, from_spade
from limner.transfer.project import Options, Project
from limner.transfer.reading import read_state

PROJECTS: dict[str, Project] = {
    "junyanz": from_junyanz.PROJECT,
    "pix2pixHD": from_pix2pixhd.PROJECT,
    "SPADE": from_spade.PROJECT,
}
"""The projects whose networks can be taken over."""

MAKERS = {
    "generator": make_generator,
    "discriminator": make_discriminator,
    "encoder": make_encoder,
}


def find(name: str) -> Project:
    """Return the project of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROJECTS:
        raise unknown_name("project", name, PROJECTS)
    return PROJECTS[name]


def run_settings(project: str, encoder: Options | None = None, **architecture: Any) -> Options:
    """Return the dotted keys of a run around another project's generator: data and inference.

    `encoder` holds the keywords of our network for the encoder beside it, where there is one.

    Raises:
        ConfigError: an unknown project, option or value, or options that leave too much open.
    """
    known = find(project)
    options = known.complete("generator", architecture)
    return known.run_settings(options, known.settings("generator", options)[1], encoder)


def network_settings(project: str, role: str, **architecture: Any) -> tuple[str, Options]:
    """Return the name and keywords of the Limner network that equals another project's.

    `make_generator(name, **keywords)`, `make_discriminator` or `make_encoder` builds it.
    `architecture` takes that project's own option names; those not given have its defaults.

    Raises:
        ConfigError: an unknown project, role, option or value.
    """
    known = find(project)
    return known.settings(role, known.complete(role, architecture))


def detect_options(
    file: Path | str, project: str = "junyanz", *, role: str = "generator"
) -> tuple[str, Options] | None:
    """Return the role and the options that the names and shapes in `file` show, None if foreign.

    Of several networks in one file that of `role` is looked at.

    Raises:
        ConfigError: an unknown project.
        CheckpointError: the file cannot be read.
    """
    return find(project).detect(read_state(Path(file), role))


def shown_options(file: Path | str, project: str, role: str) -> Options:
    """Return the options that a file of this role shows; empty where it shows none.

    Raises:
        ConfigError: an unknown project.
        CheckpointError: the file cannot be read, or holds a network of another role.
    """
    detected = detect_options(file, project, role=role)
    if detected is None:
        return {}
    if detected[0] != role:
        raise CheckpointError(
            f"{file} holds {_a(detected[0])} where {_a(role)} was expected: name another file"
        )
    return detected[1]


def _a(role: str) -> str:
    return f"an {role}" if role == "encoder" else f"a {role}"


def _blank(project: str, role: str, architecture: Options) -> nn.Module:
    """Return the network without memory behind its weights: names and shapes alone."""
    name, keywords = network_settings(project, role, **architecture)
    with torch.device("meta"):
        return MAKERS[role](name, **keywords)


def from_project(
    state: dict[str, Tensor],
    *,
    project: str = "junyanz",
    role: str = "generator",
    origin: str = "the state dict",
    **architecture: Any,
) -> dict[str, Tensor]:
    """Return a state dict of another project under our names, complete and of the right shapes.

    What old files carry beside the weights is dropped as that project's loader does: statistics
    of instance norms; what older ones lack is added: the count of batches.

    Raises:
        ConfigError: an unknown project, role, option or value.
        CheckpointError: it does not fit the options; the message says which of them differ.
    """
    known = find(project)
    options = known.complete(role, architecture)
    names, leftovers = known.module_names(role, options), known.leftovers(role, options)
    expected = _blank(project, role, architecture).state_dict()
    ours: dict[str, Tensor] = {}
    strange: list[str] = []
    for theirs, value in state.items():
        module, _, leaf = theirs.rpartition(".")
        name = f"{names[module]}.{known.leaves.get(leaf, leaf)}" if module in names else ""
        if name in expected and expected[name].shape == value.shape:
            ours[name] = value
        elif not (module in names and leaf in leftovers):
            strange.append(theirs)
    for name, value in expected.items():
        if name.endswith(".num_batches_tracked"):
            ours.setdefault(name, torch.zeros((), dtype=value.dtype))
    missing = [name for name in expected if name not in ours]
    if strange or missing:
        raise CheckpointError(
            f"{origin} does not fit the options of {project}'s {role}: "
            + (_differing(state, project, role, architecture) or _misfits(strange, missing))
        )
    return {name: ours[name] for name in expected}


def to_project(
    state: dict[str, Tensor],
    *,
    project: str = "junyanz",
    role: str = "generator",
    **architecture: Any,
) -> dict[str, Tensor]:
    """Return our state dict under another project's names: what `from_project` undoes.

    Raises:
        ConfigError: an unknown project, role, option or value.
        CheckpointError: it does not fit the options.
    """
    names = find(project).module_names(role, find(project).complete(role, architecture))
    theirs = {ours: name for name, ours in names.items()}
    split = [(*name.rpartition("."), value) for name, value in state.items()]
    strange = [module for module, _, _, _ in split if module not in theirs]
    if strange:
        raise CheckpointError(
            f"{project}'s {role} has no layer for {strange[0]}: give the options that the network "
            "was built with"
        )
    leaves = {ours: name for name, ours in find(project).leaves.items()}
    renamed = {
        (module, leaf): leaves.get(leaf, leaf) if f"{module}.u" in state else leaf
        for module, _, leaf, _ in split
    }
    return {f"{theirs[m]}.{renamed[m, leaf]}": value for m, _, leaf, value in split}


def state_dict_of(
    file: Path | str, *, project: str = "junyanz", role: str = "generator", **architecture: Any
) -> dict[str, Tensor]:
    """Return the weights in another project's `file` under our names, on the CPU.

    Raises:
        ConfigError: an unknown project, role, option or value.
        CheckpointError: the file is missing, damaged, unsafe, or does not fit the options.
    """
    network_settings(project, role, **architecture)  # wrong options before the file is read
    state = read_state(Path(file), role)
    return from_project(state, project=project, role=role, origin=str(file), **architecture)


def import_network(
    file: Path | str, project: str = "junyanz", role: str = "generator", **architecture: Any
) -> nn.Module:
    """Return a network in eval mode that computes what another project's saved one computes.

    `architecture` takes that project's own option names; options not given have that project's
    defaults. Equality: 1e-5 at most on outputs of order 1. Only tensors are read; no code in the
    file is run.

    - junyanz: netG, norm, ngf, input_nc, output_nc, dropout or no_dropout; netD, n_layers_D, ndf.
    - pix2pixHD: netG, norm, ngf, n_downsample_global, n_blocks_global, n_local_enhancers,
      n_blocks_local, instance_feat, label_feat, feat_num; ndf, n_layers_D, num_D, getIntermFeat;
      nef, n_downsample_E.
    - SPADE: norm_G, ngf, num_upsampling_layers, crop_size, aspect_ratio, use_vae, z_dim; norm_D,
      ndf, num_D, n_layers_D; norm_E, and crop_size of an encoder.

    The channels: input_nc is a network's whole input; or label_nc, no_instance,
    contain_dontcare_label (SPADE) and output_nc, from which those projects reckon it.

    Raises:
        ConfigError: an unknown project, role, option or value.
        CheckpointError: the file is missing, damaged, unsafe, or does not fit the options; then
            the message says which of them differ.
    """
    state = state_dict_of(file, project=project, role=role, **architecture)
    network = _blank(project, role, architecture)
    network.load_state_dict(state, assign=True)
    return network.eval()


def _differing(state: dict[str, Tensor], project: str, role: str, architecture: Options) -> str:
    """Say which options the state dict contradicts, and what to pass instead; "" if none."""
    detected = find(project).detect(state)
    if detected is None:
        return ""
    true_role, shown = detected
    if true_role != role:
        return f"it holds {_a(true_role)}; import it with role={true_role!r}"
    options = find(project).complete(role, architecture)
    wrong = {name: value for name, value in shown.items() if options[name] != value}
    if not wrong:
        return ""
    facts = "; ".join(
        f"the file has {name} {value}, "
        + (
            f"you said {options[name]}"
            if name in architecture
            else f"the default is {options[name]}"
        )
        for name, value in wrong.items()
    )
    return f"{facts}: pass {', '.join(f'{name}={value!r}' for name, value in wrong.items())}"


def _misfits(strange: list[str], missing: list[str]) -> str:
    """List the first names that fit nothing and the first that nothing fits."""
    lists = (("has no place for", strange), ("it lacks", missing))
    facts = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in lists
        if names
    ]
    return f"{'; '.join(facts)}: check which project and version wrote it"
