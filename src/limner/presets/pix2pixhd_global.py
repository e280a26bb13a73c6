"""pix2pixHD's global generator, label map to photo at 1024 x 512.

Paper: Wang, Liu, Zhu, Tao, Kautz, Catanzaro, "High-Resolution Image Synthesis and Semantic
Manipulation with Conditional GANs", CVPR 2018, section 3.1; settings of its code for 512 rows.
Reproduces: global generator (182,546,755 parameters with the 36 channels of Cityscapes: 35 labels
and the edges of instances) against discriminators at 2 scales (5,603,202), LSGAN summed over
scales, feature matching 10, perceptual loss 10 on VGG19, Adam 2e-4 (0.5, 0.999), batch 1, 100
epochs at constant rate and 100 of linear decay. Not reproduced: both networks' losses are taken
from the same, not yet updated pair of networks there; here the discriminators learn first.
Cost: 595,000 steps on Cityscapes' 2,975 pairs; a GPU. Memory in float32, reckoned from shapes: 2.8
GiB for weights, gradients and Adam's averages, 2.9 GiB of features kept for the generator's
backward pass (VGG19's and the discriminators' included), and what convolutions need besides.
Published: Cityscapes FID 95.0 and mean IoU 58.3 for the whole method at 512 x 256, as the SPADE
paper measured it (table 1); not trained here.
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
    preset="pix2pixhd-global",
    data=DataSettings(mode="resize", size=(512, 1024), flip=True, labels=LabelSettings()),
    generator=Pix2PixHDSettings(name="pix2pixhd", width=64, downs=4, blocks=9),
    discriminators=(MultiscaleSettings(name="multiscale", width=64, layers=3, scales=2),),
    objective=ObjectiveSettings(
        gan="lsgan", scales="sum", l1=0.0, feature_matching=10.0, vgg=10.0, vgg_network="vgg19"
    ),
    training=TrainingSettings(epochs=200, batch_size=1, lr=2e-4, schedule="linear"),
    # The terms of the losses on held-out pairs, where there are any: what is learnt by heart shows.
    validation=ValidationSettings(every=5.0),
)
