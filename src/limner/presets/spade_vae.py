"""SPADE with an encoder of style: one label map, many pictures.

Paper: as `spade`, section 3, "multi-modal synthesis", and appendix A.
Reproduces: the first map of the generator is made of a code of 256 numbers, drawn around what an
encoder (10.46 million parameters) reads from the target; KL divergence 0.05 (averaged over
samples; the paper's code sums over those of a GPU, four as a rule). Everything else as `spade`.
Pictures: `limner translate RUN INPUTS --style PICTURE` takes another picture's style,
`--samples N` draws N styles.
Cost: as `spade`; 109,557,955 parameters in the generator with the 36 channels of Cityscapes, so
that weights, gradients and Adam's averages take 1.9 GiB.
Published: see `spade`; not trained here.
"""

from limner.config import SPADEEncoderSettings
from limner.presets.spade import PRESET as SPADE

PRESET = SPADE.model_copy(
    update={
        "preset": "spade-vae",
        "generator": SPADE.generator.model_copy(update={"latent": 256}),
        "encoder": SPADEEncoderSettings(name="spade-encoder", width=64, layers=6, latent=256),
        "objective": SPADE.objective.model_copy(update={"kl": 0.05}),
    }
)
