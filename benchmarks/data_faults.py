"""Plant faults in data sets and see which `limner check` finds: precision and recall by name.

    python benchmarks/data_faults.py SET [SET ...] [--shares 0.01 0.05 0.2] [--seeds 3]

A SET is a data folder, or `drawn`. Up to --pairs pairs of its train and a quarter as many of its
test are copied; a fault is planted in a share of those of train (a leak: of test, whose pair gets
into train), at random by the seed. What the clean copy is found to have is no false alarm. Writes
a line of JSON for each fault, share and seed, and in the end a table of all seeds together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy.ndimage import gaussian_filter, zoom

from limner.checks import check_data
from limner.data import Pair, find_pairs, splits

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def enlarged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture from a half, a third or a quarter of its pixels."""
    factor = int(rng.integers(2, 5))
    small = image.resize((image.width // factor, image.height // factor), LANCZOS)
    return small.resize(image.size, BICUBIC if rng.random() < 0.5 else LANCZOS)


def compressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture through a JPEG of quality 10 to 30."""
    import io

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(10, 31)))
    return Image.open(buffer).convert("RGB")


def blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture out of focus."""
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.2, 3))))


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return three quarters to nine tenths of the picture at its old size."""
    part = float(rng.uniform(0.75, 0.9))
    width, height = round(part * image.width), round(part * image.height)
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height)).resize(image.size, BICUBIC)


def mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture from left to right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brightened(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture brighter or darker."""
    return ImageEnhance.Brightness(image).enhance(float(rng.choice([0.75, 1.3])))


