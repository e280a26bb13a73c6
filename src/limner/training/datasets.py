"""The data of a training: which pairs, in which order, from which step on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limner.config import Config, LabelSettings, replace, resolved
from limner.data import (
    Pair,
    PairedDataset,
    content_digests,
    decide_interpolation,
    derive_labels,
    derive_ranges,
    find_pairs,
    header,
    make_loader,
    read_description,
    residence,
    splits,
)
from limner.data.pairs import named
from limner.errors import DataError
from limner.inference import default_cache_folder, open_pairs


@dataclass(frozen=True)
class TrainingData:
    """Data sets opened for a training, with the settings that were derived from them."""

    config: Config
    train: PairedDataset
    samples: PairedDataset
    validation: PairedDataset | None
    rank: int
    world_size: int
    notes: tuple[str, ...]
    cache_folder: Path | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of all processes in one pass over the pairs."""
        training = self.config.training
        return len(self.train) // (training.batch_size * training.accumulate * self.world_size)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        training = self.config.training
        return min(self.steps_per_epoch * training.epochs, training.steps or 2**62)

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these training pairs from others: their number, names, sizes and contents."""
        files = [self._files(pair) for pair in self.train.pairs]
        text = "\n".join(
            " ".join([pair.name, *(str(path.stat().st_size) for path in paths)])
            for pair, paths in zip(self.train.pairs, files, strict=True)
        )
        digests = content_digests(
            [path for paths in files for path in paths], memory=self.cache_folder
        )
        return {
            "pairs": len(self.train),
            "sha256": hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest(),
            "contents": hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        }

    def introduction(self) -> str:
        """Say in a line what is about to be learnt: from how many pairs, what becomes what."""
        config, pairs = self.config, self.train.pairs
        form = "side by side" if pairs[0].source_half is not None else "of two files"
        held_out = "" if self.validation is None else f", {len(self.validation):,} to validate with"
        direction = f"{config.data.direction}: " if config.data.direction else ""
        return f"{len(pairs):,} pairs {form}{held_out}; {direction}{' -> '.join(self._looks())}"

    def _looks(self) -> tuple[str, str]:
        """Return in a word each what sources and targets look like."""
        data = self.config.data
        looked_at = data.labels is None and data.spans == (None, None)
        kinds = decide_interpolation(self.train.pairs, ("auto", "auto")) if looked_at else ("", "")
        words = []
        for kind, channels, span in zip(kinds, data.channels, data.spans, strict=True):
            if span is not None:
                words.append("measured values")
            elif kind == "nearest":
                words.append("label colours")
            else:
                known = {1: "grey pictures", 3: "pictures"}
                words.append(known.get(channels, f"images of {channels} channels"))
        if data.labels is not None:
            words[0] = f"label maps of {data.labels.expansion['classes']} classes"
        return words[0], words[1]

    def same_pairs(self, recorded: Mapping[str, Any]) -> bool:
        """Tell whether a fingerprint is that of these pairs; earlier ones know no contents."""
        return all(value == recorded.get(key, value) for key, value in self.fingerprint.items())

    def _files(self, pair: Pair) -> list[Path]:
        used = self.train.labels is not None and self.train.labels.instances
        files = [*pair.sources, pair.target, *([pair.instance] if used and pair.instance else [])]
        return [*files, *([pair.mask] if pair.mask is not None else [])]

    def batches(self, step: int) -> Iterator[dict[str, Any]]:
        """Yield the batches of this process from `step` to the end of the training."""
        training = self.config.training
        epoch, start = divmod(step, self.steps_per_epoch)
        return iter(
            make_loader(
                self.train,
                batch_size=training.batch_size * training.accumulate,
                epoch=epoch,
                epochs=training.epochs - epoch,
                start_batch=start,
                workers=training.workers,
                rank=self.rank,
                world_size=self.world_size,
                shuffle=True,
                drop_last=True,
                pin_memory=torch.cuda.is_available() and self.train.residence is None,
            )
        )


def open_training_data(
    config: Config, *, rank: int = 0, world_size: int = 1, cache_folder: Path | None = None
) -> TrainingData:
    """Find and check the pairs of a training, and fill in what was left to be derived from them.

    Raises:
        DataError: the data cannot be trained on; ConfigError: the settings do not fit it.
    """
    root = Path(config.data.root)
    cache = cache_folder or default_cache_folder()
    notes = []
    direction = config.data.direction or read_description(root).direction or "AtoB"
    config = replace(config, {"data.direction": direction})
    if config.data.labels is not None:
        config, label_notes = _with_labels(config, config.data.labels, root, memory=cache)
        notes += label_notes
    facts = derive_ranges(find_pairs(root, "train", direction=config.data.direction), config.data)
    config = replace(config, facts.settings)
    notes += facts.notes
    train = open_pairs(
        config,
        root,
        "train",
        augment=True,
        batch_size=config.training.batch_size,
        cache_folder=cache,
    )
    batch = config.training.batch_size * config.training.accumulate * world_size
    if len(train) < batch:
        raise DataError(
            f"{len(train)} training pairs are fewer than one step's {batch}: "
            "lower training.batch_size or training.accumulate, or add pairs"
        )
    if train.pairs[0].source_half is not None:
        height, width = header(train.pairs[0].source)[1:]
        notes.append(
            f"each image holds source and target side by side: halves of {width // 2}x{height} "
            f"(width x height) in {train.pairs[0].source.name}"
        )
    notes += train.notes
    for role, before, after in zip(
        ("source", "target"), config.data.interpolation, train.interpolation, strict=True
    ):
        if before == "auto" and not (role == "source" and config.data.labels):
            kind = "label colours" if after == "nearest" else "photos"
            notes.append(f"the {role} images are taken for {kind} and resized by {after}")
    config = resolved(replace(config, {"data.interpolation": list(train.interpolation)}))
    validation = None
    wanted = config.validation.split
    if wanted in splits(root):
        validation = open_pairs(config, root, wanted, cache_folder=cache, beside=[train])
        if (shared := _shared_groups(train, validation, wanted)) is not None:
            notes.append(shared)
    elif config.validation.every is not None:
        notes.append(f"nothing is validated: {root} has no split {wanted!r} (validation.split)")
    samples = validation or open_pairs(config, root, "train", cache_folder=cache, beside=[train])
    return TrainingData(config, train, samples, validation, rank, world_size, tuple(notes), cache)


def _shared_groups(train: PairedDataset, held_out: PairedDataset, split: str) -> str | None:
    """Return the sentence on groups of which both splits have members, or None."""
    groups, others = ({pair.group for pair in one.pairs} - {None} for one in (train, held_out))
    both = sorted(group for group in groups & others if group is not None)
    if not both:
        return None
    return (
        f"{named(both)} {'has' if len(both) == 1 else 'have'} pairs in train and in {split}, so "
        "that what is validated is not new: limner split --by group keeps groups whole"
    )


def keep_resident(data: TrainingData, device: torch.device) -> str | None:
    """Let the training images stay on a CUDA device; return why they cannot, or nothing."""
    if device.type != "cuda":
        return f"images stay on a CUDA device, and this is {device.type}"
    if data.config.training.workers:
        return "workers cannot hand over what lies on a device: set training.workers=0"
    data.train.residence = residence(device)
    return None


def _with_labels(
    config: Config, labels: LabelSettings, root: Path, *, memory: Path
) -> tuple[Config, tuple[str, ...]]:
    """Return the configuration with its label settings filled in, and what was derived."""
    facts = derive_labels(
        root, direction=config.data.direction, memory=memory, **labels.model_dump()
    )
    derived = {key: getattr(facts, key) for key in LabelSettings.model_fields}
    return replace(config, {"data.labels": derived}), facts.notes
