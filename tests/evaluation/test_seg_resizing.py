"""SciPy's removed `imresize`: by hand, and against what SciPy 1.2 gave."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from limner.errors import DataError
from limner.evaluation.segmentation.protocols import PROTOCOLS, bytescale, imresize, resized

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "tests" / "data_files" / "imresize.json").read_text())


def reference() -> ModuleType:
    path = ROOT / "scripts" / "reference_imresize.py"
    spec = importlib.util.spec_from_file_location("reference_imresize", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = reference().cases()


def test_the_record_is_scipys_and_covers_all_cases() -> None:
    assert RECORD["versions"]["scipy"].startswith("1.2.")
    assert list(RECORD["cases"]) == [name for name, _, _ in CASES]


@pytest.mark.parametrize(("name", "array", "size"), CASES, ids=[name for name, _, _ in CASES])
def test_the_bytes_are_those_of_scipy(name: str, array: np.ndarray, size: tuple[int, int]) -> None:
    recorded = RECORD["cases"][name]
    assert bytescale(array).tolist() == recorded["bytescale"]
    found = imresize(array, size)
    assert found.dtype == np.uint8
    assert found.tolist() == recorded["imresize"]


def test_floats_are_stretched_to_all_bytes_and_bytes_are_not() -> None:
    # (x - 0.2) * 255 / 0.4: 0, 63.75, 127.5, 255; plus a half, cut off.
    assert bytescale(np.array([0.2, 0.3, 0.4, 0.6])).tolist() == [0, 64, 128, 255]
    assert bytescale(np.array([10, 20], dtype=np.uint8)).tolist() == [10, 20]
    assert bytescale(np.array([10, 20])).tolist() == [0, 255]


def test_bilinear_by_hand() -> None:
    # Centres of 4 pixels over 2: at 0.25, 0.75, 1.25 and 1.75 of the first's 0.5 and second's 1.5.
    row = np.array([[0, 100]], dtype=np.uint8)
    assert imresize(row, (1, 4)).tolist() == [[0, 25, 75, 100]]
    # Half the size: a triangle of two pixels each side, so 3, 3, 1 and 1, 3, 3 sevenths here.
    column = np.array([[0], [70], [140], [70]], dtype=np.uint8)
    assert imresize(column, (2, 1)).tolist() == [[50], [100]]


def test_a_float_picture_changes_its_contrast_and_a_byte_picture_does_not() -> None:
    dim = np.full((8, 8, 3), 60, dtype=np.uint8)
    dim[:, 4:] = 90
    assert imresize(dim, (16, 16)).max() == 90
    assert imresize(dim / 255, (16, 16)).max() == 255


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 2)), "not \\(4, 4, 2\\)"),
        (np.array([[0.0, np.nan]]), "NaN"),
    ],
)
def test_what_cannot_be_resized_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        imresize(array, (2, 2))


def test_the_cityscapes_protocol_takes_photos_through_the_generated_size() -> None:
    rng = np.random.RandomState(0)
    photo = torch.from_numpy(rng.randint(0, 256, (3, 32, 64)).astype(np.uint8))
    prepare = PROTOCOLS["cityscapes"].prepare
    found = prepare(photo, label=(32, 64), generated=(8, 8), size=None)
    small = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize((8, 8), 2)
    assert found.permute(1, 2, 0).tolist() == np.array(small.resize((64, 32), 2)).tolist()
    # Pictures of the generated size are enlarged once; with a size, to that.
    same = prepare(photo, label=(64, 128), generated=(32, 64), size=None)
    assert torch.equal(same, resized(photo, (64, 128)))
    assert prepare(photo, label=(64, 128), generated=(32, 64), size=(16, 24)).shape == (3, 16, 24)
