"""`limner evaluate`, `limner compare` and `limner report`."""

from __future__ import annotations

from pathlib import Path

from limner.cli.options import (
    Device,
    Json,
    Metrics,
    Weights,
    command_line,
    pick_device,
    print_json,
    print_scores,
)
from limner.cli.segmentation import SegmentationOptions, load, print_segmentation

DEFAULT_METRICS = "l1,psnr,ssim"


def names(metrics: str | None) -> list[str]:
    """Split a list of metrics given as one word."""
    return [name.strip() for name in (metrics or DEFAULT_METRICS).split(",") if name.strip()]


def evaluate(
    run: Path,
    data: Path,
    *,
    split: str = "test",
    metrics: Metrics = None,
    checkpoint: str = "best",
    weights: Weights = None,
    device: Device = "auto",
    seed: int = 2020,
    json: Json = False,
    seg: SegmentationOptions | None = None,
) -> None:
    """Translate a split with a run and measure the pictures against the targets.

    Writes RUN/evaluation/SPLIT: the pictures, results.json and a sheet; renews report.html.
    Without --metrics those are measured that need no pretrained weights: l1, psnr, ssim.

    **Examples**

    - `limner evaluate runs/facades facades --split test`
    - `limner evaluate runs/facades facades --metrics lpips,fid,kid --weights ~/weights`

    Parameters
    ----------
    run
        The run's folder.
    data
        The data set, as for `limner train`.
    split
        The split to translate.
    checkpoint
        best, newest or a step.
    seed
        Decides dropout where the run keeps it on, and the subsets of KID.
    """
    from limner.cli.progress import stages
    from limner.evaluation.evaluate import evaluate as evaluate_run
    from limner.evaluation.report import write_report

    segmentation = load(seg, names(metrics), device=pick_device(device))
    with stages() as progress:
        result = evaluate_run(
            run,
            data,
            split=split,
            metrics=names(metrics),
            checkpoint=checkpoint,
            weights=weights,
            device=pick_device(device),
            seed=seed,
            progress=progress,
            command=command_line(),
            segmentation=segmentation,
        )
    page = write_report(run)
    if json:
        print_json(result)
    else:
        print_scores(result["scores"]["values"], result["scores"]["details"])
        print_segmentation(result["scores"]["details"])
        print(f"see {page}")


def compare(
    real: Path,
    fake: Path,
    *,
    metrics: Metrics = None,
    weights: Weights = None,
    device: Device = "auto",
    seed: int = 2020,
    json: Json = False,
    seg: SegmentationOptions | None = None,
) -> None:
    """Measure one folder of pictures against another; no run is needed.

    Pictures are paired by name for l1, psnr, ssim and lpips; fid, kid and fd-vgg16 compare the
    folders as wholes.

    **Examples**

    - `limner compare photos/real photos/made --metrics ssim,lpips,fid --weights ~/weights`
    - `limner compare photos/real photos/made --metrics seg --labels labels --segmenter net.onnx`

    Parameters
    ----------
    real
        Folder of the true pictures.
    fake
        Folder of the pictures to be judged.
    seed
        Decides the subsets of KID and the bootstrap intervals.
    """
    from limner.cli.progress import stages
    from limner.evaluation.measure import compare_folders
    from limner.evaluation.segmentation.results import with_segmentation

    segmentation = load(seg, names(metrics), device=pick_device(device))
    with stages() as progress:
        scores = with_segmentation(
            names(metrics),
            real,
            fake,
            segmentation=segmentation,
            others=lambda rest: compare_folders(
                real,
                fake,
                metrics=rest,
                weights=weights,
                device=pick_device(device),
                seed=seed,
                progress=progress,
            ),
            seed=seed,
            progress=progress,
        )
    if json:
        print_json(scores.to_json())
    else:
        print_scores(scores.values, scores.details)
        print_segmentation(scores.details)


def report(run: Path) -> None:
    """Write RUN/report.html anew from what the run's folder holds.

    **Examples**

    - `limner report runs/facades`

    Parameters
    ----------
    run
        The run's folder.
    """
    from limner.evaluation.report import write_report

    print(f"see {write_report(run)}")
