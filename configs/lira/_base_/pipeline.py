"""From a record to a sample, for all recipes.

Sizes, tokenizer, special tokens, chat template, and whether there are semantic tokens and views: all that depends on the model is
taken from it when the data are built.
"""

from lira_plugin.datasets import (
    ILVC,
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    PackGroundingInputs,
    TileImage,
    TokenizeConversation,
)

# Put behind questions by the recipes with two prompts, with and without ILVC; the words are ours.
two_prompts = (" Look at each region before you describe it.", " Describe each region without looking at it again.")
read_image = dict(load=dict(type=LoadImage), decode=dict(type=DecodeRegions), letterbox=dict(type=LetterboxImage))
pipeline = dict(
    **read_image,
    interleave=dict(type=ILVC),
    tile=dict(type=TileImage, min_tiles=1, max_tiles=6),
    tokenize=dict(type=TokenizeConversation, max_length=1024),
    pack=dict(type=PackGroundingInputs),
)
# Prompts: the last answer is left out, and what prediction and evaluation need is kept.
prompt_pipeline = pipeline | dict(
    interleave=dict(type=ILVC, answers=False),
    pack=dict(type=PackGroundingInputs, for_generation=True),
)
