"""Augmentation of pairs: one draw moves all fields of a sample alike.

What moves pixels moves source, target, masks and maps together: pictures are interpolated
bilinearly and continued by reflection where nothing lies, ids and masks are taken from the nearest
pixel, and a mask counts nothing from beyond the picture. Directions that pixels encode (the vectors
of a normal map, arrows, letters) do not turn with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from limner.settings import Section

_MESH = 4  # displacements of an elastic deformation a side, between which it is smooth


class AugmentSettings(Section):
    """What is drawn for each training pair beside the crop and data.flip; all off by itself."""

    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees; of windows that are no squares by 0 or 180."""
    vertical_flip: bool = False
    """Mirror half of the pairs from top to bottom."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Turn by up to so many degrees either way."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Enlarge or reduce by a factor of up to 1 + scale."""
    elastic: Annotated[float, Field(ge=0)] = 0.0
    """Shift pixels smoothly by up to so many pixels."""
    intensity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Change the source's contrast by up to this share and its brightness by half of it."""

    @property
    def moves(self) -> bool:
        """Whether pixels are interpolated."""
        return bool(self.rotation or self.scale or self.elastic)

    @property
    def off(self) -> bool:
        """Whether nothing is drawn at all."""
        return not (self.moves or self.quarter_turns or self.vertical_flip or self.intensity)


@dataclass(frozen=True)
class Moves:
    """What was drawn for one sample, the same for all its fields.

    `angle` in radians, `factor` enlarges, `mesh` holds displacements in pixels, 2 x M x M (across,
    down), `turns` are quarters counterclockwise; `contrast` and `brightness` are of the source.
    """

    angle: float
    factor: float
    mesh: Tensor
    turns: int
    upside_down: bool
    contrast: float
    brightness: float

    @property
    def displaced(self) -> bool:
        """Whether pixels are interpolated."""
        return bool(self.angle or self.factor != 1 or self.mesh.any())

    def sampled(
        self, field: Tensor, window: tuple[int, int, int, int], *, ids: bool, outside: bool = True
    ) -> Tensor:
        """Return a window (top, left, height, width) of a field C x H x W with its pixels moved.

        Args:
            field: floats, or numbers that floats hold exactly.
            window: what is cut out; it is moved about its centre, so that what lies around it
                comes in.
            ids: take the nearest pixel.
            outside: continue the field by reflection; else it is 0 beyond its border.
        """
        top, left, height, width = window
        centre_y, centre_x = top + (height - 1) / 2, left + (width - 1) / 2
        y = torch.arange(height, device=field.device, dtype=torch.float64) + top - centre_y
        x = torch.arange(width, device=field.device, dtype=torch.float64) + left - centre_x
        y, x = torch.meshgrid(y, x, indexing="ij")
        cos, sin = math.cos(self.angle) / self.factor, math.sin(self.angle) / self.factor
        shift = F.interpolate(
            self.mesh[None].to(y), (height, width), mode="bicubic", align_corners=True
        )[0]
        across = centre_x + cos * x - sin * y + shift[0]
        down = centre_y + sin * x + cos * y + shift[1]
        rows, columns = field.shape[-2:]
        if ids:
            across, down = across.round(), down.round()
        grid = torch.stack(
            [(2 * across + 1) / columns - 1, (2 * down + 1) / rows - 1], dim=-1
        )  # pixels are squares, whose centres lie half a pixel within
        moved = F.grid_sample(
            field[None].double(),
            grid[None],
            mode="nearest" if ids else "bilinear",
            padding_mode="reflection" if outside else "zeros",
            align_corners=False,
        )[0]
        return moved.to(field.dtype)

    def turned(self, field: Tensor) -> Tensor:
        """Return a field ... x H x W turned by quarters and perhaps mirrored top to bottom."""
        if field.dtype == torch.uint16:  # torch turns no uint16
            return self.turned(field.view(torch.int16)).view(torch.uint16)
        field = field.flip(-2) if self.upside_down else field
        return torch.rot90(field, self.turns, (-2, -1)).contiguous() if self.turns else field

    def jittered(self, source: Tensor) -> Tensor:
        """Return a source in [-1, 1] with its contrast and brightness changed, clipped."""
        if self.contrast == 1 and self.brightness == 0:
            return source
        return (source * self.contrast + self.brightness).clamp(-1, 1)


def draw_moves(
    rng: np.random.Generator, settings: AugmentSettings, *, size: tuple[int, int]
) -> Moves:
    """Draw what is done to one sample whose window has (height, width) = `size`.

    As many numbers are drawn whatever is switched on, so that one kind changes no other.
    """
    numbers = rng.uniform(-1, 1, size=7)
    mesh = rng.uniform(-1, 1, size=(2, _MESH, _MESH)) * settings.elastic
    quarter = int(rng.integers(4))
    step = 1 if size[0] == size[1] else 2
    return Moves(
        angle=math.radians(settings.rotation) * float(numbers[0]),
        factor=float((1 + settings.scale) ** numbers[1]),
        mesh=torch.from_numpy(mesh),
        turns=quarter * step % 4 if settings.quarter_turns else 0,
        upside_down=bool(settings.vertical_flip and numbers[2] < 0),
        contrast=1 + settings.intensity * float(numbers[3]),
        brightness=settings.intensity / 2 * float(numbers[4]),
    )
