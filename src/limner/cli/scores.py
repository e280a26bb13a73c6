"""`limner evaluate`, `limner compare` and `limner report`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from limner.cli.options import (
    Device,
    Dropout,
    Json,
    Metrics,
    Name,
    Seed,
    Statistics,
    Weights,
    command_line,
    pick_device,
    print_comparison,
    print_json,
    print_scores,
    say,
)
from limner.cli.segmentation_options import SegmentationOptions, load, print_segmentation
from limner.errors import ConfigError

DEFAULT_METRICS = "l1,psnr,ssim"


def names(metrics: str | None) -> list[str]:
    """Split a list of metrics given as one word."""
    return [name.strip() for name in (metrics or DEFAULT_METRICS).split(",") if name.strip()]


def evaluate(
    runs_and_data: list[Path],
    /,
    *,
    split: Name = "test",
    metrics: Metrics = None,
    checkpoint: Name = "best",
    weights: Weights = None,
    device: Device = "auto",
    seed: Seed = 2020,
    out: Path | None = None,
    statistics: Statistics = None,
    dropout: Dropout = None,
    json: Json = False,
    seg: SegmentationOptions | None = None,
) -> None:
    """Translate a split with one or more runs and measure the pictures against the targets.

    Writes RUN/evaluation/SPLIT: the pictures, results.json and a sheet; renews report.html.
    Without --metrics those are measured that need no pretrained weights: l1, psnr, ssim.

    Several runs are also compared: OUT/comparison.html shows their scores, paired tests over the
    images, where the runs differ most, and pictures to swipe between; OUT/comparison.json holds
    the same. A run's earlier evaluation serves again where nothing it depends on has changed.

    **Examples**

    - `limner evaluate runs/facades facades --split test`
    - `limner evaluate runs/facades facades --metrics lpips,fid,kid --weights ~/weights`
    - `limner evaluate runs/gan runs/l1 facades --metrics lpips,ssim --out gan-or-l1`
    - `limner evaluate runs/streets camvid --metrics seg --segmenter net.onnx`

    Parameters
    ----------
    runs_and_data
        One or more runs' folders, then the data set, as for `limner train`.
    split
        The split to translate.
    checkpoint
        best, newest or a step.
    seed
        Decides dropout where the run keeps it on, the subsets of KID, and the tests.
    out
        Folder of the comparison of several runs; `comparison` if not given.
    """
    *runs, data = runs_and_data
    if not runs:
        raise ConfigError(
            f"{data} stands alone: give the runs and then the data set, as in "
            "limner evaluate RUN DATA or limner evaluate RUN RUN DATA"
        )
    if len(runs) == 1 and out is not None:
        raise ConfigError("--out is for the comparison of several runs: leave it out for one")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file: give a folder as --out")
    from limner.evaluation.compare import Comparison, compare_runs
    from limner.evaluation.evaluate import evaluate as evaluate_run
    from limner.evaluation.provenance import Evaluation
    from limner.reporting.comparison_page import write_comparison
    from limner.reporting.run_page import write_report
    from limner.terminal import stages

    measured = partial(
        compare_runs if len(runs) > 1 else evaluate_run,
        data=data,
        split=split,
        metrics=names(metrics),
        checkpoint=checkpoint,
        weights=weights,
        device=pick_device(device),
        seed=seed,
        command=command_line(),
        segmentation=load(
            seg, names(metrics), device=pick_device(device), evaluated=(runs[0], data, split)
        ),
        statistics=statistics,
        dropout=None if dropout is None else dropout == "true",
    )
    result: Evaluation | Comparison
    with stages() as progress:
        result = measured(runs if len(runs) > 1 else runs[0], progress=progress)
    pages = [write_report(run) for run in runs]
    if isinstance(result, Comparison):
        pages = [write_comparison(out or Path("comparison"), result.to_json())]
    if json:
        print_json(result.to_json())
    elif isinstance(result, Comparison):
        print_comparison(result.to_json())
    else:
        print_scores(result.scores.values, result.scores.details)
        print_segmentation(result.scores.details)
    if not json:
        say(f"see {pages[0]}")


def compare(
    real: Path,
    fake: Path,
    *,
    metrics: Metrics = None,
    weights: Weights = None,
    device: Device = "auto",
    seed: Seed = 2020,
    range_: Annotated[str | None, Parameter(name="--range", allow_leading_hyphen=True)] = None,
    nodata: float | None = None,
    masks: Path | None = None,
    json: Json = False,
    seg: SegmentationOptions | None = None,
) -> None:
    """Measure one folder of pictures against another; no run is needed.

    Pictures are paired by name for l1, psnr, ssim and lpips; fid, kid and fd-vgg16 compare the
    folders as wholes.

    **Examples**

    - `limner compare photos/real photos/made --metrics ssim,lpips,fid --weights ~/weights`
    - `limner compare ct/real ct/made --range -1024,3071 --metrics mae,psnr,ssim --masks bodies`
    - `limner compare photos/real photos/made --metrics seg --labels labels --segmenter net.onnx`

    Parameters
    ----------
    real
        Folder of the true pictures.
    fake
        Folder of the pictures to be measured.
    seed
        Decides the subsets of KID and the bootstrap intervals.
    range_
        LOW,HIGH in the files' unit: files of any type are then compared by their own numbers, with
        HIGH - LOW as the peak of psnr and ssim, and what is not finite does not count.
    nodata
        With --range: a value that stands for none.
    masks
        With --range: a folder of masks of the same names; where they are 0 pixels do not count.
    """
    from limner.data import Span
    from limner.evaluation.measure import compare_folders
    from limner.evaluation.value_folders import compare_values
    from limner.terminal import stages

    device = pick_device(device)
    segmentation = load(seg, names(metrics), device=device)
    ends = _ends(range_)
    if ends is None and (nodata is not None or masks is not None):
        raise ConfigError("--nodata and --masks belong to --range LOW,HIGH: state the range, too")
    if ends is not None and segmentation is not None:
        raise ConfigError("seg is of 8-bit pictures: leave --range out for it")
    with stages() as progress:
        common = {"weights": weights, "device": device, "seed": seed, "progress": progress}
        if ends is not None:
            span = Span(*ends, nodata="nan" if nodata is None else nodata)
            scores = compare_values(
                real, fake, metrics=names(metrics), span=span, masks=masks, **common
            )
        else:
            scores = compare_folders(
                real, fake, metrics=names(metrics), segmentation=segmentation, **common
            )
    if json:
        print_json(scores.to_json())
    else:
        print_scores(scores.values, scores.details)
        print_segmentation(scores.details)


def _ends(text: str | None) -> tuple[float, float] | None:
    """Return the two ends of LOW,HIGH; None for None."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--range {text}: give LOW,HIGH such as -1024,3071") from None
    return low, high


def report(run: Path, *, json: Json = False) -> None:
    """Write RUN/report.html anew from what the run's folder holds.

    **Examples**

    - `limner report runs/facades`

    Parameters
    ----------
    run
        The run's folder.
    """
    from limner.reporting.run_page import write_report

    page = write_report(run)
    if json:
        print_json({"report": page})
    else:
        say(f"see {page}")
