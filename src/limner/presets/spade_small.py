"""SPADE for two CPU cores: 128 x 96 pixels, narrow networks, no perceptual loss.

Paper: as `spade`. What differs, and why: 12 filters and 16 between labels and modulation (64 and
128 there), discriminators of 32 filters whose field suits the size, batch 1 with instance
statistics (those of one picture are the batch's), no perceptual loss, since its weights are not
shipped (add it with `objective.vgg=10 objective.vgg_network=vgg16`, at three times the cost).
Sides must be multiples of 32; pictures of another shape want another `data.size`.
Cost: about 0.2 s a step on one core of two.
"""

from limner.config import (
    Config,
    DataSettings,
    LabelSettings,
    MultiscaleSettings,
    ObjectiveSettings,
    SPADESettings,
    TrainingSettings,
    ValidationSettings,
)

PRESET = Config(
    preset="spade-small",
    data=DataSettings(mode="resize_crop", size=(96, 128), flip=True, labels=LabelSettings()),
    generator=SPADESettings(name="spade", width=12, hidden=16, norm="instance"),
    discriminators=(
        MultiscaleSettings(
            name="multiscale",
            width=32,
            layers=2,
            scales=2,
            spectral=True,
            bias=False,
            init="xavier",
        ),
    ),
    objective=ObjectiveSettings(
        gan="hinge", l1=0.0, discriminator_scale=1.0, feature_matching=10.0
    ),
    training=TrainingSettings(
        epochs=100,
        batch_size=1,
        lr=1e-4,
        discriminator_lr=4e-4,
        betas=(0.0, 0.9),
        schedule="linear",
    ),
    # The terms of the losses on held-out pairs, where there are any: what is learnt by heart shows.
    validation=ValidationSettings(every=5.0, images=50),
)
