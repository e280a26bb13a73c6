"""Weights of pix2pixHD and SPADE: names go there and back, and show the options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from variants import VARIANTS, drawn, theirs

from limner.transfer import detect_options, from_project, import_network


@pytest.mark.parametrize(
    ("project", "variant"), [(project, name) for project, some in VARIANTS.items() for name in some]
)
def test_names_go_there_and_back_and_show_the_options(
    project: str, variant: str, tmp_path: Path
) -> None:
    role, options = VARIANTS[project][variant]
    state, named = drawn(project, variant).state_dict(), theirs(project, variant)
    ours = from_project(named, project=project, role=role, **options)
    assert ours.keys() == state.keys()
    assert all(torch.equal(value, ours[name]) for name, value in state.items())
    torch.save(named, tmp_path / "net.pth")
    found = detect_options(tmp_path / "net.pth", project)
    assert found is not None
    assert found[0] == role
    assert {name: found[1][name] for name in options} == options
    again = import_network(tmp_path / "net.pth", project, role, **found[1])
    assert again.state_dict().keys() == ours.keys()
