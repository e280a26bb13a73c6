"""The study's best model: two discriminators, of 94 and of 62 pixels, weighed 0.7 and 0.3.

Paper: as `study-base`, section IV.B.2 and equation 1; section V.C, configuration 2.
Reproduces: what `study-base` does, with the "small" discriminator besides, whose logits' kernel is
2 (17 x 17 logits, 2,761,665 parameters). Each learns by itself at full weight; the generator's
adversarial terms are weighed. The other configurations are settings:
`--set objective.weighting=dynamic-1 --set objective.weights=[0.9,0.1]` is the first, dynamic-2
the study's second version, and weights of [0.5,0.5] and [0.3,0.7] its other constant ones.
Cost: as `study-base`; about 35 s an epoch on the study's L4 GPU.
Expected: facades FID 184.6; configurations 1 to 8: 298.4, 184.6, 185.3, 194.9, 190.4, 190.4,
187.0, 295.5.
"""

from limner.presets.study_base import LARGE
from limner.presets.study_base import PRESET as BASE

SMALL = LARGE.model_copy(update={"kernel": 2})

PRESET = BASE.model_copy(
    update={
        "preset": "study",
        "discriminators": (LARGE, SMALL),
        "objective": BASE.objective.model_copy(update={"weights": (0.7, 0.3)}),
    }
)
