"""pix2pixHD's generators, coarse and fine (Wang et al. 2018, section 3.1)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from limner.errors import CheckpointError
from limner.networks.layers import (
    GeneratorSettings,
    Stage,
    check_image,
    checkpointed,
    conv_bias,
    in_stages,
    numbered,
)
from limner.networks.patch import halved
from limner.networks.resnet import (
    PaddingMode,
    ResidualBlock,
    down_stage,
    first_stage,
    last_stage,
    padding_mode,
    up_stage,
)
from limner.settings import Norm, PositiveInt


def residual_blocks(
    channels: int, count: int, *, norm: str, padding: PaddingMode, bias: bool
) -> nn.Sequential:
    """Return `count` residual blocks."""
    blocks = (
        ResidualBlock(channels, norm=norm, dropout=nn.Identity(), padding=padding, bias=bias)
        for _ in range(count)
    )
    return nn.Sequential(*blocks)


def smallest_side(multiple: int) -> int:
    """Sides that leave two pixels to reflect and to normalise, and 7x7 kernels four."""
    return max(4, 2 * multiple)


class Trunk(nn.Module):
    """Halve `downs` times, pass the blocks, double as often: to N x width x H x W features."""

    def __init__(
        self,
        *,
        in_channels: int,
        width: int,
        downs: int,
        blocks: int,
        norm: str,
        padding: PaddingMode,
        bias: bool,
        activation_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        widths = [width * 2**level for level in range(downs)]
        inside = width * 2**downs
        self.first = first_stage(in_channels, width, norm=norm, padding=padding, bias=bias)
        self.downs = nn.Sequential(*(down_stage(c, norm=norm, bias=bias) for c in widths))
        self.blocks = residual_blocks(inside, blocks, norm=norm, padding=padding, bias=bias)
        self.ups = nn.Sequential(*(up_stage(c, norm=norm, bias=bias) for c in reversed(widths)))

    def trunk_stages(self, prefix: str = "") -> list[Stage]:
        """Return what halves, the residual blocks, what doubles; `prefix` is before their names."""
        return [
            *in_stages("encoder", f"{prefix}first", *numbered(f"{prefix}downs", self.downs)),
            *in_stages("blocks", *numbered(f"{prefix}blocks", self.blocks)),
            *in_stages("decoder", *numbered(f"{prefix}ups", self.ups)),
        ]

    def features(self, image: Tensor) -> Tensor:
        """Return N x width x H x W."""
        hidden = image
        for stage in (self.first, *self.downs, *self.blocks, *self.ups):
            hidden = checkpointed(stage, hidden, enabled=self.activation_checkpointing)
        return hidden


class GlobalGenerator(Trunk):
    """pix2pixHD's global generator G1: a residual network of `downs` halvings.

    Input N x in_channels x H x W, output N x out_channels x H x W in [-1, 1]; H and W are
    multiples of `multiple`, 2 ** downs, and at least twice that. With 36 inputs, `width=64,
    downs=4, blocks=9` it has 182,546,755 parameters.

    `padding` (a name in resnet.PADDINGS) is that of the 7x7 convolutions and of the blocks;
    `bias` is that of the convolutions within, None gives them one where the norm has none.
    `activation_checkpointing` trades time for memory and changes no result.

    Raises:
        ConfigError: an unknown norm or padding.
        DataError: in `forward`, for images of the wrong size or number of channels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        downs: int = 4,
        blocks: int = 9,
        norm: str = "instance",
        padding: str = "reflect",
        bias: bool | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        mode = padding_mode(padding)
        super().__init__(
            in_channels=in_channels,
            width=width,
            downs=downs,
            blocks=blocks,
            norm=norm,
            padding=mode,
            bias=conv_bias(norm, bias),
            activation_checkpointing=activation_checkpointing,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.multiple = 2**downs
        self.smallest = smallest_side(self.multiple)
        self.last = last_stage(width, out_channels, padding=mode)

    def stages(self) -> list[Stage]:
        """Return the trunk's stages and the last layer."""
        return [*self.trunk_stages(), *in_stages("decoder", "last")]

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        check_image(
            image,
            channels=self.in_channels,
            multiple=self.multiple,
            smallest=self.smallest,
            network="pix2pixHD generator",
            cure=", or lower generator.downs",
        )
        return checkpointed(self.last, self.features(image), enabled=self.activation_checkpointing)


class Enhancer(nn.Module):
    """Halve the image once, add the features of the generator within, double: G2's two halves."""

    def __init__(
        self,
        *,
        in_channels: int,
        width: int,
        blocks: int,
        norm: str,
        padding: PaddingMode,
        bias: bool,
        activation_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        self.first = first_stage(in_channels, width, norm=norm, padding=padding, bias=bias)
        self.down = down_stage(width, norm=norm, bias=bias)
        self.blocks = residual_blocks(2 * width, blocks, norm=norm, padding=padding, bias=bias)
        self.up = up_stage(width, norm=norm, bias=bias)

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        """Return N x width x H x W of `image` and N x 2 width x H/2 x W/2 of what is within."""
        hidden = checkpointed(self.first, image, enabled=self.activation_checkpointing)
        hidden = checkpointed(self.down, hidden, enabled=self.activation_checkpointing) + coarse
        for stage in (*self.blocks, self.up):
            hidden = checkpointed(stage, hidden, enabled=self.activation_checkpointing)
        return hidden


class LocalEnhancer(nn.Module):
    """pix2pixHD's coarse-to-fine generator: a global one within `enhancers` local ones.

    Input N x in_channels x H x W, output N x out_channels x H x W in [-1, 1]; H and W are
    multiples of `multiple`, 2 ** (downs + enhancers), and at least twice that. The global part
    sees the image halved `enhancers` times and has width * 2 ** enhancers filters. With 36
    inputs, `width=32, downs=4, blocks=9, enhancers=1, local_blocks=3` it has 182,857,059
    parameters. The other keywords are the global generator's.

    Training goes from coarse to fine (section 3.1): train a `GlobalGenerator`, take its weights
    over with `start_from`, train the outermost enhancer alone after `fix_global`, then all.

    Raises:
        ConfigError: an unknown norm or padding.
        DataError: in `forward`, for images of the wrong size or number of channels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 32,
        downs: int = 4,
        blocks: int = 9,
        enhancers: int = 1,
        local_blocks: int = 3,
        norm: str = "instance",
        padding: str = "reflect",
        bias: bool | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        mode = padding_mode(padding)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.multiple = 2 ** (downs + enhancers)
        self.smallest = smallest_side(self.multiple)
        self.activation_checkpointing = activation_checkpointing
        has_bias = conv_bias(norm, bias)
        self.coarse = Trunk(
            in_channels=in_channels,
            width=width * 2**enhancers,
            downs=downs,
            blocks=blocks,
            norm=norm,
            padding=mode,
            bias=has_bias,
            activation_checkpointing=activation_checkpointing,
        )
        self.enhancers = nn.ModuleList(  # from the innermost outwards
            Enhancer(
                in_channels=in_channels,
                width=width * 2**level,
                blocks=local_blocks,
                norm=norm,
                padding=mode,
                bias=has_bias,
                activation_checkpointing=activation_checkpointing,
            )
            for level in reversed(range(enhancers))
        )
        self.last = last_stage(width, out_channels, padding=mode)

    def stages(self) -> list[Stage]:
        """Return the stages of the global part, of each enhancer, and the last layer."""
        stages = self.coarse.trunk_stages("coarse.")
        for enhancer in numbered("enhancers", self.enhancers):
            stages += in_stages("encoder", f"{enhancer}.first", f"{enhancer}.down")
            stages += in_stages("decoder", f"{enhancer}.blocks", f"{enhancer}.up")
        return [*stages, *in_stages("decoder", "last")]

    def forward(self, image: Tensor) -> Tensor:
        """Translate `image`, N x in_channels x H x W."""
        check_image(
            image,
            channels=self.in_channels,
            multiple=self.multiple,
            smallest=self.smallest,
            network="pix2pixHD generator",
            cure=", or lower generator.downs",
        )
        pyramid = [image]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        hidden = self.coarse.features(pyramid.pop())
        for enhancer in self.enhancers:
            hidden = enhancer(pyramid.pop(), hidden)
        return checkpointed(self.last, hidden, enabled=self.activation_checkpointing)

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Take over what a trained generator of lower resolution learnt, all but its last layer.

        `state` is the state dict of a `GlobalGenerator` of width * 2 ** enhancers filters, or of a
        `LocalEnhancer` with fewer enhancers, of so much more width and with the same global part.

        Raises:
            CheckpointError: it does not fit; nothing was changed.
        """
        coarse_only = not any(name.startswith("coarse.") for name in state)
        prefix = "coarse." if coarse_only else ""
        own = self.state_dict()
        taken = {prefix + n: value for n, value in state.items() if not n.startswith("last.")}
        strange = [n for n, v in taken.items() if n not in own or own[n].shape != v.shape]
        lacking = [n for n in own if n.startswith("coarse.") and n not in taken]
        if strange or lacking:
            raise CheckpointError(
                f"these weights do not fit into the global part at {(strange + lacking)[0]}: it "
                "needs the same downs, blocks and norm, and twice the width for each enhancer more"
            )
        self.load_state_dict(own | taken)

    def fix_global(self, fixed: bool = True) -> None:
        """Keep all but the outermost enhancer and the last layer from learning, or let them again.

        Under several processes, wrap the network anew afterwards: they agree on what learns when
        they start.
        """
        for name, parameter in self.named_parameters():
            outermost = name.startswith((f"enhancers.{len(self.enhancers) - 1}.", "last."))
            parameter.requires_grad_(outermost or not fixed)


class Pix2PixHDSettings(GeneratorSettings):
    """The global generator (Wang et al. 2018, section 3.1), whole by itself up to about 1024."""

    network: ClassVar[type[nn.Module]] = GlobalGenerator

    name: Literal["pix2pixhd"]
    """The network."""
    width: PositiveInt = 64
    """Filters of the first layer (ngf)."""
    downs: PositiveInt = 4
    """Halvings; sides must be multiples of 2 ** downs."""
    blocks: PositiveInt = 9
    """Residual blocks."""
    norm: Norm = "instance"
    """Normalisation."""
    bias: bool | None = None
    """Whether inner convolutions have a bias; None means where the norm has none."""
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    """How convolutions see beyond the border."""
    activation_checkpointing: bool = False
    """Keep fewer features for the backward pass and compute them again: less memory, more time."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2**self.downs


class Pix2PixHDLocalSettings(Pix2PixHDSettings):
    """The global generator within local enhancers, each of twice the resolution (section 3.1)."""

    network: ClassVar[type[nn.Module]] = LocalEnhancer
    coarse_to_fine: ClassVar[bool] = True

    name: Literal["pix2pixhd-local"]  # pyright: ignore[reportIncompatibleVariableOverride]
    """The network."""
    width: PositiveInt = 32
    """Filters of the outermost enhancer (ngf); the global part has width * 2 ** enhancers."""
    downs: PositiveInt = 4
    """Halvings of the global part; sides must be multiples of 2 ** (downs + enhancers)."""
    blocks: PositiveInt = 9
    """Residual blocks of the global part."""
    enhancers: PositiveInt = 1
    """Local enhancers."""
    local_blocks: PositiveInt = 3
    """Residual blocks of each enhancer."""

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return 2 ** (self.downs + self.enhancers)
