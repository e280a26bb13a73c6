"""Carry trained models over: from other projects, and to new data."""

from limner.transfer.importing import (
    PROJECTS,
    detect_options,
    from_project,
    import_network,
    network_settings,
    state_dict_of,
    to_project,
)

__all__ = [
    "PROJECTS",
    "detect_options",
    "from_project",
    "import_network",
    "network_settings",
    "state_dict_of",
    "to_project",
]
