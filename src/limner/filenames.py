"""Names: which files are listed, and what a result is called that takes its name from data."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

NAME_BYTES = 200  # file systems take 255; what is added to a name (".png", "-2") needs room
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


def is_hidden(name: str) -> bool:
    """Say whether a name is no part of any data: hidden, or clutter that systems strew about."""
    return name.startswith(".") or name.casefold() in _CLUTTER


def listed(folder: Path) -> list[Path]:
    """Return what lies in `folder`, sorted by name, without what is hidden."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def listed_tree(folder: Path) -> list[Path]:
    """Return all files in `folder` and below it, sorted, without what is hidden."""
    paths = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not is_hidden(name)]
        paths += [Path(parent, name) for name in names if not is_hidden(name)]
    return sorted(paths)


def output_path(folder: Path, name: str, suffix: str, *, taken: set[str]) -> Path:
    """Return where in `folder` the result called `name` is written; it cannot lie elsewhere.

    Ordinary names stay as they are. Separators become hyphens, what no file system or terminal
    likes becomes an escape such as %0A, long names are cut and closed by a hash of the whole.

    Args:
        folder: the folder of the results.
        name: any text, such as a stem or an entry of a manifest.
        suffix: what the file name ends with, such as ".png".
        taken: the names given before, which this one will differ from, on file systems that do
            not tell case apart, too; the new one is added.
    """
    base = safe_name(name, at_most=NAME_BYTES - len(suffix.encode()) - 6)
    result, number = base, 1
    while (key := unicodedata.normalize("NFC", result + suffix).casefold()) in taken:
        number += 1
        result = f"{base}-{number}"
    taken.add(key)
    return folder / (result + suffix)


def safe_name(name: str, *, at_most: int = NAME_BYTES) -> str:
    """Return `name` as one part of a path: no separators, not hidden, readable, not too long."""
    parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".", "..")]
    text = "".join(_escaped(letter) for letter in "-".join(parts)) or "_"
    text = re.sub(r"^\.", "_", text)
    data = text.encode("utf-8")
    if len(data) <= at_most:
        return text
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:10]
    return data[: at_most - 11].decode("utf-8", errors="ignore") + "~" + digest


def _escaped(letter: str) -> str:
    if letter in '<>:"|?*' or not letter.isprintable():
        code = ord(letter)
        raw = [code - 0xDC00] if 0xDC80 <= code <= 0xDCFF else letter.encode("utf-8", "replace")
        return "".join(f"%{byte:02X}" for byte in raw)
    return letter
