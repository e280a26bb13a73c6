"""The server of pages and pictures: what it answers, what it refuses, what it never shows."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from PIL import Image
from tiny import tiny
from tiny_runs import draw_data, make_run

from limner.config import to_yaml
from limner.errors import ConfigError
from limner.files import write_text
from limner.inference import Translator, translate_file
from limner.training.checkpoint import save_checkpoint
from limner.training.state import build_state
from limner.web import server
from limner.web.served_run import named_runs
from limner.web.server import Doors, build_app, is_loopback, static_files

PALETTE = "[[10, 0, 0], [0, 20, 0], [0, 0, 30], [40, 40, 0], [0, 0, 0]]"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def label_run(folder: Path, name: str, *overrides: str) -> Path:
    config = tiny(name, "data.size=[32, 64]", *overrides)
    write_text(folder / "config.yaml", to_yaml(config))
    save_checkpoint(build_state(config, Fabric(accelerator="cpu", devices=1)), folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    data = draw_data(root / "data", test=3)
    colours = ("data.labels.coding=exact", f"data.labels.colours={PALETTE}")
    return {
        "photos": make_run(root / "photos", f"data.root={data}"),
        "maps": label_run(root / "maps", "spade-small"),
        "colours": label_run(root / "colours", "spade-small", *colours),
        "vae": label_run(root / "vae", "spade-vae"),
        "features": label_run(root / "features", "pix2pixhd-features"),
    }


@pytest.fixture(scope="module")
def app(folders: dict[str, Path]) -> Any:
    return build_app(named_runs(list(folders.values()), device="cpu", backend="eager"))


def client_of(app: Any, *, token: str | None = None, hosts: Any = None) -> TestClient:
    known = frozenset({"127.0.0.1"}) if hosts is None and token is None else hosts
    return TestClient(Doors(app, hosts=known, token=token), base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[TestClient]:
    with client_of(app) as each:
        yield each


def asked(client: TestClient, source: bytes, **fields: Any) -> Any:
    files = {"source": ("a", source)}
    files |= {k: (k, fields.pop(k)) for k in ("instance", "style") if k in fields}
    return client.post("/api/translate", files=files, data=fields)


def picture(client: TestClient, source: bytes, **fields: Any) -> np.ndarray:
    answer = asked(client, source, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def refused(answer: Any) -> str:
    assert 400 <= answer.status_code < 500, answer.text
    body = answer.json()
    assert list(body) == ["detail"]
    assert "/tmp" not in body["detail"]
    return body["detail"]


MAP = np.array([[0, 1, 2, 3, 9, 0, 1, 2]] * 4, dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def test_runs_tell_what_they_take(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"status": "ok"}
    runs = {each["name"]: each for each in client.get("/api/runs").json()}
    assert list(runs) == ["photos", "maps", "colours", "vae", "features"]
    photos, maps = runs["photos"], runs["maps"]
    assert (photos["channels"], photos["size"], photos["labels"]) == ([3, 3], [32, 32], None)
    assert [label["id"] for label in maps["labels"]] == [0, 1, 2, 3, 9]
    assert all(re.fullmatch("#[0-9a-f]{6}", label["colour"]) for label in maps["labels"])
    assert [label["colour"] for label in runs["colours"]["labels"]][:2] == ["#0a0000", "#001400"]
    assert {name for name, run in runs.items() if run["styles"]} == {"vae", "features"}


def test_a_picture_is_what_translate_makes_of_the_file(
    client: TestClient, folders: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(png(noise(40, 72, 3)))
    translator = Translator.load(folders["photos"], backend="eager")
    translate_file(translator, source, tmp_path / "out.png", size="original")
    made = picture(client, source.read_bytes())
    assert made.shape == (40, 72, 3)
    assert np.array_equal(made, np.asarray(Image.open(tmp_path / "out.png")))


@pytest.mark.parametrize("channels", [(), (2,), (4,)], ids=["grey", "grey+alpha", "alpha"])
def test_channels_of_drawn_images_are_made_to_fit(client: TestClient, channels) -> None:
    assert picture(client, png(noise(32, 32, *channels))).shape == (32, 32, 3)


def test_colours_and_ids_of_one_map_give_one_picture(client: TestClient) -> None:
    palette = np.array([[10, 0, 0], [0, 20, 0], [0, 0, 30], [40, 40, 0], [0, 0, 0]], np.uint8)
    coloured = palette[np.where(MAP == 9, 4, MAP)]
    by_ids = picture(client, png(MAP), run="colours")
    assert np.array_equal(by_ids, picture(client, png(coloured), run="colours"))
    assert not np.array_equal(by_ids, picture(client, png(MAP[:, ::-1]), run="colours"))


def test_without_instances_regions_stand_for_them(client: TestClient) -> None:
    alone = picture(client, png(MAP), run="maps")
    same = picture(client, png(MAP), run="maps", instance=png(MAP + 7))
    other = picture(client, png(MAP), run="maps", instance=png(noise(32, 64)))
    assert np.array_equal(alone, same)
    assert not np.array_equal(alone, other)


def test_styles_come_from_a_seed_or_a_picture(client: TestClient) -> None:
    first = picture(client, png(MAP), run="vae", seed=1)
    assert np.array_equal(first, picture(client, png(MAP), run="vae", seed=1))
    assert not np.array_equal(first, picture(client, png(MAP), run="vae", seed=2))
    style = png(noise(32, 64, 3))
    assert not np.array_equal(first, picture(client, png(MAP), run="vae", style=style))
    assert picture(client, png(MAP), run="features", style=style).shape == (32, 64, 3)
    assert "style" in refused(asked(client, png(MAP), run="features"))
    assert "style" in refused(asked(client, png(MAP), run="maps", style=style))


def test_dropout_that_stays_on_is_drawn_by_the_seed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "data.size=64", "generator.depth=6", "inference.dropout=true")
    runs = named_runs([run], device="cpu", backend="eager")
    with torch.no_grad():  # untrained weights are so small that every picture is grey
        for weight in runs["run"]._translator.generator.parameters():
            weight.mul_(10)
    app = build_app(runs)
    with client_of(app) as client:
        source = png(noise(32, 32, 3))
        first, again, other = (picture(client, source, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_examples_are_sources_of_the_data(client: TestClient, folders: dict[str, Path]) -> None:
    runs = {each["name"]: each for each in client.get("/api/runs").json()}
    assert (runs["photos"]["examples"], runs["maps"]["examples"]) == (3, 0)
    answer = client.get("/api/runs/photos/examples/0")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (32, 32)
    for name, number in (("photos", 3), ("photos", -1), ("maps", 0), ("..", 0)):
        refused(client.get(f"/api/runs/{name}/examples/{number}"))


BOMB = png(np.zeros((4096, 4096), np.uint8))
REFUSED = {
    "empty": (b"", {}, "source"),
    "text": (b"#!/bin/sh\nrm -rf /\n", {}, "source"),
    "cut": (png(noise(32, 32, 3))[:200], {}, "source"),
    "header alone": (b"\x89PNG\r\n\x1a\n", {}, "source"),
    "too many pixels": (BOMB, {}, "4096x4096"),
    "svg": (
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        {},
        "source",
    ),
    "no class": (png(MAP + 100), {"run": "maps"}, "100"),
    "colours": (png(noise(32, 64, 3)), {"run": "maps"}, "source"),
    "instance": (png(MAP), {"run": "maps", "instance": png(MAP[:8])}, "instance"),
    "unknown run": (png(MAP), {"run": "../photos"}, "photos"),
    "seed": (png(noise(32, 32, 3)), {"seed": "-1"}, "seed"),
    "no number": (png(noise(32, 32, 3)), {"seed": "nan"}, "seed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_translated_is_a_sentence(client: TestClient, case: str) -> None:
    source, fields, named = REFUSED[case]
    assert named in refused(asked(client, source, **fields))
    assert client.get("/api/health").status_code == 200


def test_requests_of_another_form_are_sentences(client: TestClient) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post("/api/translate"))
    refused(client.post("/api/translate", content=b"nonsense", headers=kind))
    refused(client.post("/api/translate", json={"source": "/etc/passwd"}))
    refused(client.post("/api/translate", data={"source": "/etc/passwd"}))
    refused(client.put("/api/translate"))
    refused(client.get("/nowhere"))


@settings(max_examples=40)
@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_sent_is_answered(client: TestClient, body: bytes, run: str, seed: str) -> None:
    refused(asked(client, body, run=run or "photos", seed=seed or "0"))


def test_a_body_has_a_bound_whatever_it_claims(client: TestClient, monkeypatch) -> None:
    monkeypatch.setattr(server, "UPLOAD_BYTES", 10_000)
    assert asked(client, b"x" * 20_000).status_code == 413
    chunked = (b"x" * 1000 for _ in range(20))
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/api/translate", content=chunked, headers=kind).status_code == 413


def test_only_own_names_and_origins_come_in(client: TestClient) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1"):
        refused(client.get("/api/runs", headers={"Host": host}))
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9"):
        refused(client.get("/api/runs", headers={"Origin": origin}))
    own = {"Origin": "http://127.0.0.1:8000"}
    assert client.get("/api/runs", headers=own).status_code == 200


def test_a_token_guards_the_api_alone(app: Any) -> None:
    with client_of(app, token="secret") as guarded:
        for path in ("/", "/page.js", "/api/health"):
            assert guarded.get(path).status_code == 200
        for path in ("/api/runs", "/openapi.json", "/api/runs/photos/examples/0"):
            for given_token in (None, "Bearer wrong", "Bearer secretx", "secret"):
                headers = {} if given_token is None else {"Authorization": given_token}
                answer = guarded.get(path, headers=headers)
                assert answer.status_code == 401
                refused(answer)
            headers = {"Authorization": "Bearer secret"}
            assert guarded.get(path, headers=headers).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    served = static_files()
    for path, (content, _) in served.items():
        text = content.decode()
        for link in re.findall(r"(?:src|href|from)[=\s]\s*[\"']([^\"'+]+)[\"']", text):
            if not link.startswith("data:"):
                assert client.get("/" + link.removeprefix("./")).status_code == 200, (path, link)
        assert not re.search(r"https?://(?!HOST)", text), path
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    for path in ("/served_run.py", "/static/page.js", "/..%2fserver.py", "/%2e%2e/server.py"):
        assert client.get(path).status_code == 404


def test_the_api_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    body = described["paths"]["/api/translate"]["post"]["requestBody"]["content"]
    schema = body["multipart/form-data"]["schema"]["$ref"].split("/")[-1]
    fields = described["components"]["schemas"][schema]
    assert set(fields["properties"]) == {"source", "instance", "run", "seed", "style"}
    assert fields["required"] == ["source"]


def test_too_many_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_end = threading.Event(), threading.Event()

    def translate(*_: object, **__: object) -> bytes:
        began.set()
        assert may_end.wait(600)
        return png(noise(2, 2))

    monkeypatch.setattr(server, "WAITING", 1)
    slow: Any = {"slow": SimpleNamespace(translate=translate)}
    with client_of(build_app(slow)) as client:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(asked(client, b"x")))
        thread.start()
        assert began.wait(600)
        assert asked(client, b"x").status_code == 429
        may_end.set()
        thread.join()
        assert answers[0].status_code == 200
        assert asked(client, b"x").status_code == 200


def test_runs_of_one_name_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    twin = tmp_path / "photos"
    twin.symlink_to(folders["photos"])
    runs = named_runs([folders["photos"], twin], device="cpu", backend="eager")
    assert list(runs) == ["photos", "photos-2"]


def test_pictures_that_no_page_can_show_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "bands", "data.channels=[3, 6]")
    with pytest.raises(ConfigError, match="6 channels"):
        named_runs([run], device="cpu", backend="eager")


def test_which_addresses_other_machines_reach() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "name.example"))
