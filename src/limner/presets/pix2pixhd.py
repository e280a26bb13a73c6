"""pix2pixHD whole: an enhancer around the global generator, 2048 x 1024.

Paper: as `pix2pixhd-global`, section 3.1, "coarse-to-fine generator".
Reproduces: one local enhancer of 32 filters (182,857,059 parameters in all with 36 channels),
discriminators at 3 scales, 50 epochs at constant rate and 50 of linear decay, in the first 10 of
which only the enhancer learns. It begins around a run of `pix2pixhd-global`:
`limner train DATA --preset pix2pixhd --from RUN --out FINE`. The discriminators begin anew (in the
code of the paper those of the coarser scales are taken over).
The discriminators have 8,404,803 parameters.
Cost: 297,500 steps on Cityscapes' 2,975 pairs; a GPU of 24 GB. Memory in float32, reckoned from
shapes: 2.9 GiB for weights, gradients and Adam's averages, 10.9 GiB of features kept for the
generator's backward pass, 7.1 with `generator.checkpointing=true` (what VGG19 and the
discriminators keep stays), and what convolutions need besides.
Published: see `pix2pixhd-global`; not trained here.
"""

from limner.config import (
    Config,
    DataSettings,
    LabelSettings,
    MultiscaleSettings,
    ObjectiveSettings,
    Pix2PixHDLocalSettings,
    TrainingSettings,
    ValidationSettings,
)

PRESET = Config(
    preset="pix2pixhd",
    data=DataSettings(mode="resize", size=(1024, 2048), flip=True, labels=LabelSettings()),
    generator=Pix2PixHDLocalSettings(
        name="pix2pixhd-local", width=32, downs=4, blocks=9, enhancers=1, local_blocks=3
    ),
    discriminators=(MultiscaleSettings(name="multiscale", width=64, layers=3, scales=3),),
    objective=ObjectiveSettings(
        gan="lsgan", scales="sum", l1=0.0, feature_matching=10.0, vgg=10.0, vgg_network="vgg19"
    ),
    training=TrainingSettings(
        epochs=100, batch_size=1, lr=2e-4, schedule="linear", fix_global=10.0
    ),
    # The terms of the losses on held-out pairs, where there are any: what is learnt by heart shows.
    validation=ValidationSettings(every=5.0),
)
