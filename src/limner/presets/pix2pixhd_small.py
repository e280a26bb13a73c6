"""x."""

from limner.config import (
    Config,
    DataSettings,
    LabelSettings,
    MultiscaleSettings,
    ObjectiveSettings,
    Pix2PixHDSettings,
    TrainingSettings,
)

PRESET = Config(
    preset="pix2pixhd-small",
    data=DataSettings(mode="resize", size=(96, 128), flip=True, labels=LabelSettings()),
    generator=Pix2PixHDSettings(name="pix2pixhd", width=16, downs=3, blocks=6),
    discriminators=(MultiscaleSettings(name="multiscale", width=32, scales=2, layers=2),),
    objective=ObjectiveSettings(gan="lsgan", l1=0.0, scales="sum", feature_matching=10.0),
    training=TrainingSettings(epochs=100, batch_size=1, lr=2e-4, schedule="linear"),
)
