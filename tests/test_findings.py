"""Findings are read by programs: every number finite, every name kept, worst first."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from limner.findings import Finding, Item, Remedy, milder, worst_first


def finding(**changes: object) -> Finding:
    known: dict = {"name": "leak", "severity": "error", "message": "one", "cure": "split"}
    return Finding(**(known | changes))


def test_json_holds_plain_finite_numbers() -> None:
    evidence = {"a": np.float32(0.5), "b": np.int64(3), "c": math.nan, "d": np.bool_(True)}
    written = finding(evidence=evidence, items=[Item(("x.png",), evidence)]).to_json()
    for taken in (written["evidence"], written["items"][0]["evidence"]):
        assert taken == {"a": 0.5, "b": 3, "c": None, "d": True}
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_json_has_the_contract_s_fields_and_remedies_where_there_are_any() -> None:
    fields = ["name", "severity", "split", "files", "pairs", "evidence", "items", "message", "cure"]
    assert list(finding(pairs=[("test/1.png", "train/1.png")]).to_json()) == fields
    remedies = [Remedy(set=("training.lr=1e-4",), applies="running", why="slower")]
    assert finding(remedies=remedies).to_json()["remedies"] == [
        {"set": ["training.lr=1e-4"], "applies": "running", "why": "slower"}
    ]


def test_the_worst_stands_first_and_equals_keep_their_order() -> None:
    mixed = [
        finding(name=n, severity=s)
        for n, s in zip("abcd", ["note", "error", "warning", "error"], strict=True)
    ]
    assert [f.name for f in worst_first(mixed)] == ["b", "d", "c", "a"]


def test_milder_ends_at_a_note() -> None:
    assert [milder("error"), milder("warning"), milder("note")] == ["warning", "note", "note"]
    with pytest.raises(ValueError, match="severity"):
        finding(severity="fatal")


def test_a_line_is_one_line_whatever_a_name_holds() -> None:
    assert "\n" not in finding(message="a\nb\x1b[31m", split="train").line()
