"""From coarse to fine: enhancers are trained around a global generator (Wang et al. 2018, 3.1).

First the global generator is trained by itself at half the resolution. Then a training of
`pix2pixhd-local` starts from that run (`training.start_from`), lets its outermost enhancer learn
alone for `training.fix_global` epochs, and then everything, with a fresh optimiser, as pix2pixHD
does.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from limner.config import Config, read_config
from limner.errors import CheckpointError
from limner.networks import LocalEnhancer
from limner.run import checkpoint_folder, generator_file, load_weights, read_checkpoint
from limner.training.state import State, build_generator


def begins_around(config: Config, run: Path) -> bool:
    """Whether a training's enhancers begin around the global generator of `run`."""
    other = read_config(run / "config.yaml").generator
    return config.generator.coarse_to_fine and not other.coarse_to_fine


def start_around(state: State, run: Path) -> None:
    """Give a training at step 0 what the global run learnt: its generator, and its encoder.

    The discriminators begin anew.

    Raises:
        CheckpointError: it is no run, has no checkpoint, or its generator does not fit.
    """
    network = state.generator.plain
    assert isinstance(network, LocalEnhancer)
    encoder = None if state.encoder is None else state.encoder.plain
    _take_over(network, run, encoder=encoder)
    if isinstance(state.ema, LocalEnhancer):
        state.ema.load_state_dict(network.state_dict())


def _take_over(network: LocalEnhancer, run: Path, *, encoder: nn.Module | None = None) -> None:
    checkpoint_folder(run)  # says what is wrong with a folder that is no run
    other = build_generator(read_config(run / "config.yaml"))

    def read(folder: Path) -> None:
        load_weights(other, generator_file(folder))
        if encoder is not None and (folder / "encoder.safetensors").exists():
            load_weights(encoder, folder / "encoder.safetensors")

    read_checkpoint(run, "best", read)
    try:
        network.start_from(other.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"training.start_from={run}: {error}") from None


def held_parameters(state: State) -> list[nn.Parameter]:
    """Return the generator's parameters that do not learn in this step.

    Their gradients are computed and dropped, so that several processes need not agree anew on
    what learns when the rest joins.
    """
    network = state.generator.plain
    if state.step >= state.frozen_until or not isinstance(network, LocalEnhancer):
        return []
    network.fix_global(True)
    held = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    network.fix_global(False)
    return held


def begin_whole(state: State) -> None:
    """Make the optimizers forget their past in the step in which all of the generator learns.

    The encoder's too, as pix2pixHD makes one new optimizer for both (`training.reset_encoder`).
    """
    if state.step == state.frozen_until > 0:
        anew = state.config.training.reset_encoder
        for network in state.learners if anew else [state.generator]:
            optimizer = network.optimizer
            getattr(optimizer, "optimizer", optimizer).state.clear()
