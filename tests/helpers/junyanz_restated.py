"""The networks of pytorch-CycleGAN-and-pix2pix, stated a second time: names, shapes, function.

Independent of limner: plain functions of a state dict in that project's names, written from the
architecture's description, to hold the imported networks against where the golden files are not.
All in float64, so that rounding has no part in a comparison.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


class Drawn:
    """Draws the weights of one network under that project's names."""

    def __init__(self, norm: str, seed: int) -> None:
        self.norm = norm
        self.rng = torch.Generator().manual_seed(seed)
        self.state: State = {}

    def tensor(self, name: str, *shape: int, centre: float = 0.0, spread: float = 0.2) -> None:
        drawn = torch.randn(*shape, generator=self.rng, dtype=torch.float64)
        self.state[name] = centre + spread * drawn

    def conv_at(self, name: str, *shape: int, outputs: int, bias: bool | None = None) -> None:
        # As large as keeps signals of order 1, so that no output is saturated.
        spread = (0.8 / (shape[1] * shape[2] * shape[3])) ** 0.5
        self.tensor(f"{name}.weight", *shape, spread=spread)
        if self.norm == "instance" if bias is None else bias:
            self.tensor(f"{name}.bias", outputs)

    def norm_at(self, name: str, channels: int) -> None:
        if self.norm == "batch":
            self.tensor(f"{name}.weight", channels, centre=1.0)
            self.tensor(f"{name}.bias", channels)
            self.tensor(f"{name}.running_mean", channels)
            self.tensor(f"{name}.running_var", channels, spread=0.0)
            self.state[f"{name}.running_var"] += torch.linspace(0.5, 2, channels)
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(11)


def draw_unet(depth: int, *, width: int, norm: str, seed: int = 0) -> State:
    drawn = Drawn(norm, seed)
    channels = [width * min(2**k, 8) for k in range(depth)]

    def inner(prefix: str, level: int) -> None:
        outside, inside = channels[level - 1], channels[level]
        drawn.conv_at(f"{prefix}.1", inside, outside, 4, 4, outputs=inside)
        if level == depth - 1:
            drawn.conv_at(f"{prefix}.3", inside, outside, 4, 4, outputs=outside)
            drawn.norm_at(f"{prefix}.4", outside)
        else:
            drawn.norm_at(f"{prefix}.2", inside)
            inner(f"{prefix}.3.model", level + 1)
            drawn.conv_at(f"{prefix}.5", 2 * inside, outside, 4, 4, outputs=outside)
            drawn.norm_at(f"{prefix}.6", outside)

    drawn.conv_at("model.model.0", width, 3, 4, 4, outputs=width)
    inner("model.model.1.model", 1)
    drawn.conv_at("model.model.3", 2 * width, 3, 4, 4, outputs=3, bias=True)
    return drawn.state


