"""The encoder-decoder with skip connections: pix2pix's generator (Isola et al. 2017, 6.1.1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.errors import ConfigError, DataError, unknown_name
from limner.networks.cpu_speed import Conv2d, ConvTranspose2d, concatenated
from limner.networks.layers import (
    GeneratorSettings,
    Stage,
    check_image,
    conv_bias,
    dropout_layer,
    in_stages,
    numbered,
)
from limner.networks.normalisation import norm_layer
from limner.settings import Fraction, Norm, PositiveInt

DEEPEST = 8
"""Halvings of the published network; deeper ones bring parameters and nothing to see."""


SHALLOWEST = 5
"""Halvings below which a depth derived for pictures of 64 pixels and more is taken for a mishap."""


JoinName = Literal["concat", "add", "multiply"]


@dataclass(frozen=True)
class Join:
    """How the encoder's features meet the decoder's at one level, both N x C x H x W.

    `widening` is the number of channels that come out, in units of C.
    """

    join: Callable[[Tensor, Tensor], Tensor]
    widening: int


JOINS: dict[str, Join] = {
    "concat": Join(concatenated, widening=2),
    "add": Join(torch.add, widening=1),
    "multiply": Join(torch.mul, widening=1),
}
"""Isola et al. 2017 concatenate; adding and multiplying are Asher, Bechhofer and Berman's."""

PATTERNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in JOINS},
    "alternating": ("concat", "multiply"),
}
"""What one word for all joins stands for: repeated from the outermost join inwards."""


def joins_for(skips: str | Sequence[str], *, depth: int) -> tuple[str, ...]:
    """Return the name of each of a U-Net's depth - 1 joins, from the outermost inwards.

    `skips` is a key of `PATTERNS`, or the list itself.

    Raises:
        ConfigError: a name is unknown, or the list is not of that length.
    """
    count = depth - 1
    if isinstance(skips, str):
        if skips not in PATTERNS:
            raise unknown_name("skip connection", skips, PATTERNS)
        pattern = PATTERNS[skips]
        return tuple(pattern[level % len(pattern)] for level in range(count))
    for name in skips:
        if name not in JOINS:
            raise unknown_name("skip connection", name, JOINS)
    if len(skips) != count:
        raise ConfigError(
            f"generator.skips lists {len(skips)} joins: a U-Net of depth {depth} has {count}, "
            "so list as many, from the outermost inwards, or give one word for all"
        )
    return tuple(skips)


def depth_for(size: tuple[int, int]) -> int:
    """Return the depth fitted to training images of `size` (height, width).

    As many halvings as leave no remainder, at most 8: 256 gives 8 and 128 gives 7. One more would
    leave nothing to normalise: batch norm refuses a single value a channel.

    Raises:
        DataError: a side is not divisible by 4, so that not even the smallest U-Net takes it.
    """
    height, width = size
    depth = 0
    while depth < DEEPEST and height % 2 ** (depth + 1) == 0 and width % 2 ** (depth + 1) == 0:
        depth += 1
    if depth < 2 or min(size) < 1:
        near = [max(32, round(side / 32) * 32) for side in size]
        raise DataError(
            f"no U-Net takes images of {width}x{height} (width x height), both sides must be "
            f"multiples of 4 and better of 32: set data.size={near} (height, width)"
        )
    return depth


