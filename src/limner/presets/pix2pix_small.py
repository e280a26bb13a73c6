"""pix2pix for two CPU cores: half the side, half the width, instance norm.

Paper: as `pix2pix`. What differs, and why: 128 x 128 pictures and 32 filters, an eighth of the
work; instance norm, so that a picture comes out the same in training and afterwards; label
colours resized by nearest neighbour; a discriminator whose field is 34 pixels, the same part of
the picture as 70 of 256; a constant learning rate and a running average of the weights in place
of the decay, which on 400 pairs left a grain on flat walls (results/README.md).
"""

from limner.config import (
    Config,
    DataSettings,
    ObjectiveSettings,
    PatchSettings,
    TrainingSettings,
    UNetSettings,
)

PRESET = Config(
    preset="pix2pix-small",
    data=DataSettings(mode="resize_crop", size=(128, 128), flip=True),
    generator=UNetSettings(width=32, norm="instance", dropout=0.5),
    discriminators=(PatchSettings(width=32, layers=2, norm="instance"),),
    objective=ObjectiveSettings(gan="vanilla", l1=100.0),
    training=TrainingSettings(epochs=100, batch_size=1, lr=2e-4, schedule="constant", ema=0.9998),
)
