from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Dropout and first weights draw from the global generator; a test must not hang on luck."""
    torch.manual_seed(0)
