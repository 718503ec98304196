"""The pixel encoder: backbone, pixel decoder, segmenter, perception prior."""
