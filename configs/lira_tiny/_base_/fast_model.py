"""The tiny model for easy scenes of 64 pixels: fewer queries, fewer layers and fewer points a mask."""

from mmengine.config import read_base

with read_base():
    from .tiny_model import *

image_size = 64
for encoder in (pixel_encoder, model.pixel_encoder):
    encoder.update(image_size=image_size)
    encoder.segmenter.update(num_queries=9)
    encoder.segmenter.pixel_decoder.encoder.update(num_layers=1)
    encoder.segmenter.transformer_decoder.update(num_layers=2)
    encoder.segmenter.train_cfg.update(num_points=128)  # masks have 256 cells
model.mask_decoder.update(num_points=128)
model.init_from = [
    segmenter_weights
    | dict(path=f"{root}/segmenter_fast", made_by="xtuner train configs/lira_tiny/lira_tiny_fast_segmenter.py"),
    semantic_weights
    | dict(path=f"{root}/semantic_fast", made_by="xtuner train configs/lira_tiny/lira_tiny_fast_semantic.py"),
]
del encoder
