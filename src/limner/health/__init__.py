"""The health of a training: what is measured of the two networks, and what the record says."""
