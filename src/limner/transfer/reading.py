"""Read the weights of other projects without ever executing what their files hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from limner.errors import CheckpointError
from limner.networks.weights import load_pickled

# What wrappers put before every name: DataParallel and its kin, torch.compile.
_WRAPPERS = ("module.", "_orig_mod.")
# The first bytes of pictures, which people name by a slip.
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
}


def read_state(file: Path) -> dict[str, Tensor]:
    """Return the state dict in `file`, a safetensors file or one that `torch.save` wrote.

    Tensors are on the CPU under the names they were saved with, less the prefixes of wrappers
    (`module.`, `_orig_mod.`); those of lower precision than float32 are raised to it.

    Raises:
        CheckpointError: it is missing, damaged, or holds more than tensors.
    """
    if not file.is_file():
        raise CheckpointError(f"{file} is not a file: name the other project's saved network")
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
        # A safetensors file starts with the length of its header, eight bytes, and the header.
        is_safetensors = head[8:9] == b"{"
        if not is_safetensors:
            _refuse_pictures(file, head)
        loaded = load_file(file) if is_safetensors else _load_pickle(file)
    except CheckpointError:
        raise
    except Exception as error:  # bytes that mean nothing fail in the readers in any way
        raise CheckpointError(
            f"{file} cannot be read as saved weights, it is damaged or something else: "
            f"copy it anew ({str(error).splitlines()[0][:120] if str(error) else 'it ends early'})"
        ) from None
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(isinstance(value, Tensor) for value in loaded.values())
    ):
        found = ", ".join(map(str, list(loaded)[:4])) if isinstance(loaded, dict) else "no names"
        raise CheckpointError(
            f"{file} is not the state dict of one network (it holds {found or 'nothing'}): "
            "save net.state_dict() alone and name that file"
        )
    state = {str(name): _raised(value) for name, value in loaded.items()}
    while prefix := next((p for p in _WRAPPERS if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _refuse_pictures(file: Path, head: bytes) -> None:
    """Raise where the first bytes are a picture's: what follows them may look like a pickle."""
    kind = next((kind for start, kind in _PICTURES.items() if head.startswith(start)), None)
    if kind is None and head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WebP"
    if kind is not None:
        raise CheckpointError(
            f"{file} is a {kind} picture, not a checkpoint: name the other project's saved network"
        )


def _load_pickle(file: Path) -> object:
    try:
        return load_pickled(file)
    except pickle.UnpicklingError as error:
        if "nsupported" not in str(error):
            raise ValueError("neither a torch.save nor a safetensors file") from None
        raise CheckpointError(
            f"{file} holds pickled objects beside tensors, and reading those can run any code: "
            "load it in the project that made it, torch.save(net.state_dict(), ...) there, and "
            "name that file"
        ) from None


def _raised(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    return value.to(torch.promote_types(value.dtype, torch.float32))