class UNet(nn.Module):
    """Halve `depth` times, double as often, and join each level's features on the way back.

    Input N x in_channels x H x W, output N x out_channels x H x W in [-1, 1]; H and W are
    multiples of `multiple`, 2 ** depth. Level k has width * min(2 ** k, max_width_factor)
    channels. Dropout follows the decoder levels that lie between the innermost one and those
    where the width changes: three at depth 8, one at depth 6, none below; with
    `dropout_innermost` it follows as many levels, beginning with the innermost.

    With `width=64, depth=8, norm="batch"` it is pix2pix's U-Net 256 of 54,413,955 parameters,
    and computes what pytorch-CycleGAN-and-pix2pix's computes: no norm on the first and the
    innermost convolution; the skip carries the features after the LeakyReLU.

    `bias` is that of the convolutions within; None gives them one where the norm has none.
    `skips` says how each level's features are joined, see `joins_for`; where they are added or
    multiplied the decoder's inputs are half as wide. With `rectify_last_skip=False` the ReLU
    before the last convolution acts on the decoder's features only, before they are joined; so
    it is in the study, whose U-Net of 54,419,459 parameters (39,080,963 with `add` or `multiply`)
    this is with `bias=True, dropout_kind="channel", dropout_innermost=True` besides.

    Raises:
        ConfigError: depth below 2, or an unknown norm, dropout or skip connection.
        DataError: in `forward`, for images of the wrong size or number of channels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        depth: int = DEEPEST,
        norm: str = "batch",
        dropout: float = 0.5,
        dropout_kind: str = "element",
        dropout_innermost: bool = False,
        max_width_factor: int = 8,
        bias: bool | None = None,
        skips: str | Sequence[str] = "concat",
        rectify_last_skip: bool = True,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ConfigError(f"generator.depth is {depth}: a U-Net needs at least 2 halvings")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.multiple = 2**depth
        self.skips = joins_for(skips, depth=depth)
        has_bias = conv_bias(norm, bias)
        widths = [width * min(2**level, max_width_factor) for level in range(depth)]

        self.downs = nn.ModuleList()
        for level, channels in enumerate(widths):
            before = widths[level - 1] if level else in_channels
            conv = Conv2d(before, channels, 4, stride=2, padding=1, bias=has_bias)
            bare = level in (0, depth - 1)
            normed = norm_layer("none" if bare else norm, channels)
            self.downs.append(nn.Sequential(OrderedDict(conv=conv, norm=normed)))

        self.ups = nn.ModuleList()  # from the innermost outwards
        for level in reversed(range(1, depth)):
            innermost = level == depth - 1
            shifted = level - 1 if dropout_innermost else level
            dropped = 0 < shifted < depth - 1 and widths[shifted] == widths[shifted - 1]
            widening = 1 if innermost else JOINS[self.skips[level]].widening
            inside = widening * widths[level]
            outside = widths[level - 1]
            self.ups.append(
                nn.Sequential(
                    OrderedDict(
                        relu=nn.ReLU(inplace=True),
                        conv=ConvTranspose2d(
                            inside, outside, 4, stride=2, padding=1, bias=has_bias
                        ),
                        norm=norm_layer(norm, outside),
                        dropout=dropout_layer(dropout_kind, dropout if dropped else 0.0),
                    )
                )
            )
        joined = JOINS[self.skips[0]].widening * widths[0]
        last = ConvTranspose2d(joined, out_channels, 4, stride=2, padding=1)
        rectified = nn.ReLU(inplace=True) if rectify_last_skip else nn.Identity()
        self.ups.append(nn.Sequential(OrderedDict(relu=rectified, conv=last)))
        self.before_last_join = nn.Identity() if rectify_last_skip else nn.ReLU(inplace=True)
        # In place: no convolution or norm before it keeps its output for the backward pass.
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def stages(self) -> list[Stage]:
        """Return the levels of the encoder, then those of the decoder."""
        down, up = numbered("downs", self.downs), numbered("ups", self.ups)
        return [*in_stages("encoder", *down), *in_stages("decoder", *up)]

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        check_image(
            image,
            channels=self.in_channels,
            multiple=self.multiple,
            network="U-Net",
            cure=", or lower generator.depth",
        )
        skips: list[Tensor] = []
        hidden = self.downs[0](image)
        for down in self.downs[1:]:
            hidden = self.activation(hidden)
            skips.append(hidden)
            hidden = down(hidden)
        hidden = self.ups[0](hidden)
        for up in self.ups[1:]:
            if len(skips) == 1:
                hidden = self.before_last_join(hidden)
            join = JOINS[self.skips[len(skips) - 1]].join
            # Popped, so that without gradients each level's features are freed once joined.
            hidden = up(join(skips.pop(), hidden))
        return torch.tanh(hidden)


class UNetSettings(GeneratorSettings):
    """The encoder-decoder with skip connections (Isola et al. 2017, section 3.2.1)."""

    network: ClassVar[type[nn.Module]] = UNet

    name: Literal["unet"] = "unet"
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    depth: Annotated[int, Field(ge=2)] | None = None
    """Number of halvings; None means as many as data.size allows, at most 8."""
    norm: Norm = "batch"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""
    dropout: Fraction = 0.5
    """Probability, in the innermost decoder levels of full width."""
    dropout_kind: Literal["element", "channel", "none"] = "element"
    """What is dropped: single values, whole channels, nothing."""
    dropout_innermost: bool = False
    """Whether dropout begins at the innermost decoder level, one further in, as in the study."""
    skips: Literal["concat", "add", "multiply", "alternating"] | tuple[JoinName, ...] = "concat"
    """How each level's features are joined; alternating is concat and multiply by turns. A list
    names the joins one by one, from the outermost inwards."""
    rectify_last_skip: bool = True
    """Whether the outermost skip passes the last ReLU too; in the study it does not."""

    @property
    def multiple(self) -> int | None:
        """What the sides of pictures must be multiples of; None while depth is not known."""
        return None if self.depth is None else 2**self.depth

    def fitted(self, size: tuple[int, int]) -> dict[str, object]:
        """Return the depth for pictures of `size`, where it is left open.

        100 pixels halve twice before they are odd, and a U-Net of two levels sees little more than
        single strokes; no one asks for that who asks for 100 pixels.

        Raises:
            ConfigError: the depth would be absurdly small.
        """
        if self.depth is not None:
            return {}
        depth = depth_for(size)
        if depth < SHALLOWEST and min(size) >= 2 * 2**SHALLOWEST:
            near = {tuple(max(m, round(side / m) * m) for side in size): None for m in (32, 128)}
            advice = " or ".join(
                f"data.size={list(sides)} ({depth_for(sides)} halvings)"  # pyright: ignore[reportArgumentType]
                for sides in near
            )
            raise ConfigError(
                f"data.size={list(size)} can be halved only {depth} times, which makes a U-Net too "
                f"shallow to see whole objects: set {advice}, or generator.depth={depth} if that "
                "is meant"
            )
        return {"depth": depth}
