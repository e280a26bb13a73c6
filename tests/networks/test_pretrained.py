"""Weights are found where they are, checked, fetched when allowed, and never trusted blindly."""

from __future__ import annotations

import copy
import hashlib
import io
import os
import pickle
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.errors import CheckpointError, ConfigError, WeightsError
from limner.networks import pretrained as store
from limner.transfer.reading import read_state


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches that are empty, no environment of the user's, no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LIMNER_WEIGHTS", raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path


def put(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"features.0.weight": torch.full((2,), value)}, path)
    return path


def published(name: str, data: bytes, *, url: str = "https://example.org/w") -> store.Known:
    return store.Known("some network", (name,), url, hashlib.sha256(data).hexdigest()[:8])


def test_the_places_are_searched_in_order(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "vgg16_features.safetensors"
    hub = put(places / "torch" / "hub" / "checkpoints" / file)
    assert store.find("vgg16") == hub
    cache = put(places / "cache" / "limner" / "weights" / file)
    assert store.find("vgg16") == cache
    monkeypatch.setenv("LIMNER_WEIGHTS", str(places / "mine"))
    mine = put(places / "mine" / file)
    assert store.find("vgg16") == mine
    given = put(places / "given" / file)
    assert store.find("vgg16", weights=places / "given") == given
    assert store.find("vgg16", weights=given) == given


def test_a_file_of_any_name_is_taken_but_not_one_known_as_something_else(places: Path) -> None:
    own = put(places / "my_own.safetensors")
    assert store.find("alexnet", weights=own) == own
    other = put(places / "vgg16_features.safetensors")
    with pytest.raises(WeightsError, match="AlexNet"):
        store.find("alexnet", weights=other)


def test_the_heads_come_with_limner_and_are_the_published_numbers(shared: Path) -> None:
    for name in ("lpips-alex", "lpips-vgg"):
        assert store.find(name).parent == store.HEADS
        heads = store.load(name)
        published = store.read(shared / "weights" / store.KNOWN[name].files[0])
        assert heads.keys() == published.keys()
        assert all(torch.equal(heads[key], published[key]) for key in heads)
    assert {name: len(value) for name, value in store.load("dists").items()} == {
        "alpha": 1, "beta": 1
    }  # fmt: skip
    licences = (store.HEADS / "LICENSES.md").read_text()
    for path in store.HEADS.glob("*.safetensors"):
        assert path.name in licences


def test_what_is_missing_is_one_sentence_with_places_url_and_cure(places: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        store.find("inception", weights=places)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in (
        "pt_inception-2015-12-05-6726825d.pth",
        str(places),
        str(places / "cache" / "limner" / "weights"),
        str(places / "torch" / "hub" / "checkpoints"),
        "no network in tests",
        store.KNOWN["inception"].url,
        "--weights",
    ):
        assert part in sentence


def test_a_download_is_not_tried_where_it_is_not_allowed() -> None:
    with pytest.raises(WeightsError, match="downloading was not allowed"):
        store.find("vgg19", download=False)


def test_a_path_that_does_not_exist_is_refused(places: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere does not exist"):
        store.find("vgg16", weights=places / "nowhere")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        store.find("inceptoin")


def test_the_digest_in_a_name_is_checked(places: Path) -> None:
    path = places / "pt_inception-2015-12-05-6726825d.pth"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=r"SHA-256 begins with [0-9a-f]{8}, not 6726825d"):
        store.find("inception", weights=places)
    plain = put(places / "plain.safetensors")
    honest = places / f"net-{store.sha256(plain)[:8]}.safetensors"
    honest.write_bytes(plain.read_bytes())
    assert store.find("vgg16", weights=honest) == honest


def test_a_file_changed_after_its_digest_was_taken_is_noticed(places: Path) -> None:
    path = places / "some.bin"
    path.write_bytes(b"one")
    assert store.sha256(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert store.sha256(path) == hashlib.sha256(b"three").hexdigest()


def test_float16_becomes_float32_and_counters_stay(places: Path) -> None:
    path = places / "vgg16_features.safetensors"
    save_file({"w": torch.tensor([0.5]).half(), "n": torch.tensor(3)}, path)
    state = store.load("vgg16", weights=path)
    assert state["w"].dtype == torch.float32
    assert state["w"].item() == 0.5
    assert state["n"].dtype == torch.int64


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused_by_name(places: Path, suffix: str) -> None:
    whole = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, whole)
    for number, data in enumerate((b"", b"not weights at all", whole.getvalue()[:700])):
        path = places / f"broken{number}{suffix}"
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=f"broken{number}{suffix} cannot be read"):
            store.load("vgg16", weights=path)


def test_a_file_cannot_run_code(places: Path) -> None:
    path, mark = places / "evil.pth", places / "mark"
    path.write_bytes(pickle.dumps({"a": Trap(mark)}, protocol=2))
    with pytest.raises(WeightsError, match="evil"):
        store.load("vgg16", weights=path)
    torch.save({"a": Trap(mark)}, path)
    with pytest.raises(WeightsError, match="evil"):
        store.load("vgg16", weights=path)
    assert not mark.exists()


def test_a_file_without_tensors_is_refused(places: Path) -> None:
    path = places / "list.pth"
    torch.save([torch.ones(1)], path)
    with pytest.raises(WeightsError, match="no state dict"):
        store.load("vgg16", weights=path)


class Answer(io.BytesIO):
    """What a server sends, of a length that may be a lie."""

    def __init__(self, data: bytes, length: int | None = None) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data) if length is None else length)}


