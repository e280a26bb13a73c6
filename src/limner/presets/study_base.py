"""The study's base model: pix2pix with one discriminator that sees 94 pixels.

Paper: Asher, Bechhofer, Berman, "Exploring Alternative Architectures For The Pix2Pix Model",
section V.A, configuration 1, and its code, which builds on akanametov/pix2pix.
Reproduces: U-Net of eight levels with a bias everywhere (54,419,459 parameters), whole channels
dropped at its three innermost decoder levels, no ReLU on the outermost skip; the "large"
discriminator, instance norm, four strided layers, 15 x 15 logits (2,767,809); PyTorch's default
initialisation; BCE with 100 L1, the discriminator's loss (fake + real) / 2; both losses computed
before either update, each on a picture of its own; Adam 2e-4 (0.5, 0.999) at constant rate,
resize to 256 without crop or flip, batch 1, 200 epochs. Pictures are made with running statistics
and without dropout. Not reproduced: the order of its random draws.
Cost: 80,000 steps on the 400 facades; 38.5 s an epoch on the study's L4 GPU.
Expected: facades FID 186.2 and 188.1 (two runs); 292.2 after 32 epochs.
"""

from limner.config import (
    Config,
    DataSettings,
    ObjectiveSettings,
    PatchSettings,
    TrainingSettings,
    UNetSettings,
)

LARGE = PatchSettings(
    width=64, layers=3, last_stride=2, kernel=4, norm="instance", bias=True, init="default"
)

PRESET = Config(
    preset="study-base",
    data=DataSettings(
        mode="resize", size=(256, 256), flip=False, interpolation=("bicubic", "bicubic")
    ),
    generator=UNetSettings(
        width=64,
        norm="batch",
        bias=True,
        dropout=0.5,
        dropout_kind="channel",
        dropout_innermost=True,
        skips="concat",
        rectify_last_skip=False,
        init="default",
    ),
    discriminators=(LARGE,),
    objective=ObjectiveSettings(gan="vanilla", l1=100.0, discriminator_scale=0.5),
    training=TrainingSettings(
        epochs=200,
        batch_size=1,
        lr=2e-4,
        schedule="constant",
        update_order="together",
        fresh_fake=True,
    ),
)
