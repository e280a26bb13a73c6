"""`limner export`: a run's generator becomes a file that is proven before it appears."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from limner.errors import ConfigError, DataError, unknown_name
from limner.export.describing import description
from limner.export.formats import FORMATS, Format
from limner.export.parity import BOUND, check_dropout, largest_difference
from limner.files import replacing
from limner.inference import Translator
from limner.inference.graphs import Inputs, inputs_of, live_dropouts, prepared
from limner.inference.runtimes import library


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
    file says of itself is `describing.description`.

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
                made = chosen.read(proof)
                difference = largest_difference(made, translator.generator, bound=bound, **known)
            chosen.write(network, files, **shape, about=about)
            spread = check_dropout(chosen.read(files), translator.generator, **known)
        else:
            chosen.write(network, files, **shape, about=about)
            made = chosen.read(files)
            difference = largest_difference(made, translator.generator, bound=bound, **known)
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
    made = not folder.exists()
    try:
        with contextlib.ExitStack() as stack:
            yield tuple(stack.enter_context(replacing(path)) for path in files)
    except BaseException:
        if made:
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
