"""The command line: one module a group of commands; heavy imports wait until a command runs."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

from limner import __version__
from limner.cli import demo, experiment, export, measure, runs, training
from limner.errors import LimnerError


def build() -> App:
    """Return the application with all its commands."""
    app = App(
        name="limner",
        version=__version__,
        help="Turn one image into another, learnt from pairs: pix2pix, trained and measured.",
        help_format="markdown",
    )
    app.command(demo.demo)
    app.command(training.train)
    app.command(runs.translate)
    app.command(measure.evaluate, usage="Usage: limner evaluate [OPTIONS] RUN [RUN ...] DATA")
    app.command(measure.compare)
    app.command(measure.report)
    app.command(export.export)
    app.command(export.bench)
    app.command(runs.import_run, name="import")
    app.command(experiment.experiment)
    app.command(training.presets)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 findings, 2 wrong use."""
    try:
        build()(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        print(f"limner: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        reason = error.strerror or type(error).__name__
        cure = "name another path, or make this one usable"
        print(f"limner: {error.filename} cannot be used ({reason}): {cure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("limner: stopped", file=sys.stderr)
        return 130
    return 0
