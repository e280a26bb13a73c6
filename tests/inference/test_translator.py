"""The Translator: any size, the mode it was asked for, the same answer every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from overriding import with_overrides
from safetensors.torch import save_file
from torch import nn

from limner.config import Config, resolved
from limner.errors import CheckpointError, ConfigError, DataError, OutOfMemoryError
from limner.inference import Translator, as_for_pictures, pad_to_multiple, to_bytes
from limner.networks import initialise
from limner.presets import preset
from limner.run import load_weights
from limner.training.state import build_generator


def config(*overrides: str) -> Config:
    base = ("data.size=32", "generator.width=4", "generator.depth=4")
    return resolved(with_overrides(preset("pix2pix-small"), [*base, *overrides]))


def translator(*overrides: str) -> Translator:
    settings = config(*overrides)
    network = build_generator(settings)
    initialise(network, "normal", gain=0.3, generator=torch.Generator().manual_seed(0))
    return Translator(network, settings)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 70), width=st.integers(1, 70), multiple=st.sampled_from([1, 2, 4, 16, 32])
)
def test_padding_fits_and_holds_the_image(height: int, width: int, multiple: int) -> None:
    image = noise(1, 2, height, width)
    padded, (top, left) = pad_to_multiple(image, multiple)
    assert padded.shape[2] % multiple == 0
    assert padded.shape[3] % multiple == 0
    assert padded.shape[2] - height < multiple
    assert padded.shape[3] - width < multiple
    assert torch.equal(padded[..., top : top + height, left : left + width], image)
    # The border is a mirror: no value that the image does not hold, and no seam.
    assert set(padded.unique().tolist()) == set(image.unique().tolist())
    if top and height > 1:
        assert torch.equal(padded[:, :, top - 1, left], image[:, :, 1, 0])


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (20, 100), (7, 5)])
def test_any_size_comes_back_as_it_was(size: tuple[int, int]) -> None:
    picture = translator()(noise(2, 3, *size))
    assert picture.shape == (2, 3, *size)
    assert float(picture.abs().max()) <= 1


def test_padding_changes_nothing_where_none_is_needed() -> None:
    one = translator()
    source = noise(1, 3, 32, 64)
    with as_for_pictures(one.generator, statistics="running", dropout=False) as network:
        expected = network(source)
    assert torch.equal(one(source), expected)


def test_the_generator_is_left_in_the_mode_it_was_in() -> None:
    one = translator("generator.norm=batch", "inference.statistics=batch", "inference.dropout=true")
    one.generator.train()
    modules = list(one.generator.modules())
    modules[3].eval()
    before = [module.training for module in modules]
    buffers = {key: value.clone() for key, value in one.generator.named_buffers()}
    one(noise(2, 3, 32, 32))
    assert [module.training for module in modules] == before
    for key, value in one.generator.named_buffers():
        assert torch.equal(value, buffers[key]), key
    tracked = [m.track_running_stats for m in modules if hasattr(m, "track_running_stats")]
    assert all(tracked)


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("dropout", ["true", "false"])
def test_a_picture_depends_on_its_source_alone(statistics: str, dropout: str) -> None:
    one = translator(
        "generator.norm=batch",
        f"inference.statistics={statistics}",
        f"inference.dropout={dropout}",
        "data.size=64",
        "generator.depth=6",
    )
    sources = noise(3, 3, 64, 64)
    together = one(sources)
    torch.rand(5)
    for index in (2, 0, 1):
        alone = one(sources[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=0)


def test_dropout_and_statistics_do_what_they_say() -> None:
    # Dropout sits between the innermost level and the widening ones: from six levels on.
    base = ("generator.norm=batch", "data.size=64", "generator.depth=6")
    source = noise(1, 3, 64, 64)
    plain = translator(*base)(source)
    dropped = translator(*base, "inference.dropout=true")
    assert not torch.allclose(dropped(source), plain)
    other = translator(*base, "inference.dropout=true")
    other.seed = 1
    assert not torch.equal(dropped(source), other(source))
    # In training mode a batch norm uses the batch's own statistics, dropout apart.
    own = translator(*base, "inference.statistics=batch")
    network = own.generator.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with torch.no_grad():
        expected = network(source)
    torch.testing.assert_close(own(source), expected)


def test_the_global_random_generator_is_left_alone() -> None:
    one = translator("inference.dropout=true", "data.size=64", "generator.depth=6")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one(noise(1, 3, 64, 64))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 32, 32), (1, 4, 32, 32)])
def test_wrong_channels_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="Nx3xHxW"):
        translator()(noise(*shape))


def test_rounding_to_bytes_is_exact_at_every_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(levels.float() / 127.5 - 1), levels)
    assert to_bytes(torch.tensor([-3.0, 3.0, 0.0])).tolist() == [0, 255, 128]


def test_cutting_off_is_what_the_original_projects_do() -> None:
    picture = noise(1, 3, 9, 11)
    theirs = ((picture.numpy() + 1) / 2.0 * 255.0).astype("uint8")
    cut = to_bytes(picture, truncate=True)
    assert (cut.numpy() == theirs).all()
    more = (to_bytes(picture).int() - cut.int()).float()
    assert set(more.unique().tolist()) == {0.0, 1.0}
    assert 0.35 < float(more.mean()) < 0.65


@pytest.mark.parametrize("call", [lambda: Translator("runs/facades"), lambda: Translator(Path())])  # type: ignore[arg-type]
def test_a_folder_is_no_network(call: Callable[[], Translator]) -> None:
    with pytest.raises(ConfigError, match=r"Translator\.load\(folder\)"):
        call()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_told_in_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = translator()

    def fail(*inputs: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(network.generator, "forward", fail)
    with pytest.raises(OutOfMemoryError, match=r"translating 1x3x32x32 .*--size") as caught:
        network(noise(1, 3, 32, 32))
    assert caught.value.exit_code == 1


def test_other_faults_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = translator()

    def fail(*inputs: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(network.generator, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        network(noise(1, 3, 32, 32))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    weights = network.state_dict() | {"bias": torch.tensor([1.0, value])}
    save_file(weights, tmp_path / "generator.safetensors")
    with pytest.raises(CheckpointError, match=r"generator\.safetensors .*bias"):
        load_weights(network, tmp_path / "generator.safetensors")
