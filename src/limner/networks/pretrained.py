"""Pretrained weights: where they lie, whether they are the published ones, how to get them."""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from limner import files
from limner.errors import WeightsError, unknown_name

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is in all (same unit), and a word on what it is."""

TIMEOUT = 5.0
"""Seconds without an answer from a server before a download is given up."""
LARGEST = 1 << 38
"""Bytes of a file of weights: more than any network of ours has."""


@dataclass(frozen=True)
class Known:
    """One set of weights: what it is, the file names it goes by, where it is published.

    `files` begins with the name under which a download is kept. `sha256` begins the digest of
    the published file, for one whose name does not carry it.
    """

    title: str
    files: tuple[str, ...]
    url: str
    sha256: str = ""


_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
_TORCHVISION = "https://download.pytorch.org/models/"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/"

KNOWN: dict[str, Known] = {
    "inception": Known(
        "FID's Inception v3",
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        _FID + "pt_inception-2015-12-05-6726825d.pth",
    ),
    "vgg16": Known(
        "torchvision's VGG16",
        ("vgg16-397923af.pth", "vgg16_features.safetensors"),
        _TORCHVISION + "vgg16-397923af.pth",
    ),
    "vgg19": Known(
        "torchvision's VGG19",
        ("vgg19-dcbb9e9d.pth", "vgg19_features.safetensors"),
        _TORCHVISION + "vgg19-dcbb9e9d.pth",
    ),
    "alexnet": Known(
        "torchvision's AlexNet",
        ("alexnet-owt-7be5be79.pth", "alexnet_features.safetensors"),
        _TORCHVISION + "alexnet-owt-7be5be79.pth",
    ),
    "lpips-alex": Known(
        "the heads of LPIPS 0.1 on AlexNet",
        ("lpips_v0.1_alex.pth", "alex.pth", "lpips_v0.1_alex.safetensors"),
        _LPIPS + "v0.1/alex.pth",
        sha256="df73285e",
    ),
    "lpips-vgg": Known(
        "the heads of LPIPS 0.1 on VGG16",
        ("lpips_v0.1_vgg.pth", "vgg.pth", "lpips_v0.1_vgg.safetensors"),
        _LPIPS + "v0.1/vgg.pth",
        sha256="a78928a0",
    ),
    "dists": Known(
        "the weights of DISTS",
        ("dists_weights.pt", "weights.pt", "dists_weights.safetensors"),
        "https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/weights.pt",
    ),
}

HEADS = Path(__file__).parent / "heads"
"""The learnt heads of LPIPS and DISTS, which come with Limner."""


def cache_folder() -> Path:
    """Return the folder where downloads are kept: $XDG_CACHE_HOME or ~/.cache, limner/weights."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner" / "weights"


def places(weights: Path | None) -> Iterator[Path]:
    """Yield the files and folders to look at, in order: argument, environment, caches, `HEADS`."""
    if weights is not None:
        yield weights
    if variable := os.environ.get("LIMNER_WEIGHTS"):
        yield Path(variable)
    yield cache_folder()
    yield Path(torch.hub.get_dir()) / "checkpoints"
    yield HEADS


def find(
    name: str,
    *,
    weights: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the file of the weights `name`, one of `KNOWN`; download it where it is nowhere.

    A file whose name carries eight hex digits of its SHA-256 (`-6726825d.`) must have that digest.

    Args:
        name: a key of `KNOWN`.
        weights: a file or a folder to look at before all others (`places`). A file of any name is
            taken, except one that is known to be something else.
        download: whether it may be downloaded.
        progress: called while it is.

    Raises:
        ConfigError: no weights have that name.
        WeightsError: they are nowhere, or not the published ones.
    """
    if name not in KNOWN:
        raise unknown_name("weights", name, KNOWN)
    known = KNOWN[name]
    if weights is not None and not weights.exists():
        raise WeightsError(f"--weights {weights} does not exist: give a weights file or a folder")
    others = {file for other in KNOWN.values() for file in other.files} - set(known.files)
    looked = list(places(weights))
    for place in looked:
        if place.is_file() and place.name not in others:
            return _checked(place)
        for file in known.files:
            if (place / file).is_file():
                return _checked(place / file)
    reason = "downloading was not allowed"
    if download:
        target = cache_folder() / known.files[0]
        try:
            return _download(known, target, progress)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = f"the download failed ({getattr(error, 'reason', error)})"
    raise WeightsError(
        f"{known.title} ({' or '.join(known.files)}) is needed and was not found in "
        f"{', '.join(map(str, looked))}, and {reason}: fetch {known.url} and name the file or its "
        "folder with --weights"
    )


def load(
    name: str,
    *,
    weights: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return the state dict of the weights `name` on the CPU, floats as float32 (see `find`)."""
    return read(find(name, weights=weights, download=download, progress=progress))


def read(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a `.safetensors` or `.pth` file; nothing in it is executed."""
    try:
        if path.suffix == ".safetensors":
            files.check_file(path, at_most=LARGEST)
            state = load_file(path, device="cpu")
        else:
            state = load_pickled(path)
    # A damaged or foreign file fails in as many ways as there are formats: pickle, zip, tar, safe.
    except (Exception, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} cannot be read as weights, fetch it anew: {first}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsError(f"{path} holds no state dict (names with tensors), so it is not weights")
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(
                f"{path} holds numbers that are not finite ({name}), so it is damaged: fetch it "
                "anew"
            )
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def load_pickled(path: Path) -> Any:
    """Return what a file of `torch.save` holds; nothing in it is executed.

    Its tensors take no more memory than the file does disk: PyTorch stores them as they are, so a
    file that is packed, or whose tensors reach beyond what it stores, was made to fill memory.

    Raises:
        FileNotFoundError: there is none. ValueError: it is such a file, or no ordinary one. What
            PyTorch raises for others.
    """
    files.check_file(path, at_most=LARGEST)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it is packed and would take {unpacked:,} bytes: save it anew")
    content = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in _tensors(content):
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > stored:
            raise ValueError(f"a tensor of {tuple(tensor.shape)} has {stored:,} bytes in the file")
    return content


def _tensors(content: object) -> Iterator[Tensor]:
    """Yield all tensors in nested dicts, lists and tuples."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _tensors(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _tensors(value)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, remembered as long as size and time stay the same."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _time: int) -> str:
    return files.sha256(path)


def _named_digest(name: str) -> str:
    match = re.search(r"-([0-9a-f]{8})\.\w+$", name)
    return match.group(1) if match else ""


def _checked(path: Path) -> Path:
    wanted = _named_digest(path.name)
    if wanted and not sha256(path).startswith(wanted):
        raise WeightsError(
            f"{path} is damaged or not the published file: its SHA-256 begins with "
            f"{sha256(path)[:8]}, not {wanted}; delete it and fetch it anew"
        )
    return path


def _download(known: Known, target: Path, progress: Progress | None) -> Path:
    wanted = _named_digest(known.files[0]) or known.sha256
    digest = hashlib.sha256()
    with (
        urllib.request.urlopen(known.url, timeout=TIMEOUT) as answer,
        files.replacing(target) as at,
    ):
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        with at.open("wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(done, max(total, done), f"downloading {target.name}")
        if total and done != total:
            raise OSError(f"the connection ended after {done} of {total} bytes")
        if not digest.hexdigest().startswith(wanted):
            raise WeightsError(
                f"{known.url} gave a file whose SHA-256 begins with {digest.hexdigest()[:8]}, not "
                f"{wanted}: it was not kept; fetch it another way and name it with --weights"
            )
    return target
