"""`limner export` and `limner bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from limner.cli.options import Few, Finite, Json, Name, print_json, read_size, say


def export(
    run: Path,
    *,
    form: Annotated[str, Parameter(name="--format")] = "onnx",
    out: Path | None = None,
    size: str | None = None,
    checkpoint: Name = "best",
    dropout: bool | None = None,
    bound: Finite = 1e-4,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Write a run's generator as one file for other programs, proven before it appears.

    The file is read back and compared with the run's own network on seeded pictures; above
    `--bound` nothing is written. ONNX and OpenVINO need `pip install 'limner[export]'`.

    **Examples**

    - `limner export runs/facades --format onnx`
    - `limner export runs/facades --format openvino --out facades.xml --size 256x512`
    - `limner export runs/facades --format torchscript --no-dropout`

    Parameters
    ----------
    run
        The run's folder.
    form
        onnx, openvino (a .xml and a .bin) or torchscript.
    out
        The file; RUN/export/RUN with the format's suffix if not given.
    size
        HEIGHTxWIDTH to fix; all multiples of what the generator needs are taken if not given.
    checkpoint
        best, newest or a step.
    dropout
        Live or off; as the run's inference.dropout if not given.
    bound
        The largest difference on [-1, 1] that is taken.
    overwrite
        Replace a file that exists.
    """
    from limner.errors import ConfigError
    from limner.export import export_run

    if not bound >= 0:  # nor NaN
        raise ConfigError(f"--bound {bound}: give the largest difference to take, such as 1e-4")
    facts = export_run(
        run,
        form=form,
        out=out,
        size=read_size(size, option="--size"),
        checkpoint=checkpoint,
        dropout=dropout,
        bound=bound,
        overwrite=overwrite,
    )
    if json:
        print_json(facts)
        return
    spread = ""
    if facts["dropout"]:
        spread = f"; dropout is live and spreads {facts['dropout_spread']:.2f} times the run's"
    say(
        f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB) differs from the run by at most "
        f"{facts['difference']:.1e} (bound {facts['bound']:.0e}){spread}"
    )


def bench(
    run: Path,
    *,
    size: str | None = None,
    backends: str | None = None,
    batch: Few = 8,
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=2, lte=10_000))] = 15,
    checkpoint: Name = "best",
    json: Json = False,
) -> None:
    """Time a run's back ends on this machine by turns: latency, throughput, truth, start.

    **Examples**

    - `limner bench runs/facades`
    - `limner bench runs/facades --size 256x256 --backends folded,bf16,onnxruntime --json`

    Parameters
    ----------
    run
        The run's folder.
    size
        HEIGHTxWIDTH; the size of training if not given.
    backends
        Names separated by commas; all that are installed if not given. eager is always there.
    batch
        Pictures a call for the throughput.
    rounds
        Turns; 15 take about a minute for pix2pix's U-Net at 256x256 on two cores.
    checkpoint
        best, newest or a step.
    """
    from limner.inference.bench import bench as measured
    from limner.inference.bench import table
    from limner.run import checkpoint_folder
    from limner.terminal import status

    checkpoint_folder(run, checkpoint)
    names = None if backends is None else [name.strip() for name in backends.split(",")]
    with status("looking") as show:
        results = measured(
            run,
            backends=names,
            size=read_size(size, option="--size"),
            batch=batch,
            rounds=rounds,
            checkpoint=checkpoint,
            progress=show,
        )
    if json:
        print_json(results)
        return
    say(results["machine"])
    height, width = results["size"]
    say(f"{height}x{width}, throughput at batches of {batch}, medians of {rounds} turns", "")
    say(*table(results).split("\n"))
    for note in results["notes"]:
        say("", note)