def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture at another size."""
    part = float(rng.uniform(0.6, 0.85))
    return image.resize((round(part * image.width), round(part * image.height)), BICUBIC)


def bilinear(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a label map that was halved and doubled by interpolation."""
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.NEAREST)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def outside(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a label map with a patch of an id that no class has."""
    ids = np.array(image)
    top, left = (int(rng.integers(0, side - 20)) for side in ids.shape)
    ids[top : top + 16, left : left + 16] = int(rng.integers(40, 200))
    return Image.fromarray(ids)


def mask(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a label map as a mask of 0 and 255."""
    return Image.fromarray(((np.array(image) > 3) * 255).astype(np.uint8))


# Fault: the name that should be found, which file of a pair it is planted in, what it does.
FAULTS: dict[str, tuple[str, str, Change]] = {
    "upscaled": ("upscaled", "target", enlarged),
    "compressed": ("compressed", "target", compressed),
    "blurred": ("blurred", "target", blurred),
    "leak-encoded": ("leak", "leak", compressed),
    "leak-cropped": ("leak", "leak", cropped),
    "leak-mirrored": ("leak", "leak", mirrored),
    "leak-brightened": ("leak", "leak", brightened),
    "leak-resized": ("leak", "leak", resized),
    "interpolated": ("interpolated-labels", "source", bilinear),
    "label-range": ("label-range", "source", outside),
    "mask": ("mask-for-labels", "source", mask),
}
_OF_LABELS = {"interpolated", "label-range", "mask"}


def draw(root: Path, *, train: int, test: int) -> None:
    """Draw label maps with smooth borders, and photos of them with texture."""
    for seed in range(train + test):
        rng = np.random.default_rng(seed)
        fields = zoom(rng.normal(size=(5, 7, 7)), (1, 192 / 7, 192 / 7), order=1)
        ids = fields[:, :192, :192].argmax(axis=0).astype(np.uint8)
        texture = sum(
            gaussian_filter(rng.normal(size=ids.shape), sigma) * sigma * 28
            for sigma in (0.4, 1.5, 4.0)
        )
        colours = np.random.default_rng(1).integers(40, 215, (5, 3))
        photo = (colours[ids] + np.asarray(texture)[..., None]).clip(0, 255).astype(np.uint8)
        split = "train" if seed < train else "test"
        for kind, pixels in (("label", ids), ("photo", photo)):
            path = root / split / kind / f"{_name(seed)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def _name(number: int) -> str:
    """Return a name without an order: neighbours by number are no frames."""
    return f"{np.random.default_rng(number).integers(16**8):08x}x"


def copy(root: Path, out: Path, *, pairs: int, seed: int, direction: str | None) -> None:
    """Copy some pairs of a set as PNG, as label and photo; halves as source and target."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", pairs), ("test", pairs // 4)):
        if split not in splits(root):
            continue
        found = find_pairs(root, split, direction=direction)
        chosen = rng.choice(len(found), min(count, len(found)), replace=False)
        for number in sorted(chosen.tolist()):
            _copy_pair(found[number], out / split)


def _copy_pair(pair: Pair, folder: Path) -> None:
    kinds = ("source", "target") if pair.source_half else ("label", "photo")
    for kind, path, half in zip(
        kinds, (pair.source, pair.target), (pair.source_half, pair.target_half), strict=True
    ):
        with Image.open(path) as image:
            middle = image.width // 2
            boxes = {
                "left": (0, 0, middle, image.height),
                "right": (middle, 0, image.width, image.height),
            }
            part = image.crop(boxes[half]) if half else image.copy()
        (folder / kind).mkdir(parents=True, exist_ok=True)
        part.save(folder / kind / f"{pair.name}.png")


def plant(root: Path, fault: str, share: float, seed: int) -> set[str]:
    """Plant a fault in a copy; returns the files that should be named."""
    _, where, change = FAULTS[fault]
    rng = np.random.default_rng([seed, round(share * 1000)])
    kinds = sorted(path.name for path in (root / "train").iterdir())  # label, photo; source, target
    planted = set()
    if where != "leak":
        kind = kinds[0] if where == "source" else kinds[1]
        files = sorted((root / "train" / kind).iterdir())
        for number in rng.choice(len(files), max(1, round(share * len(files))), replace=False):
            image = Image.open(files[number])
            change(image, rng).save(files[number])
            planted.add(files[number].relative_to(root).as_posix())
        return planted
    held = sorted((root / "test" / kinds[1]).iterdir())
    training = sorted((root / "train" / kinds[1]).iterdir())
    number = max(1, round(share * len(held)))
    for one, other in zip(
        rng.choice(len(held), number, replace=False),
        rng.choice(len(training), number, replace=False),
        strict=True,
    ):
        state = int(rng.integers(2**32))
        for kind in kinds:  # both sides alike; ids are never blended
            image = Image.open(root / "test" / kind / held[one].name)
            changed = change(image, np.random.default_rng(state))
            if kind == "label":
                changed = image if change in (compressed, brightened) else changed
            changed.save(root / "train" / kind / training[other].name)
        planted.add(held[one].relative_to(root).as_posix())
    return planted


def named(root: Path, name: str, memory: Path) -> set[str]:
    """Return the files that findings of a name give; of leaks the held-out ones."""
    files: set[str] = set()
    for finding in check_data(root, memory=memory).findings:
        if finding.name == name:
            files |= {held for held, _ in finding.pairs} if finding.pairs else set(finding.files)
    return files


def trials(
    chosen: list[str],
    sets: list[str],
    shares: list[float],
    seeds: int,
    pairs: int,
    direction: str | None,
) -> Iterator[dict[str, object]]:
    """Yield what each planted fault gave."""
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder) / "memory"
        for name in sets:
            clean = Path(folder) / "clean"
            shutil.rmtree(clean, ignore_errors=True)
            if name == "drawn":
                draw(clean, train=pairs, test=pairs // 4)
            else:
                copy(Path(name), clean, pairs=pairs, seed=0, direction=direction)
            labelled = (clean / "train" / "label").is_dir()
            for fault in chosen:
                if fault in _OF_LABELS and not labelled:
                    continue
                finding = FAULTS[fault][0]
                before = named(clean, finding, memory)
                for share in shares:
                    for seed in range(seeds):
                        root = Path(folder) / "planted"
                        shutil.rmtree(root, ignore_errors=True)
                        shutil.copytree(clean, root)
                        planted = plant(root, fault, share, seed)
                        found = named(root, finding, memory)
                        false = found - planted - before
                        yield {
                            "set": Path(name).name,
                            "fault": fault,
                            "share": share,
                            "seed": seed,
                            "planted": len(planted),
                            "hit": len(found & planted),
                            "false": len(false),
                            "clean": len(before),
                        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.01, 0.05, 0.2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--direction", choices=["AtoB", "BtoA"], help="which side is the photo")
    given = parser.parse_args()
    sums: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4, int))
    keys = ("planted", "hit", "false", "clean")
    given_trials = trials(
        given.faults, given.sets, given.shares, given.seeds, given.pairs, given.direction
    )
    for trial in given_trials:
        print(json.dumps(trial), flush=True)
        sums[str(trial["set"]), str(trial["fault"])] += [int(str(trial[key])) for key in keys]
    print(f"{'set':<12}{'fault':<18}{'planted':>8}{'recall':>8}{'precision':>10}", file=sys.stderr)
    for (name, fault), (planted, hit, false, _) in sums.items():
        precision = hit / max(1, hit + false)
        print(
            f"{name:<12}{fault:<18}{planted:>8}{hit / planted:>8.3f}{precision:>10.3f}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
