"""The application with all its commands; heavy imports wait until a command runs."""

from __future__ import annotations

import functools

from cyclopts import App, CycloptsError, UnknownOptionError

import limner
from limner.cli import (
    check_command,
    demo,
    diagnose_command,
    experiment,
    export_command,
    plan_command,
    runs,
    scores,
    serve_command,
    shift_command,
    train_command,
)
from limner.errors import ConfigError


def build() -> App:
    """Return the application with all its commands."""
    app = App(
        name="limner",
        version=lambda: limner.__version__,
        help="Turn one image into another, learnt from pairs: pix2pix, trained and measured.",
        suppress_keyboard_interrupt=False,  # its exit code would be SIGINT's for every signal
        help_format="plaintext",  # its list of commands is, and a reader of markdown takes a while
    )
    command = functools.partial(app.command, help_format="markdown")
    command(demo.demo)
    command(check_command.check)
    command(check_command.split)
    command(plan_command.plan)
    command(shift_command.shift)
    command(train_command.train)
    command(diagnose_command.diagnose)
    command(runs.translate)
    command(serve_command.serve)
    command(scores.evaluate, usage="Usage: limner evaluate [OPTIONS] RUN [RUN ...] DATA")
    command(scores.compare)
    command(scores.report)
    command(export_command.export)
    command(export_command.bench)
    command(runs.import_run, name="import")
    command(experiment.experiment)
    command(train_command.presets)
    return app


def run(arguments: list[str]) -> int:
    """Run one command; returns 1 where its work found an error in what it looked at, else 0.

    Raises:
        ConfigError: the words are none that the command takes.
    """
    for word in arguments:
        if not word or "\0" in word:
            raise ConfigError(
                "one of the words is empty or holds a zero byte: is a variable of the shell unset?"
            )
    try:
        status = build()(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except UnknownOptionError as error:
        flag = "" if error.token is None else (error.token.keyword or "").partition("=")[0]
        meant = _key_meant(flag, arguments)
        raise ConfigError(meant or _sentence(error)) from None
    except CycloptsError as error:
        raise ConfigError(_sentence(error)) from None
    return status if isinstance(status, int) else 0


def _sentence(error: CycloptsError) -> str:
    return " ".join(str(error).split())


def _key_meant(flag: str, arguments: list[str]) -> str:
    """Say which `--set` a mistaken flag means, where it is a setting's key; "" where it is none."""
    if arguments[:1] not in (["train"], ["experiment"]):
        return ""
    from limner.config import documented_keys

    name = flag.lstrip("-").partition("=")[0].replace("-", "_")
    keys = [item.key for item in documented_keys() if item.meaning]
    exact = [key for key in keys if key.replace(".N.", ".0.") == name]
    last = sorted((k for k in keys if k.rpartition(".")[2] == name), key=_nearness)
    if not (exact or last):
        return ""
    key = (exact or last)[0].replace(".N.", ".0.")
    place = next((i for i, w in enumerate(arguments) if w.partition("=")[0] == flag), None)
    value = "VALUE"
    if place is not None:
        sign, after = arguments[place].partition("=")[1:]
        following = [word for word in arguments[place + 1 : place + 2] if not word.startswith("--")]
        value = after if sign else (following or [value])[0]
    return f"unknown option {flag}: did you mean --set {key}={value}?"


def _nearness(key: str) -> tuple[int, str]:
    """Order keys of one last word: those of training first, then data, objective, networks."""
    sections = ("training", "data", "objective", "generator", "discriminators")
    head = key.partition(".")[0]
    return (sections.index(head) if head in sections else len(sections), key)
