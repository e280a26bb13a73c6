"""pix2pix as published, in the manner of pytorch-CycleGAN-and-pix2pix.

Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017, sections 3 and 6.1 to 6.2.
Reproduces: U-Net 256 (54,413,955 parameters) against the 70 x 70 PatchGAN (2,768,705), BCE with
100 L1, Adam 2e-4 (0.5, 0.999), resize to 286, crop to 256, flip, batch 1, 100 epochs at constant
rate and 100 of linear decay; pictures are made with dropout on and each picture's own batch
statistics.
Cost: 80,000 steps on the 400 facades; about 0.6 s a step in fp32 on two CPU cores.
Expected: facades FID 119 to 125 on the 106 test images with Inception weights (mmagic's card).
"""

from limner.config import (
    Config,
    DataSettings,
    InferenceSettings,
    ObjectiveSettings,
    PatchSettings,
    TrainingSettings,
    UNetSettings,
)

PRESET = Config(
    preset="pix2pix",
    data=DataSettings(
        mode="resize_crop",
        size=(256, 256),
        flip=True,
        interpolation=("bicubic", "bicubic"),
    ),
    generator=UNetSettings(width=64, norm="batch", dropout=0.5),
    discriminators=(PatchSettings(width=64, layers=3, norm="batch"),),
    objective=ObjectiveSettings(gan="vanilla", l1=100.0),
    training=TrainingSettings(epochs=200, batch_size=1, lr=2e-4, schedule="linear"),
    inference=InferenceSettings(statistics="batch", dropout=True),
)
