"""Tiles: what they make of a picture is what the network makes of it untiled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from overriding import with_overrides
from tiny import tiny
from torch import Tensor

from limner.config import Config, resolved
from limner.errors import ConfigError
from limner.inference import Translator, draw_codes
from limner.inference.reach import reach_of
from limner.inference.source_windows import SourceWindows, opened_source
from limner.inference.tiles import Mode, Tiles, check_tiles, needs_of, padded_size, tiling_of
from limner.networks import initialise
from limner.presets import preset
from limner.training.state import build_generator

LEVEL = 1 / 127.5
UNET = ("data.size=32", "generator.width=4", "generator.depth=4")
RESNET = (
    "data.size=32",
    "generator={name: resnet, width: 4, blocks: 2}",
)


def picture_run(*overrides: str, base: str = "pix2pix-small") -> Config:
    return resolved(with_overrides(preset(base), list(overrides)))


def families() -> dict[str, Config]:
    """Return one small run of each family of networks and each kind of norm."""
    unet, resnet = UNET, RESNET
    return {
        "unet-batch": picture_run(*unet, "generator.norm=batch"),
        "unet-none": picture_run(*unet, "generator.norm=none"),
        "unet-instance": picture_run(*unet, "generator.norm=instance"),
        "unet-affine": picture_run(*unet, "generator.norm=instance-affine"),
        "unet-group": picture_run(*unet, "generator.norm=group", "generator.width=16"),
        "unet-joins": picture_run(*unet, "generator.norm=batch", "generator.skips=alternating"),
        "unet-own-statistics": picture_run(
            *unet, "generator.norm=batch", "inference.statistics=batch"
        ),
        "resnet-batch": picture_run(*resnet, "generator.norm=batch"),
        "resnet-instance": picture_run(*resnet, "generator.norm=instance"),
        "pix2pixhd-global": tiny("pix2pixhd-global"),
        "pix2pixhd": tiny("pix2pixhd"),
        "spade": tiny("spade"),
        "spade-instance": tiny("spade", "generator.norm=instance"),
        "spade-vae": tiny("spade-vae"),
    }


NAMES = tuple(families())


def translator_of(config: Config, *, backend: str = "folded") -> Translator:
    network = build_generator(config)
    rng = torch.Generator().manual_seed(0)
    initialise(network, "normal", gain=0.25, generator=rng)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3, generator=rng)  # pyright: ignore[reportOptionalMemberAccess]
            module.running_var.uniform_(0.5, 2, generator=rng)  # pyright: ignore[reportOptionalMemberAccess]
    return Translator(network, config, backend=backend)


def write_source(folder: Path, config: Config, height: int, width: int) -> Path:
    """Write a source whose left half is dark: no part has the statistics of the whole."""
    rng = np.random.default_rng(0)
    path = folder / "label" / "a.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    if config.data.labels is None:
        pixels = rng.integers(0, 256, (height, width, 3))
        pixels[:, : width // 2] //= 4
        tifffile.imwrite(path, pixels.astype(np.uint8), tile=(32, 32), photometric="rgb")
        return path
    ids = np.array([0, 1, 2, 3, 9])[rng.integers(0, 5, (height // 8 + 1, width // 8 + 1))]
    ids = ids.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)
    ids[:, : width // 2] %= 2
    tifffile.imwrite(path, ids, tile=(32, 32))
    instance = folder / "inst" / "a.tif"
    instance.parent.mkdir(exist_ok=True)
    numbers = ids.astype(np.uint16) * 100 + np.arange(width, dtype=np.uint16) // 24
    tifffile.imwrite(instance, numbers, tile=(32, 32))
    return path


@contextlib.contextmanager
def opened(config: Config, path: Path) -> Iterator[SourceWindows]:
    instances = None if config.data.labels is None else path.parent.parent / "inst"
    with opened_source(config, path, instances=instances) as source:
        yield source


def untiled(translator: Translator, source: SourceWindows, code: Tensor | None) -> Tensor:
    window = source.read(0, 0, source.height, source.width)
    return translator(window.source, window.instance, code=code)[0]


def tiled(
    translator: Translator,
    source: SourceWindows,
    *,
    mode: Mode,
    tile: tuple[int, int],
    code: Tensor | None = None,
    halo: int | None = None,
) -> tuple[Tensor, Tiles]:
    needs = needs_of(translator)
    height, width = padded_size(source, needs.reach.multiple)
    tiling = tiling_of(source, needs, mode=mode, memory=2**33)
    assert tiling.whole  # there is memory enough, so that tiles have to be forced
    tiling = replace(
        tiling,
        tile_height=tile[0],
        tile_width=tile[1],
        halo=needs.halo(mode) if halo is None else halo,
    )
    assert (tiling.height, tiling.width) == (height, width)
    tiles = Tiles(
        translator, source, tiling, mode=mode, needs=needs, memory=2**33, code=code, name="a"
    )
    picture = torch.full((3, source.height, source.width), torch.nan)
    with tiles.at_work():
        for _ in tiles.statistics([], progress=lambda done, total: None):
            pass
        for number in range(len(tiling.rows)):
            top, bottom = tiles.rows_of(number)
            for left, part, _ in tiles.row(number):
                picture[:, top:bottom, left : left + part.shape[-1]] = part
    return picture, tiles


@pytest.mark.parametrize("name", NAMES)
def test_exact_tiles_are_the_untiled_picture(tmp_path: Path, name: str) -> None:
    config = families()[name]
    translator = translator_of(config)
    multiple = reach_of(config).multiple
    multiple *= -(-24 // multiple)
    path = write_source(tmp_path, config, 5 * multiple + 7, 9 * multiple - 3)
    code = draw_codes(1, 5, seed=1) if name == "spade-vae" else None
    with opened(config, path) as source:
        expected = untiled(translator, source, code)
        picture, tiles = tiled(
            translator, source, mode="exact", tile=(2 * multiple, 3 * multiple), code=code
        )
        again = untiled(translator, source, code)
    assert float(expected.std()) > 0.02
    assert len(tiles.tiling.rows) * len(tiles.tiling.columns) >= 9
    assert float((picture - expected).abs().max()) < LEVEL / 4
    assert torch.equal(again, expected)  # the generator is as it was


@pytest.mark.parametrize("name", ["unet-batch", "unet-own-statistics", "resnet-instance", "spade"])
def test_the_generator_as_it_was_trained_does_the_same(tmp_path: Path, name: str) -> None:
    config = families()[name]
    translator = translator_of(config, backend="eager")
    multiple = reach_of(config).multiple
    path = write_source(tmp_path, config, 4 * multiple + 1, 6 * multiple)
    with opened(config, path) as source:
        expected = untiled(translator, source, None)
        picture, _ = tiled(translator, source, mode="exact", tile=(2 * multiple, 2 * multiple))
    assert float((picture - expected).abs().max()) < LEVEL / 4


@pytest.mark.parametrize("name", ["unet-batch", "resnet-batch", "spade"])
def test_a_halo_short_of_the_reach_would_show(tmp_path: Path, name: str) -> None:
    # What the measured reach is worth: one stride less and tiles are no longer exact.
    config = families()[name]
    translator = translator_of(config)
    multiple = max(8, reach_of(config).multiple)
    path = write_source(tmp_path, config, 8 * multiple, 12 * multiple)
    with opened(config, path) as source:
        expected = untiled(translator, source, None)
        halo = needs_of(translator).halo("exact")
        exact, _ = tiled(translator, source, mode="exact", tile=(multiple, 2 * multiple), halo=halo)
        short, _ = tiled(translator, source, mode="exact", tile=(multiple, 2 * multiple), halo=0)
    worst = float((exact - expected).abs().max())
    assert worst < LEVEL / 4
    assert float((short - expected).abs().max()) > 20 * worst


@pytest.mark.parametrize("name", ["unet-batch", "resnet-batch", "pix2pixhd", "spade"])
def test_the_reach_is_that_of_the_network_itself(name: str) -> None:
    # Pixels beyond the reach of a block change nothing in it, and some within the reach do.
    config = families()[name]
    network = build_generator(config).double().eval()
    initialise(network, "normal", gain=0.25, generator=torch.Generator().manual_seed(0))
    for name_, module in list(network.named_modules()):
        if isinstance(module, torch.nn.InstanceNorm2d):
            network.set_submodule(name_, torch.nn.Identity())
    reach = reach_of(config)
    side = 2 * (reach.halo + reach.multiple) + reach.multiple
    begin = reach.halo + reach.multiple
    image = torch.rand(1, config.input_channels, 2 * reach.multiple, side, dtype=torch.float64)
    image.requires_grad_(True)
    network(image)[..., begin : begin + reach.multiple].square().sum().backward()
    assert image.grad is not None
    seen = torch.nonzero(image.grad.abs().sum((0, 1, 2))).flatten()
    assert int(seen[0]) >= begin - reach.pixels
    assert int(seen[-1]) < begin + reach.multiple + reach.pixels
    assert reach.whole == (name == "pix2pixhd")


@pytest.mark.parametrize("name", ["unet-instance", "resnet-instance"])
def test_fast_tiles_are_near_and_have_no_seams(tmp_path: Path, name: str) -> None:
    config = families()[name]
    translator = translator_of(config)
    multiple = reach_of(config).multiple
    path = write_source(tmp_path, config, 6 * multiple, 8 * multiple)
    with opened(config, path) as source:
        expected = untiled(translator, source, None)
        # The whole picture has room, so that fast tiles have its very statistics here.
        picture, _ = tiled(
            translator,
            source,
            mode="fast",
            tile=(2 * multiple, 2 * multiple),
            halo=needs_of(translator).halo("exact"),
        )
    assert float((picture - expected).abs().max()) < LEVEL / 4


def test_tiles_by_themselves_would_differ(tmp_path: Path) -> None:
    # What the statistics are for: each tile with its own, pictures differ by many levels.
    config = families()["unet-instance"]
    translator = translator_of(config)
    path = write_source(tmp_path, config, 96, 128)
    with opened(config, path) as source:
        expected = untiled(translator, source, None)
        window = source.read(0, 0, 96, 64)
        alone = translator(window.source)[0]
    assert float((alone - expected[..., :64]).abs().max()) > 10 * LEVEL


def test_no_window_is_larger_than_memory_allows(tmp_path: Path) -> None:
    config = families()["unet-batch"]
    translator = translator_of(config)
    path = write_source(tmp_path, config, 400, 600)
    needs = needs_of(translator)
    memory = int(2**27 + 300 * 300 * needs.pixel_bytes)
    with opened(config, path) as source:
        tiling = tiling_of(source, needs, mode="exact", memory=memory)
        tiles = Tiles(translator, source, tiling, mode="exact", needs=needs, memory=memory)
        with tiles.at_work():
            for _ in tiles.row(0):
                pass
        assert not tiling.whole
        assert 0 < tiles.largest <= 300 * 300
        assert source.most_bytes <= 3 * tiles.largest
        less = int(2**27 + 40 * 40 * needs.pixel_bytes)
        with pytest.raises(ConfigError, match="--memory"):
            tiling_of(source, needs, mode="exact", memory=less)


def test_what_memory_is_measured_grows_with_the_network() -> None:
    small, large = (
        needs_of(translator_of(picture_run(*UNET, f"generator.width={width}"))).pixel_bytes
        for width in (16, 32)
    )
    assert 1.6 < large / small < 2.2


def test_what_tiles_cannot_do_is_refused() -> None:
    features = translator_of(tiny("pix2pixhd-features"))
    with pytest.raises(ConfigError):
        check_tiles(_with_encoder(features), "fast")
    dropping = translator_of(picture_run(*UNET, "inference.dropout=true"))
    with pytest.raises(ConfigError, match="--dropout false"):
        check_tiles(dropping, "exact")
    check_tiles(dropping, "fast")


def _with_encoder(translator: Translator) -> Translator:
    config = translator.config
    assert config.encoder is not None
    translator.encoder = config.encoder.build(in_channels=config.data.channels[1])
    return translator
