"""The features of a set of images by every extractor, kept ones where there are some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.evaluation import featurecache
from limner.evaluation.extraction import CHUNK, extract
from limner.evaluation.features import EXTRACTORS, Extractor
from limner.evaluation.pictures import Coloured


@dataclass(frozen=True)
class FeatureWork:
    """How features come about, the same for both sets.

    `shas` are the SHA-256 of the weights by name; `advance` is told of images done. The rest is as
    in `extraction.extract`.
    """

    extractors: Mapping[str, Extractor]
    shas: Mapping[str, str]
    batch_size: int
    device: torch.device | str
    processes: int
    advance: Callable[[int], None]

    def features(self, images: Coloured, *, cache: bool) -> tuple[dict[str, Tensor], set[str]]:
        """Return the features of `images` by extractor, and which of them had been kept."""
        content = featurecache.contents(images) if cache else ""
        names = {kind: self._key(kind, content) for kind in self.extractors} if content else {}
        found: dict[str, Tensor] = {}
        for kind, name in names.items():
            if (hit := featurecache.kept(name)) is not None and len(hit[0]) == len(images):
                found[kind] = hit[0]
                images.pictures.remember(hit[1])
        missing = {kind: e for kind, e in self.extractors.items() if kind not in found}
        remembered = set(found)
        if not missing:
            self.advance(len(images))
            return found, remembered
        found |= extract(
            missing,
            images,
            batch_size=self.batch_size,
            device=self.device,
            advance=self.advance,
            processes=self.processes,
        )
        for kind in missing.keys() & names.keys():
            featurecache.keep(names[kind], found[kind], images.pictures.seen())
        return found, remembered

    def _key(self, kind: str, content: str) -> str:
        extractor = self.extractors[kind]
        device = torch.device(self.device).type
        settings = {
            "extractor": kind,
            "weights": self.shas[EXTRACTORS[kind].weights],
            "preparation": extractor.preparation,
            "dimensions": extractor.dimensions,
            "device": device,
            "chunk": CHUNK if device == "cpu" else self.batch_size,
        }
        return featurecache.key(content, settings=settings)
