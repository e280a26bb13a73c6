"""x."""

from limner.config import (
    Config,
    DataSettings,
    LabelSettings,
    MultiscaleSettings,
    ObjectiveSettings,
    SPADESettings,
    TrainingSettings,
)

PRESET = Config(
    preset="spade-small",
    data=DataSettings(mode="resize", size=(96, 128), flip=True, labels=LabelSettings()),
    generator=SPADESettings(name="spade", width=16, hidden=32, norm="instance"),
    discriminators=(
        MultiscaleSettings(
            name="multiscale",
            width=32,
            scales=2,
            layers=2,
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
)
