"""The server: the page, and pictures over HTTP, with limits and without a way to the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from ipaddress import ip_address
from types import FrameType
from typing import Annotated, Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.errors import ConfigError, LimnerError, OutOfMemoryError, printable
from limner.web.served_run import ServedRun

UPLOAD_BYTES = 32 * 2**20
"""The largest body of a request."""
PIXELS = 2048 * 2048
"""The largest image that is translated for a page."""
WAITING = 64
"""So many requests wait for their picture at once; more are answered 429."""
SIMULTANEOUS = 512
"""So many connections are served at once."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Doors:
    """What every request passes before anything is read of it.

    The Host must be one of ours, against pages elsewhere that rebind a name to this machine; an
    Origin must be the Host's own; the API wants the token where there is one; a body has a bound,
    whatever its length claims.

    Args:
        app: what stands behind.
        hosts: names that the Host header may bear; None for any, where a token guards.
        token: asked for as `Authorization: Bearer TOKEN`; None for none.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, token: str | None) -> None:
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with a sentence."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value for key, value in scope["headers"]}
        refusal = self._refusal(scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > UPLOAD_BYTES:
                raise HTTPException(413, _too_large())
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self._app(scope, bounded, with_headers)

    def _refusal(self, path: str, headers: Mapping[str, bytes]) -> Response | None:
        host = headers.get("host", b"").decode("latin-1")
        if self._hosts is not None and _name_of(host) not in self._hosts:
            return _sentence(400, f"this server is not called {host!r}: use the address it printed")
        origin = headers.get("origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host:
            return _sentence(403, "a page of another origin may not use this server")
        length = headers.get("content-length", b"0")
        if length.isdigit() and int(length[:20]) > UPLOAD_BYTES:
            return _sentence(413, _too_large())
        guarded = (path.startswith("/api/") and path != "/api/health") or path == "/openapi.json"
        if self._token is not None and guarded:
            given = headers.get("authorization", b"").decode("latin-1")
            if not secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                answer = _sentence(401, "this server asks for `Authorization: Bearer TOKEN`")
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
        return None


def _too_large() -> str:
    return f"a request holds at most {UPLOAD_BYTES // 2**20} MiB: send a smaller file"


def _sentence(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": printable(sentence)}, status_code=status)


def _name_of(host: str) -> str:
    """Return the name of a Host header without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return path -> (content, type) of the page's own files; nothing else is ever served."""
    folder = resources.files("limner.web") / "static"
    files = {}
    for file in folder.iterdir():
        kind = _TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            files[f"/{file.name}"] = (file.read_bytes(), f"{kind}; charset=utf-8")
    files["/"] = files.pop("/index.html")
    return files


