"""The stored statistics of batch norms, estimated anew on other data, without its targets.

What a batch norm stores are mean and variance of what it saw in training. On data of another
brightness or contrast they no longer fit, which harms every layer behind; those of the new data
cure that without any training (adaptive batch norm, Li et al. 2018).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limner.config import Config, replace
from limner.data import PairedDataset, Sample
from limner.errors import ConfigError
from limner.inference import Translator
from limner.losses import l1
from limner.training.state import State

PICTURES = 256
"""Sources that are looked at, spread over the training split."""
ROUNDS = 2
"""Times that they are looked at. At first each picture is normalised by its own statistics; then by
what that gave, as it will be afterwards, so that each layer sees what it will see."""
JUDGED = 64
"""Pairs that the effect is measured on."""


@dataclass(frozen=True)
class Estimate:
    """What came of estimating statistics anew.

    Args:
        norms: how many norms store statistics.
        pictures: how many sources they are of.
        pairs, split: what the effect was measured on.
        l1_before, l1_after: the mean absolute difference to these pairs' targets.
    """

    norms: int
    pictures: int
    pairs: int
    split: str
    l1_before: float
    l1_after: float

    def to_json(self) -> dict[str, Any]:
        """The fields of the event `statistics`."""
        return asdict(self)

    def sentence(self) -> str:
        """What a user is told."""
        worse = self.l1_after > self.l1_before
        return (
            f"the statistics of {self.norms} norms are estimated anew on {self.pictures} sources; "
            f"l1 of {self.pairs} pairs of {self.split}: {self.l1_before:.4f} before, "
            f"{self.l1_after:.4f} now"
            + (": worse, so training.statistics=keep would serve better" if worse else "")
        )


def stored(network: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Return the norms that store statistics, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    }


def estimate_anew(
    state: State, learnt: PairedDataset, judged: PairedDataset, *, split: str
) -> Estimate:
    """Estimate the generator's statistics on the sources of new data, and measure the effect.

    Args:
        state: at step 0; its running average gets the same statistics.
        learnt: the training pairs, as they are translated.
        judged: held-out pairs, or the same.
        split: of which these are.

    Raises:
        ConfigError: the generator stores none, or is not going to use them.
    """
    config, network = state.config, state.generator.plain
    norms = stored(network)
    if not norms:
        raise ConfigError(
            "training.statistics=re-estimate: this generator stores no statistics of norms, so "
            "there is nothing to estimate: train on with --epochs N"
        )
    if config.inference.statistics == "batch":
        raise ConfigError(
            "training.statistics=re-estimate: the run takes each picture's own statistics "
            "(inference.statistics=batch), so that stored ones would not be used: add "
            "--set inference.statistics=running"
        )
    encoder = None if state.encoder is None else state.encoder.plain
    before = _l1(network, config, judged, encoder=encoder)
    pictures = re_estimate(network, config, learnt, encoder=encoder)
    if state.ema is not None:
        state.ema.load_state_dict(network.state_dict())
    return Estimate(
        norms=len(norms),
        pictures=pictures,
        pairs=min(len(judged), JUDGED),
        split=split,
        l1_before=round(before, 6),
        l1_after=round(_l1(network, config, judged, encoder=encoder), 6),
    )


def re_estimate(
    network: nn.Module,
    config: Config,
    pairs: PairedDataset | Sequence[Sample],
    *,
    encoder: nn.Module | None = None,
) -> int:
    """Let a generator's norms store the statistics of the sources of `pairs`.

    Deterministic: dropout is off but where pictures are made with it, and then drawn by name.

    Args:
        network: changed in place.
        config: how it makes pictures.
        pairs: not augmented.
        encoder: reads styles, where the generator takes them of pictures.

    Returns:
        How many sources were looked at.
    """
    indices = spread_over(len(pairs), PICTURES)
    for number in range(ROUNDS):
        how = "running" if number else "batch"
        translator = Translator(
            network, replace(config, {"inference.statistics": how}), encoder=encoder
        )
        found: dict[str, Tensor] = {}
        with _moments(network, found):
            for index in indices:
                translator.translate_sample(pairs[index])
        _store(network, found)
    return len(indices)


@contextlib.contextmanager
def _moments(network: nn.Module, found: dict[str, Tensor]) -> Iterator[None]:
    """Within, add up of each channel that a norm sees the count of values, their sum and squares.

    In double precision: the variance is a difference of both.
    """

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].double().movedim(1, 0).flatten(1)
            count = torch.full_like(values[:, 0], values.shape[1])
            moments = torch.stack([count, values.sum(1), values.square().sum(1)])
            found[name] = found[name] + moments if name in found else moments

        return look

    hooks = [m.register_forward_pre_hook(watch(name)) for name, m in stored(network).items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _store(network: nn.Module, found: dict[str, Tensor]) -> None:
    """Store mean and unbiased variance of what was added up."""
    for name, norm in stored(network).items():
        count, total, squares = found[name]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0) * count / (count - 1).clamp(min=1)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _l1(
    network: nn.Module, config: Config, pairs: PairedDataset, *, encoder: nn.Module | None
) -> float:
    translator = Translator(network, config, encoder=encoder)
    values = []
    for index in spread_over(len(pairs), JUDGED):
        sample = pairs[index]
        picture = translator.translate_sample(sample)
        values.append(float(l1(picture[None], sample["target"][None].float())))
    return sum(values) / len(values)


def spread_over(length: int, count: int) -> list[int]:
    """Return at most `count` indices, evenly over `length`."""
    return sorted({index * length // min(count, length) for index in range(min(count, length))})
