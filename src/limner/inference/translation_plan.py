"""What `limner translate` will do, settled and checked before any picture is translated."""

from __future__ import annotations

import glob
import itertools
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from limner.config import Config
from limner.data import images_in, left_out, natural, only_label_maps, sources_in
from limner.data.decode import header
from limner.data.pairs import named
from limner.data.pixels import channel_problem
from limner.errors import ConfigError, DataError
from limner.filenames import NAME_BYTES, listed_tree, safe_name

logger = logging.getLogger(__name__)

Side = Literal["left", "right"]
MANIFEST = ".csv"
SIDES = ("auto", "left", "right", "whole")
# What rounding of sides and of crops leaves of a ratio.
_ALIKE = 0.02


def plan_translation(
    inputs: Sequence[str],
    *,
    out: Path,
    suffix: str = ".png",
    tiffs: Collection[Path] = (),
    overwrite: bool = False,
    labels: bool = False,
    samples: int | None = None,
    recursive: bool = False,
) -> list[tuple[Path, Path]]:
    """Return each input picture with the file its translation goes to, before any work is done.

    Results keep their inputs' names. Those of a tree (`recursive`, or a pattern in which two files
    have one name) keep its folders, too.

    Args:
        inputs: files, folders (the images right inside them), glob patterns and manifests, whose
            rows stand for their first source.
        out: the folder of the results.
        suffix: of the results; see `picture_suffix`.
        tiffs: inputs whose results are TIFF files whatever `suffix` says.
        overwrite: whether results that exist may be replaced.
        labels: of folders in the manner of Cityscapes, take the label maps alone.
        samples: results for each input, numbered from 1; None for one without a number.
        recursive: take the images in a folder's folders, too.

    Raises:
        DataError: nothing matches, two inputs share a name, or a result exists.
    """
    homes: dict[Path, Path] = {}
    for text in inputs:
        home, matches = _matching(text, labels=labels, recursive=recursive)
        stems = Counter(path.stem for path in matches)
        tree = (recursive and Path(text).is_dir()) or any(n > 1 for n in stems.values())
        for path in matches:
            inside = tree and path.is_relative_to(home)
            below = path.parent.relative_to(home) if inside else Path()
            homes.setdefault(path, below)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: give a folder as --out")
    plan: dict[Path, Path] = {}
    numbers = [""] if samples is None else _numbers(samples)
    for (source, below), number in itertools.product(homes.items(), numbers):
        ending = f"{number}{'.tif' if source in tiffs else suffix}"
        name = safe_name(source.stem, at_most=NAME_BYTES - len(ending))
        result = out.joinpath(*(safe_name(part) for part in below.parts), f"{name}{ending}")
        if result in plan:
            raise DataError(
                f"{plan[result]} and {source} would both become {result}: translate them apart"
            )
        if result.exists() and not overwrite:
            raise DataError(f"{result} exists: give another --out, or --overwrite to replace it")
        plan[result] = source
    return [(source, result) for result, source in plan.items()]


