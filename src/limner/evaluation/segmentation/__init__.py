"""The segmentation ("FCN") score: how well a segmenter recognises generated pictures."""
