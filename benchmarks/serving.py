"""Ask a server of pictures for many at once, some requests hostile: answers, latency, memory.

    python benchmarks/serving.py RUN SOURCE [--requests 10000] [--clients 32] [--hostile 0.05]

SOURCE is an image that RUN takes. Each hostile request must be answered by a status from 400 to
499, each other one by a picture, or by 429 where more wait than the server lets; the process must
live and its memory must not grow. Latency is that of the server under this load, not of one pen.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit


def multipart(fields: dict[str, bytes]) -> tuple[bytes, str]:
    """Return a body and its type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (b'; filename="a"' if name == "source" else b"")
        + b"\r\n\r\n"
        + value
        + b"\r\n"
        for name, value in fields.items()
    ]
    return b"".join(
        parts
    ) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def hostile(rng: random.Random, good: bytes) -> tuple[str, str, bytes, dict[str, str]]:
    """Return a request that must be refused."""
    form, kind = multipart({"source": good})
    bad = {
        "noise": multipart({"source": rng.randbytes(2000)}),
        "cut": multipart({"source": good[: len(good) // 3]}),
        "seed": multipart({"source": good, "seed": b"9" * 50}),
        "run": multipart({"source": good, "run": b"../../etc/passwd"}),
        "none": multipart({"target": good}),
        "form": (b"--nonsense", kind),
    }
    choice = rng.choice([*bad, "host", "origin", "path", "method"])
    if choice in bad:
        body, kind = bad[choice]
        return "POST", "/api/translate", body, {"Content-Type": kind}
    if choice == "host":
        return "POST", "/api/translate", form, {"Content-Type": kind, "Host": "evil.example"}
    if choice == "origin":
        return (
            "POST",
            "/api/translate",
            form,
            {"Content-Type": kind, "Origin": "http://evil.example"},
        )
    if choice == "path":
        return "GET", "/../../../etc/passwd", b"", {}
    return "DELETE", "/api/translate", b"", {}


def resident(pid: int) -> int:
    """Return the resident set of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--hostile", type=float, default=0.05)
    given = parser.parse_args()
    command = [sys.executable, "-m", "limner", "serve", str(given.run), "--port", "0"]
    good = given.source.read_bytes()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place = urlsplit(process.stdout.readline().strip()).netloc
        statuses: collections.Counter[str] = collections.Counter()
        seconds: list[float] = []
        memory: list[int] = []
        left = iter(range(given.requests))
        lock = threading.Lock()

        def client(seed: int) -> None:
            rng = random.Random(seed)
            while True:
                with lock:
                    number = next(left, None)
                    if number is not None and number % 100 == 0:
                        memory.append(resident(process.pid))
                if number is None:
                    return
                bad = rng.random() < given.hostile
                body, kind = multipart({"source": good})
                method, path, headers = "POST", "/api/translate", {"Content-Type": kind}
                if bad:
                    method, path, body, headers = hostile(rng, good)
                connection = http.client.HTTPConnection(place, timeout=600)
                began = time.monotonic()
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
                connection.close()
                with lock:
                    statuses[f"{'hostile' if bad else 'sound'} {answer.status}"] += 1
                    if not bad and answer.status == 200:
                        seconds.append(time.monotonic() - began)

        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(given.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alive = process.poll() is None
        process.terminate()
    seconds.sort()
    print(
        json.dumps(
            {
                "alive": alive,
                "exit": process.returncode,
                "statuses": dict(sorted(statuses.items())),
                "median_seconds": statistics.median(seconds),
                "p95_seconds": seconds[int(0.95 * len(seconds))],
                "memory_mib": {
                    "after_a_tenth": memory[len(memory) // 10],
                    "last": memory[-1],
                    "most": max(memory),
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
