"""The command line. This module is light: it answers signals before anything heavy is imported.

Exit codes: 0 done, 1 the work failed underway, 2 wrong use or input that cannot be worked on, 70 a
fault of Limner itself, 130 and 143 stopped by SIGINT and SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

FAULT = 70
_LESS_MEMORY = (
    "take a smaller size or batch, for training also --set training.activation_checkpointing=true"
)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, raised where the main thread is."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with _signals():
            status = _run(words)
    except KeyboardInterrupt as stop:
        _complain("stopped")
        return 128 + getattr(stop, "signum", signal.SIGINT)
    return status


def _run(words: list[str]) -> int:
    from limner.errors import LimnerError, memory_errors

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # no letter ends a command that has done its work
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        from limner.cli.app import run

        with _warnings(), memory_errors("at work", cure=_LESS_MEMORY):
            status = run(words)
            sys.stdout.flush()
    except LimnerError as error:
        _complain(str(error))
        return error.exit_code
    except BrokenPipeError:
        _silence_stdout()  # the reader of our output has gone (`| head`): nothing is left to say
        return 0
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _silence_stdout()  # rich, which prints the help, ends the process of itself then
        return 0
    except Exception as error:
        if isinstance(error, OSError):
            return _system_error(error, words)
        return _fault(error, words)
    return status


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Say during the block what is logged as a warning, by Limner or Python, in one line each."""
    import logging

    from limner.errors import printable

    said: set[str] = set()

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.name == "py.warnings":  # the second line is one of source code
                text = text.partition("\n")[0]
            line = printable(text)
            if line not in said:
                said.add(line)
                with contextlib.suppress(OSError, ValueError):
                    print(line, file=sys.stderr, flush=True)

    handler = Lines(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("limner", "py.warnings")]
    for logger in loggers:
        logger.addHandler(handler)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for logger in loggers:
            logger.removeHandler(handler)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Answer SIGINT and SIGTERM during the block by `Stopped`; what was ignored stays ignored.

    An exception out of a signal may be swallowed by whatever is being imported, or leave it half
    done. Nothing has begun then that needs an end, so the process ends at once.
    """
    home = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != home:  # a forked worker: it ends as any process does
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                os.write(2, b"limner: stopped\n")
                os._exit(128 + signum)
            frame = frame.f_back
        raise Stopped(signum)

    before = {}
    with contextlib.suppress(ValueError):  # signals belong to the main thread
        for signum in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, stop)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _complain(sentence: str) -> None:
    """Say one sentence on standard error; nobody may be left to read it."""
    from limner.errors import printable

    if len(sentence) > 4000:  # a name of a hundred thousand letters says no more than its ends
        sentence = f"{sentence[:2000]} ... {sentence[-1000:]}"
    with contextlib.suppress(OSError, ValueError):
        print(f"limner: {printable(sentence)}", file=sys.stderr, flush=True)


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter's end does not fail on it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError, words: list[str]) -> int:
    """Say what the system refused; exit 2 where another path is the cure, else 1."""
    from limner.errors import DISK_ERRORS

    if error.errno is None:
        return _fault(error, words)
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        _complain(f"the system refused the work ({reason}): make room for it and repeat")
        _silence_stdout()
        return 1
    path = os.fsdecode(error.filename) if not isinstance(error.filename, int) else error.filename
    if error.errno in DISK_ERRORS:
        _complain(f"{path} cannot be used ({reason}): make room, or name another path")
        return 1
    _complain(f"{path} cannot be used ({reason}): name another path, or make this one usable")
    return 2


def _fault(error: BaseException, words: list[str]) -> int:
    """Say that Limner itself is at fault and where the details lie."""
    import platform
    import shlex
    import tempfile
    import traceback

    from limner import __version__

    details = "".join(traceback.format_exception(error))
    what = f"this is a fault of Limner ({type(error).__name__}: {str(error)[:200]})"
    if os.environ.get("LIMNER_DEBUG"):
        print(details, file=sys.stderr)
        _complain(f"{what}: please report it with the lines above")
        return FAULT
    head = f"limner {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    head += f"{shlex.join(['limner', *words])}\n\n"
    try:
        handle, path = tempfile.mkstemp(prefix="limner-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + details)
    except OSError:
        _complain(f"{what}: set LIMNER_DEBUG=1 to see the details, and report them")
    else:
        _complain(f"{what}: please report it with the details in {path}")
    return FAULT
