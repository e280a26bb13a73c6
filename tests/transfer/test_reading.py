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