def serve(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[float]:
    timeouts: list[float] = []

    def urlopen(_: str, timeout: float) -> Answer:
        timeouts.append(timeout)
        return answer

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return timeouts


def test_a_download_is_checked_kept_and_told_of(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = put(places / "source.safetensors").read_bytes()
    monkeypatch.setitem(store.KNOWN, "vgg16", published("net.safetensors", data))
    timeouts = serve(monkeypatch, Answer(data))
    told: list[tuple[int, int, str]] = []
    path = store.find("vgg16", progress=lambda *news: told.append(news))
    assert path == places / "cache" / "limner" / "weights" / "net.safetensors"
    assert path.read_bytes() == data
    assert told[-1] == (len(data), len(data), "downloading net.safetensors")
    assert 0 < timeouts[0] <= 10
    # The second time it is there.
    assert store.find("vgg16") == path
    assert len(timeouts) == 1


def test_a_download_that_is_not_the_published_file_is_not_kept(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store.KNOWN, "vgg16", published("net.safetensors", b"the real thing"))
    serve(monkeypatch, Answer(b"a login page"))
    with pytest.raises(WeightsError, match="it was not kept"):
        store.find("vgg16")
    assert list((places / "cache").rglob("*.*")) == []


def test_a_download_that_breaks_off_is_not_kept(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store.KNOWN, "vgg16", published("net.safetensors", b"half of it"))
    serve(monkeypatch, Answer(b"half of it", length=20))
    with pytest.raises(WeightsError, match="ended after 10 of 20 bytes"):
        store.find("vgg16")
    assert list((places / "cache").rglob("*.*")) == []


def packed(path: Path) -> Path:
    """Write a state of 64 MB that a zip holds in less than one."""
    torch.save({"weight": torch.zeros(1 << 24)}, path.with_suffix(".plain"))
    with (
        zipfile.ZipFile(path.with_suffix(".plain")) as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert path.stat().st_size < 1 << 20
    return path


def repeated(path: Path) -> Path:
    """Write a tensor of a terabyte that is one number, many times."""
    torch.save({"weight": torch.zeros(1).expand(1 << 38)}, path)
    return path


def overlapping(path: Path) -> Path:
    """Write a zip whose directory names the same bytes again and again."""
    torch.save({"weight": torch.zeros(1 << 18)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        for number in range(100):
            again = copy.copy(largest)
            again.filename = again.orig_filename = f"archive/data/{number + 1}"
            archive.filelist.append(again)
            archive._didModify = True
    return path


@pytest.mark.parametrize("make", [packed, repeated, overlapping])
def test_a_file_that_would_fill_memory_is_refused(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        store.read(path)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        read_state(path)


def test_a_pipe_is_no_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        store.read(tmp_path / "weights.pth")
