"""The options of the metric seg, shared by `limner evaluate` and `limner compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from limner.cli.options import read_size, say
from limner.errors import ConfigError

if TYPE_CHECKING:
    from limner.evaluation.segmentation.scoring import Segmentation


@Parameter(name="*")
@dataclass(frozen=True)
class SegmentationOptions:
    """What the metric seg needs and what it may be told."""

    labels: Annotated[
        Path | None,
        Parameter(
            help="For seg: folder of label maps, matched by name; `evaluate` finds the data set's."
        ),
    ] = None
    segmenter: Annotated[
        str | None,
        Parameter(
            help="For seg: an .onnx file, a TorchScript file, a Hugging Face folder or name."
        ),
    ] = None
    class_map: Annotated[
        str | None,
        Parameter(
            help="For seg: cityscapes, cityscapes-train-ids, camvid, or a YAML or JSON file."
        ),
    ] = None
    segmentation_size: Annotated[
        str | None,
        Parameter(help="For seg: HEIGHTxWIDTH to which pictures are resized, such as 512x1024."),
    ] = None
    void: Annotated[
        tuple[int, ...], Parameter(help="For seg: a label id to leave out; may be repeated.")
    ] = ()
    protocol: Annotated[
        str, Parameter(help="For seg: plain, or cityscapes (pix2pix's evaluation).")
    ] = "plain"
    trust_torchscript: Annotated[
        bool,
        Parameter(negative=(), help="Run a TorchScript segmenter, which is a program."),
    ] = False


def load(
    options: SegmentationOptions | None,
    metrics: list[str],
    *,
    device: str,
    evaluated: tuple[Path, Path, str] | None = None,
) -> Segmentation | None:
    """Return the segmentation that the options ask for; None where there is none to do.

    Args:
        options: what the command was given.
        metrics: the metrics to measure, perhaps with seg.
        device: where the segmenter works.
        evaluated: a run, its data set and the split, whose own label maps serve where no others
            are named.

    Raises:
        ConfigError: options and metrics contradict each other.
    """
    options = options or SegmentationOptions()
    if "seg" not in metrics:
        flags = [
            f"--{name.replace('_', '-')}"
            for name, value in vars(options).items()
            if value != getattr(SegmentationOptions(), name)
        ]
        if flags:
            raise ConfigError(f"{flags[0]} serves the metric seg alone: add seg to --metrics")
        return None
    labels, class_map = options.labels, options.class_map
    both = ConfigError("seg needs label maps and a segmenter: say --labels and --segmenter")
    if options.segmenter is None:
        raise ConfigError("seg needs a segmenter: say --segmenter FILE") if evaluated else both
    from limner.evaluation.segmentation.protocols import protocol
    from limner.evaluation.segmentation.scoring import segmentation

    if labels is None:
        if evaluated is None:
            raise both
        from limner.config import read_config
        from limner.evaluation.segmentation.label_files import own_class_map, own_labels

        run, data, split = evaluated
        config = read_config(run / "config.yaml")
        labels = own_labels(config, data, split)
        if class_map is None and protocol(options.protocol).class_map is None:
            class_map = own_class_map(config, data, split)
    return segmentation(
        segmenter=options.segmenter,
        labels=labels,
        class_map=class_map,
        size=read_size(options.segmentation_size, option="--segmentation-size"),
        void=options.void,
        protocol_name=options.protocol,
        trust_torchscript=options.trust_torchscript,
        device=device,
    )


def print_segmentation(details: dict[str, dict[str, Any]]) -> None:
    """Print the score, real beside generated, where seg was measured."""
    if "seg" in details:
        from limner.evaluation.segmentation.notes import text

        say("", *text(details["seg"]).split("\n"))
