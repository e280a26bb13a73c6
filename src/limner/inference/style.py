"""The style in which a generator with an encoder makes pictures: another picture's, or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import Config
from limner.data import as_channels, decode, to_float
from limner.errors import ConfigError, DataError


def latent_of(config: Config) -> int:
    """Return the length of the style code that a run's generator takes, 0 where it takes none."""
    return config.generator.code


def draw_codes(count: int, latent: int, *, seed: int) -> Tensor:
    """Draw style codes N x latent from N(0, 1); the k-th is the same whatever `count` is."""
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(latent, generator=rng) for _ in range(count)])


def check_style(config: Config, *, style: bool = False, samples: bool = False) -> None:
    """Refuse a style that a run's generator does not take, before work starts.

    Args:
        config: the run's settings.
        style: whether a picture's style is asked for.
        samples: whether drawn styles are.

    Raises:
        ConfigError: with what to do instead.
    """
    features = config.encoder is not None and config.encoder.maps
    if style and samples:
        raise ConfigError("--style and --samples: give one, a picture's style or drawn ones")
    if style and config.encoder is None:
        raise ConfigError(
            "--style needs a run with an encoder, and this one has none: leave it out, or train "
            "one with --preset spade-vae"
        )
    if samples and not latent_of(config):
        raise ConfigError(
            "--samples needs a run whose generator takes a style code, and this one's does not: "
            "leave it out, or train one with --preset spade-vae"
        )
    if features and not style:
        raise ConfigError(
            "this run's generator takes the features of a picture: give one with --style"
        )


def read_style(config: Config, path: Path) -> Tensor:
    """Return the picture whose style is wanted, 1 x C x H x W in [-1, 1].

    An encoder of codes is shown it in the size of the training's pictures, where those were
    resized: it has never seen a finer one.

    Raises:
        DataError: it cannot be read, or has other channels than the run's targets.
    """
    image = as_channels(
        decode(path), config.data.channels[1], convert=config.data.convert, path=path
    )
    span = config.data.spans[1]
    style = (to_float(image) if span is None else span.to_network(image, path=path)[0])[None]
    seen_resized = latent_of(config) and config.data.mode in ("resize_crop", "resize")
    return fitted(style, config.data.size) if seen_resized else style


def fitted(style: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a picture, N x C x H x W in [-1, 1], to the size of what is to have its features."""
    if tuple(style.shape[-2:]) == tuple(size):
        return style
    resized = F.interpolate(style, tuple(size), mode="bicubic", antialias=True)
    return resized.clamp(-1, 1)


def mean_code(encoder: nn.Module, style: Tensor, *, count: int) -> Tensor:
    """Return the mean code of pictures as N x latent; one picture serves all N.

    Raises:
        DataError: there are neither one nor N of them.
    """
    mean, _ = encoder(style)
    if len(mean) not in (1, count):
        raise DataError(f"{len(mean)} pictures of style for {count} sources: give one, or one each")
    return mean.expand(count, -1)
