"""Files are written whole or not at all."""

from __future__ import annotations

import ast
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import unicodedata
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import limner
from limner import files
from limner.errors import ConfigError, DataError, DiskError, FileError, LockedError
from limner.filenames import NAME_BYTES
from limner.files import read_events, read_yaml, replacing, write_bytes, write_text, yaml_text


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "é")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é".encode()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fails_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails_halfway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskError) as caught:
            write_bytes(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.path == path
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_new_file_is_as_readable_as_any(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_log_is_read_whatever_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert read_events(tmp_path) == []
    whole = [{"event": "start", "text": "Ä\u2028b"}, {"event": "train", "step": 1}]
    text = "\n".join(json.dumps(event, ensure_ascii=False) for event in whole)
    torn = json.dumps({"event": "finished", "text": "ü"}, ensure_ascii=False).encode()
    for end in range(len(torn)):
        path.write_bytes(text.encode() + b"\n" + torn[:end])
        assert read_events(tmp_path) == whole
    path.write_bytes(b'[1]\n{"step": 3}\n\x80\n' + text.encode() + b"\n")
    assert read_events(tmp_path) == whole


@pytest.mark.parametrize("value", ['"x"', "null", "[]", "{}", "-1", "1e999", "NaN", "true"])
@pytest.mark.parametrize("key", ["step", "time"])
def test_what_has_no_step_and_no_time_is_no_event(key: str, value: str, tmp_path: Path) -> None:
    sound = '{"event": "train", "step": 1, "time": 1.5}'
    (tmp_path / "log.jsonl").write_text(f'{sound}\n{{"event": "train", "{key}": {value}}}\n')
    assert [event["step"] for event in read_events(tmp_path)] == [1]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_what_the_disk_refuses_is_one_sentence_with_the_path(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError) as caught:
        write_text(tmp_path / "a.txt", "text")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert caught.value.exit_code == 1
    again = pickle.loads(pickle.dumps(caught.value))  # workers hand it over
    assert (str(again), again.errno) == (str(caught.value), reason)
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_that_nobody_reported_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: whole(path, bytes(data)[:-1]))
    with pytest.raises(DiskError):
        write_bytes(tmp_path / "a.bin", b"1234")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_on_a_full_disk_is_not_published_in_part(tmp_path: Path) -> None:
    picture = Image.effect_noise((200, 200), 50)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DiskError):
            files.write_from(tmp_path / "a.png", partial(picture.save, format="PNG"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    files.write_from(tmp_path / "a.png", partial(picture.save, format="PNG"))
    with Image.open(tmp_path / "a.png") as read:
        assert read.tobytes() == picture.tobytes()


def test_lines_are_added_whole_after_a_torn_one(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"event": "start"}\n{"event": "tr')
    files.append_line(tmp_path / "log.jsonl", '{"event": "resumed"}')
    files.append_line(tmp_path / "log.jsonl", '{"event": "finished"}')
    assert [e["event"] for e in read_events(tmp_path)] == ["start", "resumed", "finished"]


def test_a_record_that_the_disk_does_not_take_whole_is_taken_back(tmp_path: Path) -> None:
    file = files.AppendedFile(tmp_path / "events")
    file.add(b"first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        with pytest.raises(DiskError) as caught:
            file.add(b"second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.path == tmp_path / "events"
    assert (tmp_path / "events").read_bytes() == b"first"
    file.add(b"third")
    file.close()
    assert (tmp_path / "events").read_bytes() == b"firstthird"


def test_what_lies_in_an_unfinished_folder_is_refused_under_the_name_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "failing")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError) as caught, files.replacing_folder(tmp_path / "run") as new:
        write_text(new / "config.yaml", "seed: 0")
    assert caught.value.path == tmp_path / "run"
    assert list(tmp_path.iterdir()) == []


def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for path in (pipe, link):
        with pytest.raises(FileError, match=path.name):
            write_text(path, "text")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


# Writers of other packages: into memory, or within `replacing`, and of a kind that tells.
WRITERS = {
    "data/dataset_cache.py": {"open", "save"},  # NumPy counts what it writes
    "export/formats.py": {"save", "write_bytes"},  # within `replacing`
    "inference/translate_files.py": {"save"},  # through `write_from`
    "inference/tiled_files.py": {"open"},  # whole rows, on the disk before the journal has them
    "networks/pretrained.py": {"open"},
    "plan/probe.py": {"open"},  # the same of a probe
    "reporting/gallery.py": {"save"},  # into a page
    "training/checkpoint.py": {"save"},  # into memory
    "web/served_run.py": {"save", "write_bytes"},  # what was sent, in a folder of temporary files
    "cli/__init__.py": {"fdopen"},  # the details of a fault, in the folder of temporary files
    "experiments/workers.py": {"open"},  # what a training says, written by that process itself
}


def test_nothing_is_written_past_the_functions_of_this_module() -> None:
    root, wrong = Path(limner.__file__).parent, []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name == "files.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = node.func.attr
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            writes = called in ("save", "savefig", "write_bytes", "write_text", "fdopen") or (
                called == "open" and any(set(str(mode)) & set("wax+") for mode in modes)
            )
            of_files = isinstance(node.func.value, ast.Name) and node.func.value.id == "files"
            known_saves = called == "save" and not node.args  # FileMemory's, through `write_text`
            if writes and not of_files and not known_saves and called not in WRITERS.get(name, ()):
                wrong.append(f"{name}:{node.lineno} {called}")
    assert wrong == []


@pytest.mark.parametrize("swaps", [True, False])
def test_a_folder_takes_the_place_of_the_old_one_or_nothing_changes(
    swaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swaps:
        monkeypatch.setattr(files, "_swap", lambda *_: False)
    home = tmp_path / "home"
    for text in ("first", "second"):
        with files.replacing_folder(home) as new:
            (new / "a.txt").write_text(text)
        assert (home / "a.txt").read_text() == text

    def fails() -> None:
        with files.replacing_folder(home) as new:
            (new / "b.txt").write_text("third")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert [p.name for p in home.iterdir()] == ["a.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    (tmp_path / "other").mkdir()
    assert home.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "kept.txt", "")
    (tmp_path / ".limner-1.txt").write_text("half")
    (tmp_path / "a" / ".limner-2").mkdir()
    write_text(tmp_path / "a" / ".limner-2" / "x.txt", "half")
    write_text(tmp_path / "a" / ".limner-old-lost" / "x.txt", "old")
    write_text(tmp_path / "a" / ".limner-old-a" / "x.txt", "old")
    write_text(tmp_path / "a" / "a" / "x.txt", "new")
    files.sweep(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["a/a/x.txt", "a/kept.txt", "a/lost/x.txt"]


def test_what_a_process_that_is_gone_left_goes_with_the_next_write(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from limner import files\n"
        "path = Path(sys.argv[1]) / 'a.txt'\n"
        "with files.replacing(path) as one, files.replacing_folder(path.with_name('b')) as two:\n"
        "    print('under way', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        write_text(tmp_path / "c.txt", "")
        assert len(list(tmp_path.glob(f"{files.TEMPORARY}*"))) == 2  # its work goes on
        other.kill()
    files._TIDIED.clear()
    write_text(tmp_path / "d.txt", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.txt", "d.txt"]


HOLD = """
import sys, time
from pathlib import Path
from limner.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_one_process_alone_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=str(path.parent)), files.lock(path):
            pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
    with files.lock(path), files.lock(path):  # the same thread may take it again
        pass


WITHOUT = """
import errno, fcntl, sys
def flock(file, operation):
    raise OSError(getattr(errno, sys.argv[2]), "no locks here")
fcntl.flock = flock
"""


@pytest.mark.parametrize("code", ["ENOSYS", "ENOTSUP", "ENOLCK", "EINVAL"])
def test_on_a_disk_without_locks_a_process_is_alone_as_well(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(file: object, operation: int) -> None:
        raise OSError(getattr(errno, code), "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "run" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT + HOLD, str(path), code], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="remove ") as caught, files.lock(path):
            pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    # A process of this machine that is gone holds nothing.
    with files.lock(path), files.lock(path):
        pass
    named = Path(str(caught.value).partition("remove ")[2].split()[0])
    assert named.parent == path.parent
    named.write_text("12345\nanother machine\n")
    with pytest.raises(LockedError), files.lock(path):
        pytest.fail("two hold it")
    named.unlink()  # the sentence's cure
    with files.lock(path):
        pass


def test_pipes_folders_and_giants_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"12345")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "big"):
        with pytest.raises(DataError, match=path.name):
            files.read_text(path, at_most=4, error=DataError)
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "pipe")
    with pytest.raises(FileError):
        read_events(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.read_text(tmp_path / "none")


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[" * 100_000, b"9" * 5000])
def test_json_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.json").write_bytes(content)
    with pytest.raises(FileError, match="best"):
        files.read_json(tmp_path / "best.json")


@pytest.mark.parametrize(
    "text",
    [
        "!!int ''",
        "9" * 5000,
        "[" * 1000,
        "!!timestamp 2024-02-30",
        "!!timestamp x",
        "!!bool x",
        "a: 1\na: 2",
        "&a [*a]",
        "a: [1",
        "\0",
        "!!python/object/apply:os.getcwd []",
        "{[1]: 2}",
        "x" * 5 * 2**20,
        "\n".join(["a0: &a0 [1]", *(f"a{n + 1}: &a{n + 1} [{f'*a{n},' * 9}]" for n in range(9))]),
    ],
)
def test_yaml_out_of_bounds_is_one_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--set a"):
        read_yaml(text, "--set a")


def test_yaml_takes_words_for_words_and_numbers_for_numbers() -> None:
    text = "[no, on, 2024-02-30, 007, 1:30, 2e-4, 1e3, .inf, true, ~, 0x1f, -3]"
    words = ["no", "on", "2024-02-30", "007", "1:30"]
    assert read_yaml(text, "x") == [*words, 2e-4, 1e3, float("inf"), True, None, 31, -3]
    with pytest.raises(DataError):
        read_yaml("a: [", "dataset.yaml", error=DataError)
    assert read_yaml("a: &x [1]\nb: *x", "x") == {"a": [1], "b": [1]}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=3))
def test_yaml_that_is_written_is_read_back_equal(value: dict[str, object]) -> None:
    assert read_yaml(yaml_text(value), "x") == value


WORDS = ["2e-4", "no", "007", "1_0", "~", "", "true", "1.", "<<", "off", "Yes", "2024-02-30"]


@pytest.mark.parametrize("word", [*WORDS, "12:30:45", "=", "\udce9", "a\nno"])
def test_words_that_look_like_numbers_stay_words(word: str) -> None:
    assert read_yaml(yaml_text({"a": word, word: 1}), "x") == {"a": word, word: 1}


@pytest.mark.parametrize("word", [*WORDS, "12:30:45", "="])
def test_other_readers_of_yaml_take_the_words_as_words(word: str) -> None:
    """YAML 1.1, which most readers follow, has more booleans, numbers and dates than 1.2."""
    assert yaml.safe_load(yaml_text({"classes": [word]})) == {"classes": [word]}


def test_hidden_files_are_in_no_listing(tmp_path: Path) -> None:
    for name in (
        "b.png",
        "a.png",
        "._a.png",
        ".DS_Store",
        "Thumbs.db",
        "d/c.png",
        "__MACOSX/a.png",
    ):
        write_text(tmp_path / name, "")
    assert [p.name for p in files.listed(tmp_path)] == ["a.png", "b.png", "d"]
    found = [str(p.relative_to(tmp_path)) for p in files.listed_tree(tmp_path)]
    assert found == ["a.png", "b.png", "d/c.png"]


@given(st.lists(st.text(max_size=400), max_size=5))
def test_no_name_from_data_leaves_its_folder_or_meets_another(names: list[str]) -> None:
    folder, taken = Path("/out/of"), set()
    paths = [files.output_path(folder, name, ".png", taken=taken) for name in names]
    keys = {unicodedata.normalize("NFC", path.name).casefold() for path in paths}
    assert len(keys) == len(names)
    for path in paths:
        assert Path(os.path.normpath(path)).parent == folder
        assert len(path.name.encode()) <= NAME_BYTES
        assert path.name.isprintable()
        assert not files.is_hidden(path.name)


def test_ordinary_names_stay_and_others_are_readable() -> None:
    def name(text: str, taken: set[str] | None = None) -> str:
        return files.output_path(Path("o"), text, ".png", taken=taken or set()).name

    for text in ("0001", "a b", "naïve-Straße", "frame#1", "2024.05.01"):
        assert name(text) == f"{text}.png"
    assert name("cam1/0001") == "cam1-0001.png"
    assert name("cam1/0001", {"cam1-0001.png"}) == "cam1-0001-2.png"
    assert name("/etc/../passwd") == "etc-passwd.png"
    assert name("a\nb\udce9") == "a%0Ab%E9.png"
    assert name("A", {"a.png"}) == "A-2.png"


def test_text_from_elsewhere_moves_no_terminal() -> None:
    assert files.printable("a\nb\x1b[2J\udce9\u202eé") == "a\\nb\\x1b[2J\\xe9\\u202eé"
    assert files.printable("ordinary - text, 日本") == "ordinary - text, 日本"
