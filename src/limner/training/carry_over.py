"""A training that starts from another run: what fits is loaded, the rest begins anew, by name.

A tensor is loaded where its name and shape are the same. Where it takes the source, its channels
are classes of a label map or channels of a picture: classes are carried over by their names,
pictures' channels by their numbers. Discriminators are loaded where the other run has them. The
optimizers begin anew, unless `training.keep_optimizer` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.config import Config, read_config, replace
from limner.data import class_ids
from limner.errors import CheckpointError, ConfigError
from limner.files import read_events
from limner.run import checkpoint_folder, generator_file, read_checkpoint, read_weights
from limner.training.checkpoint import averages_of, load_averages, read_state
from limner.training.coarse_to_fine import begins_around, start_around
from limner.training.fine_tuning import learning
from limner.training.state import State, TrainedNetwork

WARM_STEPS, WARM_SHARE = 200, 0.1
"""Steps for which discriminators that begin anew learn alone, before the generator moves; and the
most of a training that this may take."""


@dataclass
class Transfer:
    """What a training took over from another run.

    Args:
        loaded: how many tensors are the other run's.
        initialised: names of those that begin anew, as `network.tensor`.
        remapped: of those whose source channels were carried over by name or number, which.
        optimizers: of how many the optimizers' averages are the other run's, too.
    """

    loaded: int = 0
    initialised: list[str] = field(default_factory=list)
    remapped: dict[str, str] = field(default_factory=dict)
    optimizers: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields of the event `transfer`."""
        return asdict(self)


def begin_from(state: State, run: Path) -> Transfer | None:
    """Give a training at step 0 what another run has learnt; see the module.

    Returns:
        What was taken over; None where enhancers begin around the run's global generator.

    Raises:
        CheckpointError: the run has no checkpoint, its files are damaged, or nothing of its
            generator fits. ConfigError: something is to stay as it is that begins anew.
    """
    config, other = state.config, read_config(run / "config.yaml")
    if begins_around(config, run):
        start_around(state, run)
        return None
    if other.generator.name != config.generator.name:
        raise _misfit(run, other, config)
    fresh, sources = fresh_discriminators(run, config), _source_map(other, config)
    lent = {
        name: tensors
        for name, tensors in read_checkpoint(run, "best", _networks).items()
        if name not in fresh
    }
    transfer = Transfer()
    for name, network in state.networks.items():
        if name not in lent:
            transfer.initialised.append(name)
            continue
        taking, channels = _taking_source(config, name), _all_channels(sources, config, other, name)
        for tensor, target in network.plain.state_dict().items():
            _take_over(
                f"{name}.{tensor}",
                target,
                lent[name].get(tensor),
                transfer,
                dim=taking.get(tensor),
                sources=channels,
            )
        if not transfer.loaded:  # the generator comes first
            raise _misfit(run, other, config)
        if config.training.l2_sp:
            _remember_start(network, name, begun=transfer.initialised)
    _check_frozen(state, transfer)
    if config.training.keep_optimizer:
        transfer.optimizers = _take_optimizers(state, run, transfer)
    if state.ema is not None:
        state.ema.load_state_dict(state.generator.plain.state_dict())
    return transfer


def _check_frozen(state: State, transfer: Transfer) -> None:
    """Refuse to freeze what nothing was learnt of.

    Raises:
        ConfigError: a frozen parameter begins anew.
    """
    for name, network in state.networks.items():
        for key, parameter in network.plain.named_parameters():
            if not parameter.requires_grad and {name, f"{name}.{key}"} & {*transfer.initialised}:
                setting = "freeze" if name == "generator" else "freeze_discriminator"
                raise ConfigError(
                    f"training.{setting} would keep {name}.{key} as it was drawn, since nothing of "
                    f"it could be loaded: leave training.{setting} out"
                )


def _remember_start(network: TrainedNetwork, name: str, *, begun: Sequence[str]) -> None:
    """Keep the weights that were lent, those that learn, for `training.l2_sp`."""
    network.start = {
        parameter: parameter.detach().clone()
        for key, parameter in learning(network.plain).items()
        if f"{name}.{key}" not in begun
    }


def _take_optimizers(state: State, run: Path, transfer: Transfer) -> int:
    """Give the optimizers the other run's averages of weights that were loaded as they are.

    Returns:
        Of how many weights there were some: none where the run has not learnt itself.
    """
    content = read_checkpoint(run, "best", read_state)
    found = averages_of(content, state, origin=run)
    anew, taken = {*transfer.initialised, *transfer.remapped}, 0
    for name, averages in found.items():
        if name not in transfer.initialised:
            kept = {key: v for key, v in averages.items() if f"{name}.{key}" not in anew}
            load_averages(state.networks[name], kept, origin=run)
            taken += len(kept)
    return taken


