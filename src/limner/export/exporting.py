"""`limner export`: a run's generator becomes a file that is proven before it appears."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limner import __version__
from limner.config import Config
from limner.data import label_table
from limner.errors import (
    ConfigError,
    DataError,
    ExportError,
    memory_errors,
    ran_out_of_memory,
    unknown_name,
)
from limner.export.formats import FORMATS, Format
from limner.files import replacing
from limner.inference import Translator, as_for_pictures
from limner.inference.backends import library
from limner.inference.graphs import OUTPUT, Inputs, inputs_of, live_dropouts, prepared

BOUND = 1e-4
"""The largest difference on [-1, 1] that float32 and another order of sums explain: 1/80 level."""

DRAWS = 6


@memory_errors("exporting", cure="take a smaller --size, or a machine with more memory")
def export_run(
    run: Path | str,
    *,
    form: str = "onnx",
    out: Path | None = None,
    size: tuple[int, int] | None = None,
    checkpoint: str = "best",
    dropout: bool | None = None,
    bound: float = BOUND,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a run's generator as one file (with its weights beside it for OpenVINO).

    The file takes `source`, float32 N x C x H x W in [-1, 1] (for label maps their expansion, 0
    and 1), with sides that are multiples of the generator's, and `code`, N x L, where the
    generator takes a style code; it gives `picture`, N x 3 x H x W in [-1, 1]. Batch norm's
    statistics are as `inference.statistics` has them, each picture's own if "batch". What the
    file says of itself is `description`.

    Before the file appears it is read back and compared with the run's own network on seeded
    pictures; dropout, which is random, is compared by its spread, and all the rest without it.

    Args:
        run: the run's folder.
        form: a name in `formats.FORMATS`.
        out: the file; RUN/export/RUN.SUFFIX by default.
        size: height and width to fix; left open otherwise.
        checkpoint: "best", "newest" or a step.
        dropout: live or off; as `inference.dropout` has it by default.
        bound: the largest difference on [-1, 1] that is taken.
        overwrite: whether a file that exists may be replaced.

    Returns:
        file, form, difference, bound, size, multiple, dropout, its spread over the run's own,
        statistics and bytes.

    Raises:
        LimnerError: something cannot be used or is not installed; the file would differ. Nothing
            is left behind then.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    chosen, run = FORMATS[form], Path(run)
    for name in chosen.needs:
        library(name)
    translator = Translator.load(run, checkpoint=checkpoint, backend="eager")
    inputs = inputs_of(translator.generator)
    out = _file(run, out, chosen, overwrite=overwrite)
    _check_size(size, inputs)
    statistics = translator.config.inference.statistics
    wanted = translator.config.inference.dropout if dropout is None else dropout
    network = prepared(translator.generator, statistics=statistics, dropout=wanted)
    live = live_dropouts(network) > 0
    about = description(
        translator.config,
        run,
        checkpoint=translator.checkpoint,
        weights=translator.weights,
        inputs=inputs,
        size=size,
        dropout=live,
    )
    shape: dict[str, Any] = {"inputs": inputs, "size": size}
    known = {**shape, "statistics": statistics}
    spread = None
    with _appearing(chosen.files(out)) as files:
        if live:
            with tempfile.TemporaryDirectory() as folder:
                still = prepared(translator.generator, statistics=statistics, dropout=False)
                proof = chosen.files(Path(folder) / f"still{chosen.suffixes[0]}")
                chosen.write(still, proof, **shape, about=about)
                still_file = chosen.read(proof)
                difference = largest_difference(
                    still_file, translator.generator, bound=bound, **known
                )
            chosen.write(network, files, **shape, about=about)
            spread = check_dropout(chosen.read(files), translator.generator, **known)
        else:
            chosen.write(network, files, **shape, about=about)
            exported = chosen.read(files)
            difference = largest_difference(exported, translator.generator, bound=bound, **known)
    return {
        "file": str(out),
        "form": form,
        "difference": difference,
        "bound": bound,
        "size": size,
        "multiple": inputs.multiple,
        "statistics": statistics,
        "dropout": live,
        "dropout_spread": spread,
        "bytes": sum(path.stat().st_size for path in chosen.files(out)),
    }


@contextlib.contextmanager
def _appearing(files: tuple[Path, ...]):
    """Give temporary files that become `files`, the first last, when the block ends well."""
    folder = files[0].parent
    is_new = not folder.exists()
    try:
        with contextlib.ExitStack() as stack:
            yield tuple(stack.enter_context(replacing(path)) for path in files)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _file(run: Path, out: Path | None, form: Format, *, overwrite: bool) -> Path:
    suffix = form.suffixes[0]
    if out is None:
        out = run / "export" / f"{run.resolve().name}{suffix}"
    if out.suffix != suffix:
        raise ConfigError(f"--out {out}: the file's name has to end in {suffix}")
    for path in form.files(out):
        if path.is_dir():
            raise DataError(f"{path} is a folder: give a file as --out")
        if path.exists() and not overwrite:
            raise DataError(f"{path} exists: give another --out, or --overwrite to replace it")
    return out


def _check_size(size: tuple[int, int] | None, inputs: Inputs) -> None:
    if size is None:
        return
    multiple, smallest = inputs.multiple, inputs.smallest
    if any(side % multiple or side < max(1, smallest) for side in size):
        near = [max(-(-smallest // multiple), round(s / multiple), 1) * multiple for s in size]
        raise ConfigError(
            f"--size {size[0]}x{size[1]}: this generator's sides are multiples of {multiple} and "
            f"at least {smallest}: give {near[0]}x{near[1]}"
        )


def description(
    config: Config,
    run: Path,
    *,
    checkpoint: str,
    weights: Mapping[str, str],
    inputs: Inputs,
    size: tuple[int, int] | None,
    dropout: bool,
) -> dict[str, Any]:
    """Return what a user of the file has to know, ready for JSON.

    Args:
        config, run, checkpoint: the run and the name of its checkpoint.
        weights: the `file` that was loaded and its `sha256`.
        inputs: what the generator is given.
        size: height and width where they are fixed, None where any multiple will do.
        dropout: whether the graph draws random numbers.
    """
    height, width = size or ("height", "width")
    shapes: dict[str, Any] = {"source": ["count", inputs.channels, height, width]}
    if inputs.latent:
        shapes["code"] = ["count", inputs.latent]
    labels = config.data.labels
    return {
        "limner": __version__,
        "torch": torch.__version__,
        "run": run.resolve().name,
        "checkpoint": checkpoint,
        "preset": config.preset,
        "generator": config.generator.name,
        "weights": {**weights, "file": Path(weights["file"]).name},
        "inputs": shapes,
        "outputs": {OUTPUT: ["count", config.data.channels[1], height, width]},
        "range": [-1, 1],
        "values": {
            role: None
            if span is None
            else {"low": span.low, "high": span.high, "scale": span.scale, "nodata": span.nodata}
            for role, span in zip(("source", "target"), config.data.spans, strict=True)
        },
        "multiple": inputs.multiple,
        "smallest": inputs.smallest,
        "source": "picture" if labels is None else "labels",
        "statistics": config.inference.statistics,
        "dropout": dropout,
        "labels": None if labels is None else _labels(config),
    }


def _labels(config: Config) -> dict[str, Any]:
    """Return what each channel of a label map's expansion means, in their order."""
    labels = config.data.labels
    assert labels is not None
    expansion = labels.expansion
    table = label_table(labels.table) if labels.table else None
    names = labels.names or (table.names if table else None)
    colours = labels.colours or (table.colours if table else None)
    channels = [f"class {number}" for number in range(expansion["classes"])]
    channels += ["void"] if expansion["void"] is not None else []
    channels += ["edges of instances"] if expansion["edges"] else []
    features = config.input_channels - config.source_channels
    channels += [f"feature {number}" for number in range(features)]
    return {
        **expansion,
        "first": labels.first,
        "channels": channels,
        "names": None if names is None else list(names),
        "colours": None if colours is None else [list(colour) for colour in colours],
    }


