"""Read the weights of other projects without ever executing what their files hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from limner.errors import CheckpointError
from limner.networks.pretrained import load_pickled

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


# What trainers call the parts of one file, as its entries or as prefixes of its names.
_PARTS = {
    "generator": ("generator", "netG", "net_G", "gen", "G"),
    "discriminator": ("discriminator", "netD", "net_D", "disc", "D"),
    "encoder": ("encoder", "netE", "net_E", "E"),
}


def read_state(file: Path, role: str = "generator") -> dict[str, Tensor]:
    """Return the state dict in `file`, a safetensors file or one that `torch.save` wrote.

    Tensors are on the CPU under the names they were saved with, less the prefixes of wrappers
    (`module.`, `_orig_mod.`); those of lower precision than float32 are raised to it. A state dict
    beside an epoch or an optimiser is taken out; of several networks that of `role`.

    Raises:
        CheckpointError: it is missing, damaged, or holds more than tensors, several networks none
            of which is called as `role` is, or numbers that are not finite.
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
    state = {str(name): _raised(value) for name, value in _unwrapped(file, loaded, role).items()}
    state = _unprefixed(_of_role(_unprefixed(state), role))
    for name, value in state.items():
        if not value.isfinite().all():
            raise CheckpointError(
                f"{file} holds numbers that are not finite (in {name}), so the network is broken: "
                "take the file of an earlier epoch"
            )
    return state


def _is_state(content: object) -> bool:
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(value, Tensor) for value in content.values())


def _unwrapped(file: Path, content: object, role: str) -> dict[str, Tensor]:
    """Return the state dict in what a file holds: itself, or the one within that `role` is."""
    if isinstance(content, dict):
        if _is_state(content):
            return content
        within = {str(name): value for name, value in content.items() if _is_state(value)}
        own = [name for name in within if name in _PARTS[role]]
        if len(within) == 1 or len(own) == 1:
            return within[own[0] if own else next(iter(within))]
        names = ", ".join(map(str, list(within or content)[:4])) or "nothing"
    else:
        within, names = {}, "no names"
    if within:
        raise CheckpointError(
            f"{file} holds several networks ({names}): torch.save the {role}'s alone and name that "
            "file"
        )
    raise CheckpointError(
        f"{file} is not the state dict of one network (it holds {names}): "
        "save net.state_dict() alone and name that file"
    )


def _unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes of wrappers."""
    while prefix := next((p for p in _WRAPPERS if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _of_role(state: dict[str, Tensor], role: str) -> dict[str, Tensor]:
    """Return the tensors below the prefix that `role` goes by, where several networks are joined.

    A network's own layers have no such names: they are called `model`, `fc`, `scale0_layer0` ...
    """
    for part in _PARTS[role]:
        own = {n.removeprefix(f"{part}."): v for n, v in state.items() if n.startswith(f"{part}.")}
        if own:
            return own
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