def _networks(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of every network of a checkpoint; the generator's are those of pictures.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    files.pop("generator_ema", None)
    files["generator"] = generator_file(folder)
    return {name: read_weights(path)[0] for name, path in files.items()}


def _misfit(run: Path, other: Config, config: Config) -> CheckpointError:
    return CheckpointError(
        f"nothing of {run}'s generator ({other.generator.name}) fits this one "
        f"({config.generator.name}): leave --preset out to train the same network on"
    )


def settings_from(run: Path) -> Config:
    """Return the settings of a training that goes on from a run with other data.

    They are the run's, ranges of values included, so that the same value means the same; what it
    was told by its own data (direction, label maps, types of files) is left open again.

    Raises:
        ConfigError: it is no run. CheckpointError: it has no checkpoint.
    """
    config = read_config(run / "config.yaml")
    checkpoint_folder(run)  # says what is wrong with a folder that is no run
    changes: dict[str, object] = {
        "data.direction": None,
        "data.type": {},
        "training.start_from": str(run),
        "training.discriminator_warmup": None,
    }
    if config.data.labels is not None:
        changes["data.labels"] = {}
    return replace(config, changes)


def with_warmup(config: Config, *, total_steps: int, out: Path) -> Config:
    """Return the settings with `training.discriminator_warmup` resolved, where it is left open.

    Args:
        config: of a training.
        total_steps: of the whole training.
        out: its folder; a run that is resumed keeps what it has.

    Raises:
        CheckpointError: the run to start from has no checkpoint.
    """
    training = config.training
    if training.discriminator_warmup is not None:
        return config
    steps, kept = 0, out / "config.yaml"
    if kept.exists():
        steps = read_config(kept).training.discriminator_warmup or 0
    elif training.start_from is not None:
        start = Path(training.start_from)
        if not begins_around(config, start) and fresh_discriminators(start, config):
            steps = min(WARM_STEPS, int(WARM_SHARE * total_steps))
    return replace(config, {"training.discriminator_warmup": steps})


def fresh_discriminators(run: Path, config: Config) -> list[str]:
    """Return the names of a training's discriminators that another run cannot lend it.

    It has no such file; or it was imported without discriminators and has not learnt since, so that
    its files are as they were drawn.
    """
    names = [f"discriminator_{number}" for number in range(len(config.discriminators))]
    folder = checkpoint_folder(run)
    log = read_events(run) if (run / "log.jsonl").exists() else []
    imported = [event for event in log if event["event"] == "import"]
    if imported and int(folder.name) == 0 and "discriminator" not in imported[-1]["files"]:
        return names
    return [name for name in names if not (folder / f"{name}.safetensors").exists()]


def _take_over(
    name: str,
    target: Tensor,
    offered: Tensor | None,
    transfer: Transfer,
    *,
    dim: int | None,
    sources: list[int | None],
) -> None:
    """Copy one tensor, or what of it can be carried over, into the new network's."""
    if offered is None or offered.dim() != target.dim():
        transfer.initialised.append(name)
        return
    same = list(range(len(sources)))
    if dim is None or (offered.shape == target.shape and sources == same):
        if offered.shape != target.shape:
            transfer.initialised.append(name)
            return
        target.copy_(offered)
        transfer.loaded += 1
        return
    others = [offered.shape[k] == target.shape[k] for k in range(target.dim()) if k != dim]
    kept = [k for k, source in enumerate(sources) if source is not None]
    if not all(others) or not kept:
        transfer.initialised.append(name)
        return
    places, lent = (
        torch.tensor(numbers, device=target.device)
        for numbers in (kept, [sources[k] for k in kept])
    )
    offered = offered.to(target)
    # A channel that nothing was learnt of begins as the mean of those there are.
    target.copy_(offered.mean(dim, keepdim=True).expand_as(target))
    target.index_copy_(dim, places, offered.index_select(dim, lent))
    transfer.loaded += 1
    transfer.remapped[name] = f"{len(kept)} of {len(sources)} source channels"


def _taking_source(config: Config, name: str) -> dict[str, int]:
    """Return which tensors of a network have a dimension for the source's channels, and which one.

    They are those whose shape changes where the network is built for one channel more.
    """
    target = config.data.channels[1]
    if name == "generator":
        settings, channels = config.generator, config.input_channels
        fixed = {"out_channels": target}
    elif name.startswith("discriminator_"):
        settings = config.discriminators[int(name.rpartition("_")[2])]
        channels = target + (config.source_channels if settings.conditional else 0)
        fixed = {}
        if not settings.conditional:
            return {}
    else:
        return {}
    with torch.device("meta"):
        shapes = [
            {k: v.shape for k, v in settings.build(in_channels=count, **fixed).state_dict().items()}
            for count in (channels, channels + 1)
        ]
    return {
        tensor: next(d for d in range(len(shape)) if shape[d] != shapes[1][tensor][d])
        for tensor, shape in shapes[0].items()
        if shape != shapes[1][tensor]
    }


def _source_map(old: Config, new: Config) -> list[int | None]:
    """Return for each source channel of the new training the old one that it goes on from."""
    if old.data.labels is None and new.data.labels is None:
        shared = min(old.source_channels, new.source_channels)
        return [k if k < shared else None for k in range(new.source_channels)]
    if old.data.labels is None or new.data.labels is None:
        return [None] * new.source_channels
    before, after = class_ids(old.data.labels, new.data.labels)
    # An expanded map shows the classes in the order of their ids, void, and the edges.
    channels = [
        [*ids, *(["edges"] if config.data.labels and config.data.labels.edges else [])]
        for ids, config in ((before, old), (after, new))
    ]
    known = {name: k for k, name in enumerate(channels[0])}
    return [known.get(name) for name in channels[1]]


def _all_channels(
    sources: list[int | None], new: Config, old: Config, name: str
) -> list[int | None]:
    """The same for all channels that a network takes; those behind the source's stay in order."""
    if name == "generator":
        behind, before = new.input_channels - new.source_channels, old.source_channels
        had = old.input_channels - old.source_channels
    else:
        behind, before = new.data.channels[1], old.source_channels
        had = old.data.channels[1]
    return [*sources, *(before + k if k < had else None for k in range(behind))]