def draw_resnet(blocks: int, *, width: int, norm: str, dropout: bool, seed: int = 0) -> State:
    drawn = Drawn(norm, seed)
    w = width
    drawn.conv_at("model.1", w, 3, 7, 7, outputs=w)
    drawn.norm_at("model.2", w)
    for index, before in ((4, w), (7, 2 * w)):
        drawn.conv_at(f"model.{index}", 2 * before, before, 3, 3, outputs=2 * before)
        drawn.norm_at(f"model.{index + 1}", 2 * before)
    for block in range(blocks):
        for index in (1, 6 if dropout else 5):
            name = f"model.{10 + block}.conv_block"
            drawn.conv_at(f"{name}.{index}", 4 * w, 4 * w, 3, 3, outputs=4 * w)
            drawn.norm_at(f"{name}.{index + 1}", 4 * w)
    for index, before in ((10 + blocks, 4 * w), (13 + blocks, 2 * w)):
        drawn.conv_at(f"model.{index}", before, before // 2, 3, 3, outputs=before // 2)
        drawn.norm_at(f"model.{index + 1}", before // 2)
    drawn.conv_at(f"model.{17 + blocks}", 3, w, 7, 7, outputs=3, bias=True)
    return drawn.state


def draw_patch(layers: int, *, width: int, norm: str, seed: int = 0) -> State:
    drawn = Drawn(norm, seed)
    channels = [width * min(2**k, 8) for k in range(layers + 1)]
    drawn.conv_at("model.0", width, 6, 4, 4, outputs=width, bias=True)
    for k in range(1, layers + 1):
        drawn.conv_at(f"model.{3 * k - 1}", channels[k], channels[k - 1], 4, 4, outputs=channels[k])
        drawn.norm_at(f"model.{3 * k}", channels[k])
    drawn.conv_at(f"model.{3 * layers + 2}", 1, channels[-1], 4, 4, outputs=1, bias=True)
    return drawn.state


def draw_pixel(*, width: int, norm: str, seed: int = 0) -> State:
    drawn = Drawn(norm, seed)
    drawn.conv_at("net.0", width, 6, 1, 1, outputs=width, bias=True)
    drawn.conv_at("net.2", 2 * width, width, 1, 1, outputs=2 * width)
    drawn.norm_at("net.3", 2 * width)
    drawn.conv_at("net.5", 1, 2 * width, 1, 1, outputs=1)
    return drawn.state


class Restated:
    """Computes from a state dict; `training` normalises with the batch's own statistics."""

    def __init__(self, state: State, norm: str, *, training: bool = False) -> None:
        self.state, self.kind, self.training = state, norm, training

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)

    def conv_up(self, name: str, x: Tensor, output_padding: int = 0) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return F.conv_transpose2d(
            x, weight, bias, stride=2, padding=1, output_padding=output_padding
        )

    def norm(self, name: str, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        axes = (2, 3) if self.kind == "instance" else (0, 2, 3)
        mean, var = x.mean(axes, True), x.var(axes, correction=0, keepdim=True)
        if self.kind == "instance":
            return (x - mean) / torch.sqrt(var + 1e-5)

        def column(leaf: str) -> Tensor:
            return self.state[f"{name}.{leaf}"][None, :, None, None]

        if not self.training:
            mean, var = column("running_mean"), column("running_var")
        return (x - mean) / torch.sqrt(var + 1e-5) * column("weight") + column("bias")

    def unet(self, image: Tensor, *, silent: bool = False) -> Tensor:
        """`silent` puts zeros where dropout stands, which is what dropping everything does."""

        def level(prefix: str, x: Tensor) -> Tensor:
            x = F.leaky_relu(x, 0.2)
            inside = self.conv(f"{prefix}.1", x, stride=2, padding=1)
            if f"{prefix}.5.weight" in self.state:
                inside = level(f"{prefix}.3.model", self.norm(f"{prefix}.2", inside))
                up = self.norm(f"{prefix}.6", self.conv_up(f"{prefix}.5", F.relu(inside)))
                same_width = self.state[f"{prefix}.1.weight"].shape[:2]
                if silent and same_width[0] == same_width[1]:
                    up = torch.zeros_like(up)
            else:
                up = self.norm(f"{prefix}.4", self.conv_up(f"{prefix}.3", F.relu(inside)))
            return torch.cat([x, up], dim=1)

        x = level("model.model.1.model", self.conv("model.model.0", image, stride=2, padding=1))
        return torch.tanh(self.conv_up("model.model.3", F.relu(x)))

    def resnet(self, image: Tensor, blocks: int, *, dropout: bool) -> Tensor:
        def mirrored(x: Tensor, side: int) -> Tensor:
            return F.pad(x, (side,) * 4, mode="reflect")

        x = F.relu(self.norm("model.2", self.conv("model.1", mirrored(image, 3))))
        for i in (4, 7):
            x = F.relu(self.norm(f"model.{i + 1}", self.conv(f"model.{i}", x, 2, 1)))
        for block in range(blocks):
            name, second = f"model.{10 + block}.conv_block", 6 if dropout else 5
            y = F.relu(self.norm(f"{name}.2", self.conv(f"{name}.1", mirrored(x, 1))))
            y = self.conv(f"{name}.{second}", mirrored(y, 1))
            x = x + self.norm(f"{name}.{second + 1}", y)
        for i in (10 + blocks, 13 + blocks):
            x = F.relu(self.norm(f"model.{i + 1}", self.conv_up(f"model.{i}", x, 1)))
        return torch.tanh(self.conv(f"model.{17 + blocks}", mirrored(x, 3)))

    def patch(self, image: Tensor, layers: int) -> list[Tensor]:
        outputs = [F.leaky_relu(self.conv("model.0", image, 2, 1), 0.2)]
        for k in range(1, layers + 1):
            x = self.conv(f"model.{3 * k - 1}", outputs[-1], 2 if k < layers else 1, 1)
            outputs.append(F.leaky_relu(self.norm(f"model.{3 * k}", x), 0.2))
        return [*outputs, self.conv(f"model.{3 * layers + 2}", outputs[-1], 1, 1)]

    def pixel(self, image: Tensor) -> list[Tensor]:
        first = F.leaky_relu(self.conv("net.0", image), 0.2)
        second = F.leaky_relu(self.norm("net.3", self.conv("net.2", first)), 0.2)
        return [first, second, self.conv("net.5", second)]