def _matching(text: str, *, labels: bool, recursive: bool) -> tuple[Path, list[Path]]:
    """Return the images that an input names, and the folder that their places are counted from."""
    path = Path(text)
    if path.is_dir():
        home, matches = path, images_in(path, below=recursive)
        if (others := left_out(matches)) is not None:
            logger.warning("%s", others)
        matches = only_label_maps(matches) if labels else matches
        if not matches and not recursive and any(listed_tree(path)):
            raise DataError(
                f"{text} holds no image itself, only subfolders: give --recursive to translate "
                "what lies in them, or name one of them"
            )
    elif path.is_file() and path.suffix.lower() == MANIFEST:
        home, matches = path.parent, [files[0] for files in sources_in(path)]
    elif path.is_file():
        home, matches = path.parent, [path]
    else:
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        home = Path(*parts)
        # Patterns may be absolute, which Path.glob refuses.
        globbed = (Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
        matches = sorted((one for one in globbed if one.is_file()), key=lambda p: natural(str(p)))
    if not matches:
        raise DataError(f"{text} matches no image: give files, folders of images or globs")
    return home, matches


def further_sources(inputs: Sequence[str]) -> dict[Path, tuple[Path, ...]]:
    """Return the further files of sources that manifests among the inputs list, by the first."""
    manifests = [Path(text) for text in inputs if Path(text).suffix.lower() == MANIFEST]
    rows = [files for path in manifests if path.is_file() for files in sources_in(path)]
    return {files[0]: files[1:] for files in rows if len(files) > 1}


def masks_of(sources: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the mask of each source: the file of its name in a folder.

    Raises:
        DataError: the folder is not there, or has no mask for a source.
    """
    if not folder.is_dir():
        raise DataError(f"--masks {folder} is no folder: give the one that holds the masks")
    by_name = {path.stem: path for path in images_in(folder)}
    lacking = [source.name for source in sources if source.stem not in by_name]
    if lacking:
        raise DataError(
            f"{folder} holds no mask of the name of {named(lacking)}: give every picture one, or "
            "leave --masks out"
        )
    return {source: by_name[source.stem] for source in sources}


def _numbers(count: int) -> list[str]:
    if count < 1:
        raise ConfigError(f"--samples {count}: give 1 or more")
    return [f"_{number:0{len(str(count))}d}" for number in range(1, count + 1)]


def check_sources(
    config: Config,
    sources: Sequence[Path],
    *,
    more: Mapping[Path, Sequence[Path]] = MappingProxyType({}),
) -> None:
    """Look at every source's header, so that what cannot be used is named before work starts.

    `more` are further files of some sources, whose channels follow.

    Raises:
        DataError: a file is no image, or has other channels than the run's sources.
    """
    data = config.data
    for source in sources:
        stored = sum(header(path, windows=True)[0] for path in (source, *more.get(source, ())))
        if data.labels is not None:
            continue
        wanted = data.channels[0]
        problem = channel_problem(
            stored,
            wanted,
            convert=data.convert and source not in more,
            path=source,
            cure=f"give images of {wanted} channels"
            + ("" if data.convert else ", or --convert to convert 1, 2, 3 and 4 channels"),
        )
        if problem is not None:
            raise DataError(problem)


def sides_of(
    config: Config, sources: Sequence[Path], *, side: str = "auto", size: str = "trained"
) -> tuple[Mapping[Path, Side | None], str | None]:
    """Return which half of each source is translated, None for the whole, and a sentence to say.

    Where pictures are resized to the size of training their shape tells a side-by-side pair: it is
    twice as wide as what the run was trained on. Then "auto" takes the half that the run's
    direction begins with.

    Args:
        config: the run's.
        sources: the files.
        side: a name in SIDES.
        size: as `translate_file` takes it.

    Raises:
        DataError: a whole pair of which the half is not known, or a half asked for of a picture
            that is none.
    """
    data = config.data
    if side == "whole":
        return dict.fromkeys(sources), None
    resizes = size == "trained" and data.mode in ("resize_crop", "resize")
    expected = data.size[1] / data.size[0]
    halves: dict[Path, Side | None] = {}
    for source in sources:
        _, height, width = header(source, windows=True)
        shape = width / height / expected
        if side in ("left", "right"):
            if resizes and abs(shape - 1) < _ALIKE:
                raise DataError(
                    f"{source} is {width}x{height}, the shape of one picture of this run, and its "
                    f"half would be {width // 2}x{height}: leave --side {side} out"
                )
            halves[source] = side
        elif resizes and abs(shape / 2 - 1) < _ALIKE and width % 2 == 0:
            if data.direction is None:
                raise DataError(
                    f"{source} is {width}x{height}, twice as wide as this run's pictures: give "
                    "--side left or right to translate that half of a pair, or --side whole"
                )
            halves[source] = "left" if data.direction == "AtoB" else "right"
        else:
            halves[source] = None
    taken = [half for half in halves.values() if half is not None]
    if side != "auto" or not taken:
        return halves, None
    return halves, (
        f"{len(taken)} of {len(sources)} pictures are twice as wide as this run's, as side-by-side "
        f"pairs are: their {taken[0]} halves are translated (--side whole translates them whole)"
    )
