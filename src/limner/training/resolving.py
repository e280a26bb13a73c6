"""Settings that were left open, derived from the others before a run begins."""

from __future__ import annotations

from limner.config import Config, PatchSettings, SPADESettings, UNetSettings, with_overrides
from limner.errors import ConfigError
from limner.networks import depth_for
from limner.networks.patch import shape_for_field
from limner.training.balance import check_balance

# Halvings below which a U-Net derived for pictures of 64 pixels and more is taken for a mishap.
SHALLOWEST = 5


def resolved(config: Config) -> Config:
    """Return `config` with everything that was left to be derived filled in.

    Raises:
        ConfigError: a size or a field that cannot be had, or weights that do not fit.
    """
    height, width = config.data.size
    derived = []
    if config.data.load_size is None:
        derived.append(f"data.load_size=[{round(height * 286 / 256)}, {round(width * 286 / 256)}]")
    if isinstance(config.generator, UNetSettings) and config.generator.depth is None:
        derived.append(f"generator.depth={_depth(config.data.size)}")
    if isinstance(config.generator, SPADESettings) and config.generator.size is None:
        derived.append(f"generator.size={list(config.data.size)}")
    for index, section in enumerate(config.discriminators):
        if isinstance(section, PatchSettings) and section.field is not None:
            layers, kernel = shape_for_field(section.field, last_stride=section.last_stride)
            derived += [
                f"discriminators.{index}.layers={layers}",
                f"discriminators.{index}.kernel={kernel}",
            ]
    if config.training.discriminator_lr is None:
        derived.append(f"training.discriminator_lr={config.training.lr}")
    check_balance(config)
    return with_overrides(config, derived)


def _depth(size: tuple[int, int]) -> int:
    """Return the U-Net's depth for a size; `ConfigError` where that makes it absurdly shallow.

    100 pixels halve twice before they are odd, and a U-Net of two levels sees little more than
    single strokes; no one asks for that who asks for 100 pixels.
    """
    depth = depth_for(size)
    if depth >= SHALLOWEST or min(size) < 2 * 2**SHALLOWEST:
        return depth
    near = {tuple(max(m, round(side / m) * m) for side in size): None for m in (32, 128)}
    advice = " or ".join(f"data.size={list(s)} ({depth_for(s)} halvings)" for s in near)  # pyright: ignore[reportArgumentType]
    raise ConfigError(
        f"data.size={list(size)} can be halved only {depth} times, which makes a U-Net too shallow "
        f"to see whole objects: set {advice}, or generator.depth={depth} if that is meant"
    )
