"""What only a model that starts from nothing needs. The core names none of it; recipes plug it in.

* segmenter: :mod:`prompted_segmenter`, :mod:`grid_queries`, :mod:`attribute_classes`
* semantic encoder: :mod:`view_classifier`
* LLM: :mod:`query_loss`
"""