def build_app(runs: Mapping[str, ServedRun]) -> FastAPI:
    """Return the application for some runs, without the doors before it."""
    app = FastAPI(
        title="Limner",
        summary="Pictures of trained runs.",
        docs_url=None,  # FastAPI's own page loads its script from elsewhere; see /api.html
        redoc_url=None,
    )
    worker = ThreadPoolExecutor(1, thread_name_prefix="translate")
    waiting = 0
    first = next(iter(runs))

    @app.get("/api/health")
    async def health() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "ok"}

    @app.get("/api/runs")
    async def all_runs() -> list[dict[str, Any]]:
        """List the runs: what each takes and gives, and its classes where it takes label maps."""
        return [{**run.facts(), "pixels": PIXELS} for run in runs.values()]

    @app.get(
        "/api/runs/{name}/examples/{number}",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}},
    )
    async def example(name: str, number: int) -> Response:
        """Return a source of the run's own data as PNG: a picture, or a map of class ids."""
        run = _known(runs, name)
        if not 0 <= number < len(run.examples()):
            raise HTTPException(404, f"{name} has {len(run.examples())} examples")
        content = await asyncio.get_running_loop().run_in_executor(worker, run.example, number)
        return Response(content, media_type="image/png")

    @app.post(
        "/api/translate",
        response_class=Response,
        responses={
            200: {"content": {"image/png": {}}},
            **{code: {"model": dict[str, str]} for code in (400, 404, 413, 429)},
        },
    )
    async def translate(
        request: Request,
        source: Annotated[UploadFile, File(description="An image, or a PNG of class ids.")],
        run: Annotated[str | None, Form(max_length=200, description="One of the runs.")] = None,
        instance: Annotated[UploadFile | None, File(description="A map of instance ids.")] = None,
        style: Annotated[UploadFile | None, File(description="An image of that style.")] = None,
        seed: Annotated[int, Form(ge=0, lt=2**32)] = 0,
    ) -> Response:
        """Make the picture of a source: an 8-bit PNG of the source's size."""
        nonlocal waiting
        chosen = _known(runs, run or first)
        if waiting >= WAITING:
            raise HTTPException(429, "too many pictures are asked for at once: try again soon")
        waiting += 1
        try:
            files = [None if each is None else await each.read() for each in (instance, style)]
            content = await source.read()

            def work() -> bytes | None:
                if asyncio.run_coroutine_threadsafe(request.is_disconnected(), loop).result():
                    return None  # a later stroke has taken its place
                return chosen.translate(
                    content, instance=files[0], style=files[1], seed=seed, pixels=PIXELS
                )

            loop = asyncio.get_running_loop()
            picture = await loop.run_in_executor(worker, work)
        finally:
            waiting -= 1
        return Response(picture or b"", media_type="image/png")

    @app.exception_handler(LimnerError)
    async def refused(_: Request, error: LimnerError) -> Response:
        return _sentence(413 if isinstance(error, OutOfMemoryError) else 422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        told = error.errors()[0]
        where = ".".join(str(part) for part in told["loc"][1:])
        return _sentence(422, f"{where}: {told['msg']}")

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> Response:
        answer = _sentence(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    for path, (content, kind) in static_files().items():
        app.get(path, include_in_schema=False)(_served(content, kind))
    return app


def _known(runs: Mapping[str, ServedRun], name: str) -> ServedRun:
    if name not in runs:
        raise HTTPException(404, f"there is no run {name!r}: there are {', '.join(runs)}")
    return runs[name]


def _served(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return Response(content, headers={"Content-Type": kind})

    return file


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def new_token() -> str:
    """Draw a token that nobody guesses."""
    return secrets.token_urlsafe(24)


class _Server(uvicorn.Server):
    """A server that says once that it answers, and keeps the signal that ends it."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self.ended_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the serving in order; uvicorn itself would raise them within asyncio."""

        def stop(signum: int, frame: FrameType | None) -> None:
            self.ended_by = signum
            self.handle_exit(signum, frame)

        signals = (signal.SIGINT, signal.SIGTERM)
        before = {s: signal.getsignal(s) for s in signals}
        taken = [s for s in signals if before[s] is not signal.SIG_IGN]
        for each in taken:
            signal.signal(each, stop)
        try:
            yield
        finally:
            for each in taken:
                signal.signal(each, before[each])


def serve(
    runs: Mapping[str, ServedRun],
    *,
    host: str,
    port: int,
    token: str | None,
    announce: Callable[[str], None],
) -> None:
    """Serve until a signal comes; requests that are under way are answered first.

    Args:
        runs: name -> run; the first is a request's where it names none.
        host, port: where to listen; port 0 takes a free one.
        token: what a request of the API must bear; None for none.
        announce: is given the page's address as soon as it answers.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({reason}): give another --port, 0 for a free "
            "one, or another --host"
        ) from None
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    hosts = frozenset({"localhost", "127.0.0.1", "::1", host.strip("[]").lower()})
    doors = Doors(build_app(runs), hosts=None if token else hosts, token=token)
    config = uvicorn.Config(
        doors,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=SIMULTANEOUS,
        timeout_graceful_shutdown=10,
    )
    # What a stranger sends is answered to the stranger; it is no news for the terminal.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    with listening:
        server = _Server(config, lambda: announce(address))
        server.run(sockets=[listening])
    if server.ended_by is not None:
        signal.raise_signal(server.ended_by)
