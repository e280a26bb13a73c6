"""Images that stay on a device: the same batches, each image read once if it fits."""

from __future__ import annotations

import pytest
import torch

from limner.data import PairedDataset, Residence, make_loader, residence

STACK = 6 * 20 * 20  # bytes of one image of the data set, both fields, before the draw


def batches(dataset: PairedDataset) -> list[dict]:
    loader = make_loader(
        dataset,
        batch_size=2,
        epoch=0,
        epochs=4,
        workers=0,
        shuffle=True,
        drop_last=True,
        pin_memory=False,
    )
    return list(loader)


@pytest.mark.parametrize("fitting", [0, 2, 5])
def test_batches_are_the_same_and_images_read_once_if_they_fit(
    fitting: int, side_by_side, open_plainly, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_plainly(side_by_side(count=5))
    expected = batches(dataset)
    read = []

    def counted(self: PairedDataset, pair) -> torch.Tensor:
        read.append(pair.name)
        return decoded(self, pair)

    decoded = PairedDataset._decoded
    monkeypatch.setattr(PairedDataset, "_decoded", counted)
    dataset.residence = Residence(torch.device("cpu"), fitting * STACK)
    found = batches(dataset)
    assert len(found) == len(expected) == 8
    for one, other in zip(found, expected, strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["source"], other["source"])
        assert torch.equal(one["target"], other["target"])
    assert dataset.residence.held_bytes == fitting * STACK
    asked = sum(len(batch["name"]) for batch in found)
    names = [name for batch in found for name in batch["name"]]
    kept = list(dict.fromkeys(names))[:fitting]
    assert len(read) == asked - sum(names.count(name) - 1 for name in kept)


def test_a_residence_takes_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 9000))
    home = residence(torch.device("cuda"))
    assert (home.device.type, home.limit_bytes, home.held_bytes) == ("cuda", 1000, 0)
