"""The study's base model with skips that concatenate and multiply by turns.

Paper: as `study-base`, section VI: its first proposal for what comes next.
Reproduces: what `study-base` does, with joins that concatenate and multiply by
turns, beginning at the outermost, which concatenates: 47,996,931 parameters.
Cost: between those of `study-multiply` and `study-base`.
Expected: nothing is published.
"""

from limner.presets.study_base import PRESET as BASE

PRESET = BASE.model_copy(
    update={
        "preset": "study-alternating",
        "generator": BASE.generator.model_copy(update={"skips": "alternating"}),
    }
)
