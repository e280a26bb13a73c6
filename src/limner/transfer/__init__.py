"""Carry trained models over: from other projects, and to new data."""

from limner.transfer.importing import (
    detect_options,
    from_project,
    import_network,
    network_settings,
    state_dict_of,
    to_project,
)
from limner.transfer.projects import PROJECTS

__all__ = [
    "PROJECTS",
    "detect_options",
    "from_project",
    "import_network",
    "network_settings",
    "state_dict_of",
    "to_project",
]
