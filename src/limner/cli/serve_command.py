"""`limner serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from limner.cli.options import Device, pick_device, say
from limner.errors import ConfigError


def serve(
    runs: list[Path],
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8000,
    token: str | None = None,
    backend: str = "folded",
    device: Device = "auto",
) -> None:
    """Serve a page on which one draws a source and sees the picture that a run makes of it.

    The page works offline and loads nothing from elsewhere; the same server answers programs:
    its /api.html describes how. Ctrl-C ends it.

    **Examples**

    - `limner serve runs/facades`
    - `limner serve runs/unet runs/spade --port 0`
    - `LIMNER_TOKEN=secret limner serve runs/facades --host 0.0.0.0`

    Parameters
    ----------
    runs
        Folders of trained runs; their pictures stand side by side.
    host
        The address to listen on. One that other machines reach asks for a token.
    port
        0 takes a free one.
    token
        What requests from elsewhere must bear as `Authorization: Bearer TOKEN`; without it
        LIMNER_TOKEN of the environment, and else one is drawn and printed on standard error.
    backend
        eager, folded (exact), bf16 (faster), onnxruntime, openvino, openvino-bf16.
    """
    try:
        from limner.web.server import is_loopback, new_token
        from limner.web.server import serve as serving
    except ImportError as error:
        raise ConfigError(
            f"this needs {error.name}, which is not installed: pip install 'limner[web]'"
        ) from None
    from limner.terminal import status
    from limner.web.served_run import named_runs

    token = token or os.environ.get("LIMNER_TOKEN")
    drawn = None if token or is_loopback(host) else new_token()
    with status("loading"):
        served = named_runs(runs, device=pick_device(device), backend=backend)

    def announce(address: str) -> None:
        say(address, at_once=True)
        if drawn is not None:
            say(f"the page and its API ask for the token {drawn}", aside=True)

    serving(served, host=host, port=port, token=token or drawn, announce=announce)
