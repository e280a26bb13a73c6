"""Print how far imported networks lie from what their own projects compute, as a Markdown table.

    python scripts/golden_parity.py [FOLDER]

FOLDER holds index.json and the files it lists; without it, ../shared/golden beside the checkout.
Files of projects that cannot be imported yet are listed as such.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from limner.networks import count_parameters
from limner.transfer import PROJECTS, import_network

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden"


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return what index.json lists; an empty list where there is none."""
    index = folder / "index.json"
    return json.loads(index.read_text(encoding="utf-8")) if index.is_file() else []


def flattened(outputs: Tensor | list[list[Tensor]]) -> dict[str, Tensor]:
    """Return outputs under the names of the golden files: `output`, or `output.SCALE.LAYER`.

    The logits of a lone scale are `output` too, for projects that hand back nothing else.
    """
    if isinstance(outputs, Tensor):
        return {"output": outputs}
    named = {f"output.{i}.{j}": t for i, scale in enumerate(outputs) for j, t in enumerate(scale)}
    return named | ({"output": outputs[0][-1]} if len(outputs) == 1 else {})


def compare(folder: Path, entry: dict[str, Any]) -> tuple[float, int]:
    """Return the largest absolute difference over all outputs, and the number of parameters."""
    options = dict(entry["arch"])
    role = options.pop("kind")
    file = folder / f"{entry['name']}.pth"
    network = import_network(file, project=entry["source"], role=role, **options)
    tensors = load_file(folder / f"{entry['name']}.io.safetensors")
    inputs = [tensors[name] for name in sorted(n for n in tensors if n.startswith("input."))]
    with torch.inference_mode():
        outputs = flattened(network(*inputs))
    expected = {name: value for name, value in tensors.items() if name.startswith("output")}
    for name, value in expected.items():
        if outputs[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(outputs[name].shape)}, not {tuple(value.shape)}")
    largest = max((outputs[n] - value).abs().max().item() for n, value in expected.items())
    return largest, count_parameters(network)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    listed = entries(folder)
    if not listed:
        sys.exit(f"{folder} holds no index.json: name the folder of the golden files")
    print("| file | largest difference | parameters |")
    print("|---|---|---|")
    for entry in listed:
        if entry["source"] in PROJECTS:
            largest, parameters = compare(folder, entry)
            print(f"| {entry['name']} | {largest:.1e} | {parameters:,} |")
        else:
            print(f"| {entry['name']} | {entry['source']} cannot be imported yet | |")


if __name__ == "__main__":
    main()
