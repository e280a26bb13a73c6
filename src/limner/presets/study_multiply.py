"""The study's base model with skips that multiply.

Paper: as `study-base`, section V.B.
Reproduces: what `study-base` does, with d * e at all seven joins: the
decoder's inputs are not doubled, 39,080,963 parameters.
Cost: 33.1 s an epoch on the study's L4 GPU, where `study-base` takes 38.5.
Expected: facades FID 384.1 (table I); with `training.batch_size=4 training.lr=5e-5` 189.6 after 250
epochs and 191.8 after 400 (table II).
"""

from limner.presets.study_base import PRESET as BASE

PRESET = BASE.model_copy(
    update={
        "preset": "study-multiply",
        "generator": BASE.generator.model_copy(update={"skips": "multiply"}),
    }
)
