"""Signals after OpenVINO's models are gone: Ctrl-C must stay an interrupt, not become a crash."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import faulthandler, gc, os, signal, sys
from pathlib import Path
from limner.inference.backends import OpenVINO

faulthandler.enable()  # its handler needs a stack of its own, which OpenVINO's takes the place of
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
one, other = (OpenVINO(Path(sys.argv[1])) for _ in range(2))
del one
gc.collect()
del other
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals as on POSIX")
def test_signals_are_handled_after_models_ended_in_any_order(tmp_path: Path) -> None:
    openvino = pytest.importorskip(
        "openvino", reason="needs OpenVINO: pip install 'limner[export]'"
    )
    import numpy as np
    from openvino import opset13

    given = opset13.parameter([1, 3, 8, 8], np.float32)
    model = openvino.Model([opset13.relu(given)], [given], "relu")
    openvino.save_model(model, str(tmp_path / "relu.xml"))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "relu.xml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
