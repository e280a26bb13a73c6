"""The Translator: a trained generator at work on pictures of any size."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from limner.config import Config, read_config, replace
from limner.data import Sample, check_ids, expand
from limner.errors import CheckpointError, ConfigError, DataError, memory_errors
from limner.inference.backends import DEFAULT, built, lacking
from limner.inference.style import (
    check_style,
    draw_codes,
    fitted,
    latent_of,
    mean_code,
)
from limner.networks import FeatureEncoder
from limner.run import checkpoint_folder, generator_file, load_weights, read_checkpoint


class Translator:
    """A generator with what it takes to use it on pictures of any size.

    Calling it maps a source N x C x H x W in [-1, 1] (a label map N x H x W for a run on these) to
    a picture of the same height and width. Sides that do not divide by the generator's `multiple`
    are padded, pictures by reflection and label maps by their border, and the result is cropped
    back. The same input gives the same output on the same machine, dropout or
    not, whatever else is in the batch.

    `backend` (a name in `backends.BACKENDS`) says how: "eager" uses the generator as it stands,
    all others what they made of it when the translator was made. Where the processor lacks what a
    back end asks for, `DEFAULT` stands in and `note` says so.

    Raises:
        ConfigError: the back end is unknown, lacks its library or cannot do what the run asks for.
    """

    def __init__(
        self,
        generator: nn.Module,
        config: Config | None = None,
        *,
        encoder: nn.Module | None = None,
        seed: int = 0,
        backend: str = "eager",
    ) -> None:
        if not isinstance(generator, nn.Module) or config is None:
            raise ConfigError(
                f"a Translator is made of a network, not of {generator!r}: a run's is "
                "Translator.load(folder)"
            )
        settings = config.inference
        device = next(generator.parameters()).device
        self.note = lacking(backend, device)
        """Why another back end than the one asked for is at work; None where it is that one."""
        backend = DEFAULT if self.note else backend
        self.generator = built(
            generator,
            backend,
            statistics=settings.statistics,
            dropout=settings.dropout,
            device=device,
        )
        self.backend = backend
        self.multiple = int(generator.multiple)  # pyright: ignore[reportArgumentType]
        self.encoder = encoder
        self.config = config
        self.seed = seed
        # Where pictures would see each other's statistics or noise, they go one by one.
        own = backend == "eager" and settings.statistics == "batch"
        self.alone = settings.dropout or own

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        checkpoint: str = "best",
        device: str | torch.device = "cpu",
        seed: int = 0,
        backend: str = DEFAULT,
        statistics: Literal["running", "batch"] | None = None,
        dropout: bool | None = None,
    ) -> Translator:
        """Load a run's generator (the running average where it kept one).

        Args:
            run: the run's folder.
            checkpoint: "best", "newest" or a step.
            device: where it works.
            seed: draws dropout and style codes.
            backend: a name in `backends.BACKENDS`.
            statistics, dropout: in place of the run's `inference.statistics` and
                `inference.dropout`.

        Raises:
            CheckpointError, ConfigError: the run is not one, or its files are damaged; the back
                end is unknown or cannot serve the run.
        """
        run = Path(run)
        checkpoint_folder(run, checkpoint)  # says what is wrong with a folder that is no run
        config = read_config(run / "config.yaml")
        asked = {"inference.statistics": statistics, "inference.dropout": dropout}
        asked = {key: value for key, value in asked.items() if value is not None}
        config = replace(config, asked) if asked else config
        target = config.data.channels[1]
        generator = config.generator.build(in_channels=config.input_channels, out_channels=target)
        encoder = None if config.encoder is None else config.encoder.build(in_channels=target)

        def read(folder: Path) -> tuple[Path, str]:
            file = generator_file(folder)
            digest = load_weights(generator, file)
            if encoder is not None:
                load_weights(encoder, folder / "encoder.safetensors")
            return file, digest

        file, digest = read_checkpoint(run, checkpoint, read)
        if encoder is not None:
            encoder.to(device)
        translator = cls(generator.to(device), config, encoder=encoder, seed=seed, backend=backend)
        translator.checkpoint = file.parent.name
        translator.weights = {"file": f"{file.parent.name}/{file.name}", "sha256": digest}
        return translator

    checkpoint: str = ""
    """The name of the checkpoint that was loaded; empty for a generator in training."""
    weights: Mapping[str, str] = MappingProxyType({})
    """Which `file` of the checkpoint was loaded, and its `sha256`; a training may remove it."""

    @property
    def device(self) -> torch.device:
        """Where the generator lies."""
        return self._like.device

    @property
    def _like(self) -> Tensor:
        """A tensor of the device and the type that the generator takes."""
        return next(itertools.chain(self.generator.parameters(), self.generator.buffers()))

    def __call__(
        self,
        source: Tensor,
        instance: Tensor | None = None,
        *,
        style: Tensor | None = None,
        code: Tensor | None = None,
        names: Sequence[str] | None = None,
    ) -> Tensor:
        """Translate N x C x H x W in [-1, 1], or label maps N x H x W.

        Args:
            source: pictures, or integers: the ids that `data.labels` of the run's settings names.
            instance: instance ids, N x H x W, where the run learnt from their edges or features.
            style: a picture for all, or one each, in [-1, 1], whose style is wanted.
            code: a style code for all, or one each, x L; without it and `style` a generator that
                takes codes is given the first that `seed` draws.
            names: what each picture is called. Where dropout is live, a name has a mask of its
                own, whatever else is translated; without names all pictures share one.

        Raises:
            ConfigError: the run takes no such style, or needs one.
            DataError: the channels are not those that the generator was trained on, an id has no
                channel, or instances are lacking.
        """
        check_style(self.config, style=style is not None, samples=code is not None)
        multiple = self.multiple
        if isinstance(self.encoder, FeatureEncoder):
            multiple = max(multiple, self.encoder.multiple)  # both are powers of two
        height, width = source.shape[-2:]
        if self.config.data.labels is None:
            padded, box = pad_to_multiple(self._checked(source), multiple)
        else:
            padded, box = self._expanded(source, instance, multiple)
        padded = padded.to(self._like)
        inputs = self._inputs(padded, source, instance, style, code, multiple)
        settings = self.config.inference
        shape = "x".join(map(str, padded.shape))
        lack = memory_errors(
            f"translating {shape} with {self.backend}",
            cure="take fewer or smaller pictures (--size HEIGHTxWIDTH), or --tiles exact or fast",
        )
        with lack, self._at_work() as network, torch.random.fork_rng(enabled=settings.dropout):
            pictures = []
            size = 1 if self.alone else len(padded)
            for index, parts in enumerate(
                zip(*(given.split(size) for given in inputs), strict=True)
            ):
                if settings.dropout:
                    torch.manual_seed(_mask_seed(self.seed, names[index] if names else None))
                pictures.append(network(*parts))
        picture = torch.cat(pictures)
        return picture[..., box[0] : box[0] + height, box[1] : box[1] + width]

    def translate_sample(self, sample: Sample) -> Tensor:
        """Translate one sample of a data set; returns float32 C x H x W on the CPU.

        Pixels that do not count (`mask`) are the target's own.
        """
        instance = sample.get("instance")
        # Features have to be some picture's; only the target has the same instances.
        style = sample["target"][None] if isinstance(self.encoder, FeatureEncoder) else None
        instance = None if instance is None else instance[None]
        picture = self(sample["source"][None], instance, style=style, names=[sample["name"]])
        result = picture[0].float().cpu()
        if "mask" in sample:
            result = torch.where(sample["mask"].cpu() > 0, result, sample["target"].cpu())
        return result

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[nn.Module]:
        """Put the generator into the mode for pictures; other back ends are built for it."""
        if self.backend != "eager":
            with torch.inference_mode():
                yield self.generator
            return
        settings = self.config.inference
        with as_for_pictures(
            self.generator, statistics=settings.statistics, dropout=settings.dropout
        ) as network:
            yield network

    def _inputs(
        self,
        padded: Tensor,
        source: Tensor,
        instance: Tensor | None,
        style: Tensor | None,
        code: Tensor | None,
        multiple: int,
    ) -> tuple[Tensor, ...]:
        """Return the generator's inputs: the padded source, and what it takes of style."""
        latent = latent_of(self.config)
        if self.encoder is None or style is None:
            if not latent:
                return (padded,)
            code = draw_codes(1, latent, seed=self.seed) if code is None else code
            return padded, code.to(padded).expand(len(padded), -1)
        if latent:
            return padded, self.code_of(style, count=len(padded))
        with as_for_pictures(self.encoder, statistics="running", dropout=False) as encoder:
            style = style.to(padded)
            if instance is None:
                raise DataError("features need an instance map of the label map's size beside it")
            style = fitted(style, source.shape[-2:]).expand(len(padded), -1, -1, -1)
            around, _ = pad_to_multiple(instance.to(padded.device), multiple, border="repeat")
            features = encoder(pad_to_multiple(style, multiple)[0], around)
        return (torch.cat([padded, features], dim=1),)

    def code_of(self, style: Tensor, *, count: int = 1) -> Tensor:
        """Return the style code of a picture for `count` sources, or of one picture each, N x L."""
        check_style(self.config, style=True)
        assert self.encoder is not None
        with as_for_pictures(self.encoder, statistics="running", dropout=False) as encoder:
            return mean_code(encoder, style.to(self._like), count=count)

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
        check_ids(source, classes=expansion["classes"], void=expansion["void"])
        padded, box = pad_to_multiple(source.to(self.device), multiple, border="repeat")
        around = None
        if expansion["edges"] and instance is not None:
            around, _ = pad_to_multiple(instance.to(self.device), multiple, border="repeat")
        return expand(padded, around, **expansion), box


def _mask_seed(seed: int, name: str | None) -> int:
    """Return what draws the dropout of a picture: `seed`, or that and the picture's name."""
    if name is None:
        return seed
    digest = hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big")


def to_bytes(picture: Tensor, *, truncate: bool = False) -> Tensor:
    """Round pictures in [-1, 1] to 8 bits, the way they are written to files and measured.

    `truncate` cuts the fraction off instead, as pytorch-CycleGAN-and-pix2pix, pix2pixHD and SPADE
    do when they write: half of all values then lie one level lower.

    Raises:
        CheckpointError: a picture holds NaN, so the generator that made it is broken.
    """
    if picture.isnan().any():
        raise CheckpointError(
            "the generator makes numbers that are NaN, so its weights are broken or its numbers "
            "too large: use another checkpoint, or train again with a lower training.lr"
        )
    if truncate:
        return ((picture.float().clamp(-1, 1) + 1) / 2 * 255).to(torch.uint8)
    return ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


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
    continued = BORDERS[border]
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


BORDERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": _reflected,
    "repeat": lambda positions, length: positions.clamp(0, length - 1),
}
"""Which of 0 to length - 1 stands at positions beyond."""
