"""Record what SciPy 1.2's `imresize` and `bytescale` gave, for tests/data_files.

Run by Python 3.7 with SciPy 1.2 and Pillow, which the project itself does not need:

    python3.7 -m venv /tmp/scipy12
    /tmp/scipy12/bin/pip install scipy==1.2.3 "numpy<1.22" Pillow==6.2.2
    /tmp/scipy12/bin/python -W ignore scripts/reference_imresize.py tests/data_files/imresize.json

The inputs are drawn by `cases`, which the test calls too.
"""

import json
import sys
from pathlib import Path

import numpy as np


def cases():
    """Return name, array and (height, width) of each case: kinds of numbers, up and down."""
    rng = np.random.RandomState(7)
    byte = rng.randint(0, 256, (5, 7, 3)).astype(np.uint8)
    steps = np.repeat(np.repeat(rng.randint(0, 256, (4, 4, 3)), 8, 0), 8, 1).astype(np.uint8)
    unit = rng.rand(6, 5, 3)
    return [
        ("uint8, larger", byte, (13, 16)),
        ("uint8, smaller", steps, (9, 11)),
        ("uint8, one side smaller", byte, (3, 12)),
        ("uint8, grey", byte[:, :, 0], (11, 4)),
        ("uint8, its own size", byte, (5, 7)),
        ("float64 in [0, 1]", unit, (12, 10)),
        ("float32 in [-1, 1]", (2 * unit - 1).astype(np.float32), (4, 9)),
        ("float64 in [0, 255], dark", 40 + 60 * unit, (7, 7)),
        ("float32, grey", unit[:, :, 1].astype(np.float32), (8, 8)),
        ("float64, all equal", np.full((4, 4, 3), 0.7), (6, 6)),
        ("uint16", (unit * 65535).astype(np.uint16), (9, 6)),
        ("int64", byte.astype(np.int64) - 100, (6, 9)),
    ]


def main(path):
    import PIL
    import scipy
    from scipy.misc import pilutil

    found = {
        "versions": {
            "scipy": scipy.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
        "cases": {
            name: {
                "bytescale": pilutil.bytescale(array).tolist(),
                "imresize": pilutil.imresize(array, size).tolist(),
            }
            for name, array, size in cases()
        },
    }
    Path(path).write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
