"""Features of reference images kept from one measurement to the next.

The key is a SHA-256 over all that the features depend on: the contents of the images in their
order, the weights, the preparation, how many images a forward pass takes, device, processor and
versions. So a hit gives the digits that computing would give, and any change is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from limner import __version__
from limner.errors import DiskError, FileError
from limner.evaluation.image_sets import Coloured, Files, Images, Pictures
from limner.files import read_bytes, write_bytes

LIMIT = 1 << 30
"""Bytes that the folder may hold; beyond them the features longest unused go first."""

FORMAT = 2
SWITCH = "LIMNER_FEATURE_CACHE"
"""The environment variable that switches the cache off where it is "off"."""

Seen = tuple[dict[int, str], dict[str, set[int]]]


def cache_folder() -> Path:
    """Return the folder of kept features: $XDG_CACHE_HOME or ~/.cache, limner/features."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner" / "features"


def contents(images: Images) -> str:
    """Return the SHA-256 of the images' contents in order, or "" where they are not to be had.

    Files count by their bytes, lists and tuples by shape, type and pixels. Anything else would
    have to be read twice, so it is not kept.
    """
    inner = images.pictures if isinstance(images, Coloured) else images
    inner = inner.images if isinstance(inner, Pictures) else inner
    digest = hashlib.sha256()
    if isinstance(inner, Files):
        for path in inner.paths:
            with contextlib.suppress(OSError):  # reading the pictures will say what is wrong
                data = path.read_bytes()
                digest.update(len(data).to_bytes(8, "little") + hashlib.sha256(data).digest())
    elif isinstance(inner, list | tuple):
        for image in inner:
            digest.update(f"{tuple(image.shape)} {image.dtype};".encode())
            digest.update(image.cpu().contiguous().numpy().tobytes())
    else:
        return ""
    return digest.hexdigest()


def key(content: str, *, settings: Mapping[str, object]) -> str:
    """Return the name under which features of these contents and settings are kept."""
    everything = {
        "format": FORMAT,
        "content": content,
        "torch": torch.__version__,
        "limner": __version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **settings,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def kept(name: str, *, folder: Path | None = None) -> tuple[Tensor, Seen] | None:
    """Return the features kept under `name` and what reading the images had shown, or None.

    A damaged file, be it by one bit, counts as none.
    """
    path = (folder or cache_folder()) / f"{name}.safetensors"
    try:
        data = read_bytes(path, at_most=LIMIT)
        features = load(data)["features"]
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        if metadata["sha256"] != _digest(features, metadata["seen"]):
            return None
        seen = json.loads(metadata["seen"])
        sizes = {int(index): size for index, size in seen["sizes"].items()}
        done = {what: set(indices) for what, indices in seen["done"].items()}
    except (OSError, FileError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return features.double(), (sizes, done)


def keep(
    name: str, features: Tensor, seen: Seen, *, folder: Path | None = None, limit: int = LIMIT
) -> None:
    """Keep N x D features under `name`, as the float32 numbers that they are; trim the folder.

    A folder that cannot be written is passed over: the figures do not need it.
    """
    home = folder or cache_folder()
    record = {"sizes": seen[0], "done": {what: sorted(at) for what, at in seen[1].items()}}
    text = json.dumps(record)
    exact = features.float().contiguous()
    metadata = {"seen": text, "sha256": _digest(exact, text)}
    with contextlib.suppress(OSError, DiskError):
        write_bytes(home / f"{name}.safetensors", save({"features": exact}, metadata=metadata))
        _trim(home, limit)


def _digest(features: Tensor, seen: str) -> str:
    """Return the SHA-256 of what a file keeps."""
    return hashlib.sha256(seen.encode() + features.numpy().tobytes()).hexdigest()


def _trim(folder: Path, limit: int) -> None:
    """Delete the files longest unused until the rest fits, but never the newest."""
    kept_files = []
    for path in folder.glob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            kept_files.append((status.st_mtime_ns, status.st_size, path))
    kept_files.sort()
    total = sum(size for _, size, _ in kept_files)
    for _, size, path in kept_files[:-1]:
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size


def switched_on() -> bool:
    """Whether the environment leaves the cache on."""
    return os.environ.get(SWITCH, "").lower() != "off"
