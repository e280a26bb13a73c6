from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from junyanz_restated import draw_pixel
from PIL import Image

from limner.errors import CheckpointError
from limner.transfer import import_network
from limner.transfer.reading import read_state


class Trap:
    """An object whose pickle runs code when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_files_that_could_run_code_are_refused_unread(tmp_path: Path) -> None:
    torch.save({"model.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "G.pth")
    with pytest.raises(CheckpointError, match=r"G\.pth holds pickled objects .* torch\.save"):
        import_network(tmp_path / "G.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a file"),
        (b"", "cannot be read as saved weights"),
        (b"this is not a network at all", "cannot be read as saved weights"),
        (b"\x10\0\0\0\0\0\0\0{broken safetensors", "cannot be read as saved weights"),
        ("half", "cannot be read as saved weights"),
        ({}, "not the state dict of one network (it holds nothing)"),
        ({"epoch": 3, "net": {}}, "not the state dict of one network (it holds epoch, net)"),
        ([1], "not the state dict of one network (it holds no names)"),
    ],
)
def test_unreadable_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pth"
    if content == "half":
        torch.save(draw_pixel(width=4, norm="batch"), file)
        content = file.read_bytes()[: file.stat().st_size // 2]
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(CheckpointError) as caught:
        read_state(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WebP"])
def test_a_picture_is_called_a_picture(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "some.pth"
    Image.new("RGB", (40, 30), (200, 10, 90)).save(file, format=kind.upper())
    with pytest.raises(CheckpointError, match=f"is a {kind} picture, not a checkpoint"):
        read_state(file)


def test_a_header_length_that_looks_like_a_picture_is_still_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "G.safetensors"
    length = int.from_bytes(b"BM", "little")
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    file.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert list(read_state(file)) == ["a"]


WRAPPINGS = {
    "beside an epoch and an optimiser": lambda g, d: {
        "epoch": 5, "state_dict": g, "optimizer": {"state": {}, "param_groups": [{"lr": 2e-4}]},
    },
    "an entry a network": lambda g, d: {"netG": g, "netD": d, "epoch": 5},
    "a prefix a network": lambda g, d: {
        **{f"generator.{name}": value for name, value in g.items()},
        **{f"discriminator.{name}": value for name, value in d.items()},
    },
    "a prefix below a wrapper's": lambda g, d: {
        "state_dict": {f"module.G.module.{name}": value for name, value in g.items()},
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_network_is_taken_out_of_what_trainers_save(wrapping: str, tmp_path: Path) -> None:
    generator, discriminator = {"model.1.weight": torch.ones(2)}, {"model.0.weight": torch.zeros(3)}
    torch.save(WRAPPINGS[wrapping](generator, discriminator), tmp_path / "latest.pth")
    state = read_state(tmp_path / "latest.pth")
    assert list(state) == ["model.1.weight"]
    assert torch.equal(state["model.1.weight"], torch.ones(2))
    if "a network" in wrapping:
        state = read_state(tmp_path / "latest.pth", "discriminator")
        assert list(state) == ["model.0.weight"]


@pytest.mark.parametrize(
    "content",
    [
        {"first": {"a": torch.ones(1)}, "second": {"b": torch.ones(1)}},
        {"a": torch.tensor([1.0, float("nan")])},
        {"a": torch.tensor([1.0]), "b": torch.tensor([float("inf")])},
    ],
)
def test_what_is_no_sound_network_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "latest.pth")
    with pytest.raises(CheckpointError, match=r"latest\.pth"):
        read_state(tmp_path / "latest.pth")