def largest_difference(
    exported: Callable[..., Tensor],
    network: nn.Module,
    *,
    inputs: Inputs,
    size: tuple[int, int] | None,
    statistics: str,
    bound: float = BOUND,
) -> float:
    """Return the largest absolute difference over seeded pictures of several sizes and numbers.

    Args:
        exported: the exported generator, without dropout.
        network: the run's own, as it was trained; pictures go through it one by one.
        inputs: what both are given.
        size: the only size that `exported` takes, or None where it takes all.
        statistics: "running" or "batch", as the run translates.
        bound: what the difference may be.

    Raises:
        ExportError: the difference is larger, the shape another one, or a size is not taken.
    """
    worst = 0.0
    for number, tried in enumerate(inputs.sizes(size)):
        drawn = inputs.example(2 - number % 2, tried, seed=number)
        with as_for_pictures(network, statistics=statistics, dropout=False):
            expected = torch.cat(
                [network(*(one[i : i + 1] for one in drawn)) for i in range(len(drawn[0]))]
            )
        shape = "x".join(map(str, drawn[0].shape))
        try:
            picture = exported(*drawn)
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            # Each runtime has exceptions of its own for what it cannot compute.
            reason = str(error).strip().splitlines()[-1]
            raise ExportError(f"the exported file does not take {shape}: {reason}") from error
        if picture.shape != expected.shape:
            raise ExportError(
                f"the exported file makes {tuple(picture.shape)} of {shape} where the run makes "
                f"{tuple(expected.shape)}: nothing was written"
            )
        # Not `max`: it would pass over what is not a number.
        difference = float((picture - expected).abs().max())
        if not difference <= bound:
            raise ExportError(
                f"the exported file differs from the run's generator by {difference:.2g} on "
                f"{shape}, more than {bound:.2g}: nothing was written"
            )
        worst = max(worst, difference)
    return worst


def check_dropout(
    exported: Callable[..., Tensor],
    network: nn.Module,
    *,
    inputs: Inputs,
    size: tuple[int, int] | None,
    statistics: str,
) -> float:
    """Return how much an exported generator's draws of one picture spread, over the run's own.

    The ratio of the mean standard deviations over a few draws is 1 up to chance.

    Raises:
        ExportError: the draws are all the same, or the ratio lies outside 0.5 to 2.
    """
    drawn = inputs.example(1, inputs.sizes(size)[0])

    def spread(draw: Callable[[], Tensor]) -> float:
        return float(torch.stack([draw() for _ in range(DRAWS)]).std(0).mean())

    with (
        as_for_pictures(network, statistics=statistics, dropout=True),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        own = spread(lambda: network(*drawn))
        theirs = spread(lambda: exported(*drawn))
    ratio = theirs / own if own else 1.0
    if not 0.5 <= ratio <= 2:
        raise ExportError(
            f"dropout does not live in the exported file as in the run (its pictures spread "
            f"{ratio:.2g} times as much): take another --format, or inference.dropout=false"
        )
    return ratio
