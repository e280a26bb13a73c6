"""What lies in a data folder, also where `train` refuses it: pairs, and files without a partner."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from limner.data import Pair, files_of, find_pairs, splits
from limner.data.layouts import known_splits
from limner.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The pairs of every split, and what could not be matched.

    Args:
        root: the data folder, or the manifest.
        pairs: by split, in natural order.
        unmatched: by split, files without a partner.
        refused: by split, why it could not be listed at all.
    """

    root: Path
    pairs: dict[str, list[Pair]]
    unmatched: dict[str, list[Path]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """Return the name of a file as findings give it: relative to the data, with slashes."""
        folder = self.root if self.root.is_dir() else self.root.parent
        try:
            return path.relative_to(folder).as_posix()
        except ValueError:
            return Path(os.path.relpath(path, folder)).as_posix()

    @property
    def files(self) -> list[Path]:
        """All files of pairs, each once."""
        every = (path for pairs in self.pairs.values() for pair in pairs for path in files_of(pair))
        return list(dict.fromkeys(every))


def list_data(root: Path, *, direction: str | None) -> Listing:
    """List a data folder or a manifest.

    Raises:
        DataError: it is in no known layout, or not there.
    """
    listing = Listing(root, {})
    whole = splits(root)
    for split in known_splits(root):
        unmatched: list[Path] = []
        try:
            listing.pairs[split] = find_pairs(root, split, direction=direction, unmatched=unmatched)
        except DataError as error:
            listing.refused[split] = str(error)
            listing.pairs[split] = []
        if split not in whole and not unmatched and not listing.pairs[split]:
            del listing.pairs[split]  # an empty folder beside others is no split
        elif unmatched:
            listing.unmatched[split] = list(dict.fromkeys(unmatched))
    return listing
