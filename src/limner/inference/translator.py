"""The Translator: a trained generator at work on pictures of any size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.config import Config, read_config
from limner.data import Sample, expand
from limner.errors import DataError
from limner.inference.checkpoints import checkpoint_folder, load_weights
from limner.networks import make_generator


@contextlib.contextmanager
def as_for_pictures(network: nn.Module, *, statistics: str, dropout: bool) -> Iterator[nn.Module]:
    """Put a network in the mode in which it makes pictures; restore it as it was on leaving.

    Args:
        network: any generator.
        statistics: "running" for batch norm's statistics of training, "batch" for those of what
            is being translated; the running ones are never changed.
        dropout: whether dropout stays on.
    """
    before = {module: module.training for module in network.modules()}
    tracking = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    network.eval()
    try:
        for module in network.modules():
            if dropout and isinstance(module, nn.modules.dropout._DropoutNd):
                module.train()
        if statistics == "batch":
            for module in tracking:
                module.train()
                module.track_running_stats = False
        with torch.inference_mode():
            yield network
    finally:
        for module in tracking:
            module.track_running_stats = True
        for module, training in before.items():
            module.training = training


class Translator:
    """A generator with what it takes to use it on pictures of any size.

    Calling it maps a source N x C x H x W in [-1, 1] (a label map N x H x W for a run on these) to
    a picture of the same height and width. Sides that do not divide by the generator's `multiple`
    are padded, pictures by reflection and label maps by their border, and the result is cropped
    back. The same input gives the same output on the same machine, dropout or
    not, whatever else is in the batch.
    """

    def __init__(self, generator: nn.Module, config: Config, *, seed: int = 0) -> None:
        self.generator = generator
        self.config = config
        self.seed = seed
        settings = config.inference
        # Where pictures would see each other's statistics or noise, they go one by one.
        self.alone = settings.dropout or settings.statistics == "batch"

    @classmethod
    def load(
        cls, run: Path | str, *, checkpoint: str = "best", device: str | torch.device = "cpu"
    ) -> Translator:
        """Load a run's generator (the running average where it kept one).

        Raises:
            CheckpointError, ConfigError: the run is not one, or its files are damaged.
        """
        run = Path(run)
        folder = checkpoint_folder(run, checkpoint)
        config = read_config(run / "config.yaml")
        generator = make_generator(
            **config.generator.model_dump(exclude={"init", "init_gain"}),
            in_channels=config.source_channels,
            out_channels=config.data.channels[1],
        )
        averaged = folder / "generator_ema.safetensors"
        load_weights(generator, averaged if averaged.exists() else folder / "generator.safetensors")
        translator = cls(generator.to(device), config)
        translator.checkpoint = folder.name
        return translator

    checkpoint: str = ""
    """The name of the checkpoint that was loaded; empty for a generator in training."""

    @property
    def device(self) -> torch.device:
        """Where the generator lies."""
        return next(self.generator.parameters()).device

    def __call__(self, source: Tensor, instance: Tensor | None = None) -> Tensor:
        """Translate N x C x H x W in [-1, 1], or label maps N x H x W.

        Args:
            source: pictures, or integers: the ids that `data.labels` of the run's settings names.
            instance: instance ids, N x H x W, where the run learnt from their edges.

        Raises:
            DataError: the channels are not those that the generator was trained on, an id has no
                channel, or instances are lacking.
        """
        multiple = int(self.generator.multiple)  # pyright: ignore[reportArgumentType]
        height, width = source.shape[-2:]
        if self.config.data.labels is None:
            padded, box = pad_to_multiple(self._checked(source), multiple)
        else:
            padded, box = self._expanded(source, instance, multiple)
        parameter = next(self.generator.parameters())
        padded = padded.to(parameter)
        settings = self.config.inference
        with (
            as_for_pictures(
                self.generator, statistics=settings.statistics, dropout=settings.dropout
            ) as network,
            torch.random.fork_rng(enabled=settings.dropout),
        ):
            pictures = []
            for part in padded.split(1 if self.alone else len(padded)):
                if settings.dropout:
                    torch.manual_seed(self.seed)
                pictures.append(network(part))
        picture = torch.cat(pictures)
        return picture[..., box[0] : box[0] + height, box[1] : box[1] + width]

    def of(self, sample: Sample) -> Tensor:
        """Translate one sample of a data set; returns float32 C x H x W on the CPU."""
        instance = sample.get("instance")
        picture = self(sample["source"][None], None if instance is None else instance[None])
        return picture[0].float().cpu()

    def _checked(self, source: Tensor) -> Tensor:
        expected = self.config.data.channels[0]
        if source.dim() != 4 or source.shape[1] != expected:
            raise DataError(
                f"the source is {'x'.join(map(str, source.shape))} where this run takes "
                f"Nx{expected}xHxW: give images of {expected} channels"
            )
        return source

    def _expanded(
        self, source: Tensor, instance: Tensor | None, multiple: int
    ) -> tuple[Tensor, tuple[int, int]]:
        """Return label maps padded and expanded, and where they lie within the padding."""
        expansion = self.config.expansion
        if source.dim() != 3 or source.is_floating_point():
            raise DataError(
                f"the source is {'x'.join(map(str, source.shape))} of {source.dtype} where this "
                "run takes label maps, integers NxHxW: give class ids, not pictures"
            )
        padded, box = pad_to_multiple(source.cpu(), multiple, border="repeat")
        around = None
        if expansion["edges"] and instance is not None:
            around, _ = pad_to_multiple(instance.cpu(), multiple, border="repeat")
        return expand(padded, around, **expansion).to(self.device), box


def pad_to_multiple(
    images: Tensor, multiple: int, *, border: str = "reflect"
) -> tuple[Tensor, tuple[int, int]]:
    """Pad ... x H x W on all sides until height and width divide by `multiple`.

    The border is continued by reflection, repeated as often as a small image needs, or ("repeat")
    by its last pixels.

    Returns:
        The padded images, and the top and left of the original within them.
    """
    height, width = images.shape[-2:]
    extra = (-height % multiple, -width % multiple)
    top, left = extra[0] // 2, extra[1] // 2
    if extra == (0, 0):
        return images, (0, 0)
    continued = _BORDERS[border]
    rows = continued(torch.arange(-top, height + extra[0] - top), height)
    columns = continued(torch.arange(-left, width + extra[1] - left), width)
    return images[..., rows[:, None], columns[None, :]], (top, left)


def _reflected(positions: Tensor, length: int) -> Tensor:
    """Map positions beyond 0..length-1 to where repeated mirrors (edge not doubled) show them."""
    if length == 1:
        return torch.zeros_like(positions)
    period = 2 * (length - 1)
    within = positions % period
    return torch.where(within < length, within, period - within)


_BORDERS = {
    "reflect": _reflected,
    "repeat": lambda positions, length: positions.clamp(0, length - 1),
}


def to_bytes(picture: Tensor) -> Tensor:
    """Round pictures in [-1, 1] to 8 bits, the way they are written to files and measured."""
    return ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
