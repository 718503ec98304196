"""A grounding model without an LLM: a recurrent network reads the question, and a Mask2Former decodes its last state."""

from example_project.word_segmenter import WordSegmenter

__all__ = ["WordSegmenter"]
