"""SPADE (GauGAN), label map to photo at 256 x 256.

Paper: Park, Liu, Wang, Zhu, "Semantic Image Synthesis with Spatially-Adaptive Normalization",
CVPR 2019, section 3 and appendix A.
Reproduces: the generator (97.48, 96.49 or 93.05 million parameters with the 184, 151 or 36
channels of COCO-Stuff, ADE20K and Cityscapes) with spectral norm and batch statistics over all
processes, against discriminators at 2 scales (5,601,410 with 36 and 3 channels), hinge, feature
matching 10, perceptual loss 10 on VGG19, Adam (0, 0.9) at 1e-4 for the generator and 4e-4 for the
discriminators, batch 32 (of all processes: 8 with 4 each there), 100 epochs at constant rate and
100 of linear decay. The discriminators learn first here, the generator there.
Cost: 18,400 steps on Cityscapes' 2,975 pairs; the paper trained on 8 V100 GPUs. Memory in float32,
reckoned from shapes: 1.5 GiB for weights, gradients and Adam's averages, and features kept for the
generator's backward pass (VGG19's and the discriminators' included): 1.2 GiB for one picture, 3.8
for 4, 28.4 for 32 in one process; `generator.checkpointing=true` leaves 0.3 of the 1.2.
Published (the paper's table 1): COCO-Stuff FID 22.6, mean IoU 37.4; ADE20K 33.9, 38.5; Cityscapes
(512 x 256) 71.8, 62.3; not trained here.
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
    preset="spade",
    data=DataSettings(mode="resize_crop", size=(256, 256), flip=True, labels=LabelSettings()),
    generator=SPADESettings(name="spade", width=64, hidden=128, norm="sync-batch"),
    discriminators=(
        MultiscaleSettings(
            name="multiscale",
            width=64,
            layers=3,
            scales=2,
            spectral=True,
            bias=False,
            init="xavier",
        ),
    ),
    objective=ObjectiveSettings(
        gan="hinge",
        l1=0.0,
        discriminator_scale=1.0,
        feature_matching=10.0,
        vgg=10.0,
        vgg_network="vgg19",
    ),
    training=TrainingSettings(
        epochs=200,
        batch_size=32,
        lr=1e-4,
        discriminator_lr=4e-4,
        betas=(0.0, 0.9),
        schedule="linear",
    ),
    # The terms of the losses on held-out pairs, where there are any: what is learnt by heart shows.
    validation=ValidationSettings(every=5.0),
)
