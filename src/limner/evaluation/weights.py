"""Pretrained weights for the metrics: those of `limner.networks.weights`, under their old name."""

from limner.networks.weights import (
    KNOWN,
    TIMEOUT,
    Known,
    Progress,
    cache_folder,
    find,
    load,
    places,
    read,
    sha256,
)

__all__ = [
    "KNOWN",
    "TIMEOUT",
    "Known",
    "Progress",
    "cache_folder",
    "find",
    "load",
    "places",
    "read",
    "sha256",
]
