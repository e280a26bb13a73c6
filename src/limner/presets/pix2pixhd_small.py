"""pix2pixHD for two CPU cores: 128 x 96 pixels, a narrow global generator, no perceptual loss.

Paper: as `pix2pixhd-global`. What differs, and why: 24 filters, 3 halvings and 6 blocks (64, 4
and 9 there), discriminators of 32 filters whose field suits the size, no perceptual loss, since
its weights are not shipped (add it with `objective.vgg=10 objective.vgg_network=vgg16`, at three
times the cost). Sides must be multiples of 8.
Cost: about 0.15 s a step on one core of two.
"""

from limner.config import (
    Config,
    DataSettings,
    LabelSettings,
    MultiscaleSettings,
    ObjectiveSettings,
    Pix2PixHDSettings,
    TrainingSettings,
    ValidationSettings,
)

PRESET = Config(
    preset="pix2pixhd-small",
    data=DataSettings(mode="resize_crop", size=(96, 128), flip=True, labels=LabelSettings()),
    generator=Pix2PixHDSettings(name="pix2pixhd", width=24, downs=3, blocks=6),
    discriminators=(MultiscaleSettings(name="multiscale", width=32, layers=2, scales=2),),
    objective=ObjectiveSettings(gan="lsgan", scales="sum", l1=0.0, feature_matching=10.0),
    training=TrainingSettings(epochs=100, batch_size=1, lr=2e-4, schedule="linear"),
    # The terms of the losses on held-out pairs, where there are any: what is learnt by heart shows.
    validation=ValidationSettings(every=5.0, images=50),
)
