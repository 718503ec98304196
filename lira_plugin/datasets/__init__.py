"""Data sets, one file a format, and the transforms that turn records into samples."""

from lira_plugin.datasets.ai2d_questions import Ai2dDataset
from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.attreval_masks import AttrSegDataset
from lira_plugin.datasets.attreval_questions import AttrVqaDataset
from lira_plugin.datasets.chartqa_questions import ChartQADataset
from lira_plugin.datasets.choice_dataset import ChoiceDataset
from lira_plugin.datasets.choice_table import ChoiceTableDataset
from lira_plugin.datasets.coco_descriptions import CocoDescriptionDataset
from lira_plugin.datasets.coco_instance import CocoInstanceDataset
from lira_plugin.datasets.coco_phrases import CocoPhraseDataset
from lira_plugin.datasets.coco_prompt import CocoPromptDataset
from lira_plugin.datasets.collate import grounding_collate
from lira_plugin.datasets.csv_masks import CsvMaskDataset
from lira_plugin.datasets.fitting import fit_to_model
from lira_plugin.datasets.gcg import GCG_LAYOUTS, GCGDataset
from lira_plugin.datasets.gcg_images import GCGTestDataset
from lira_plugin.datasets.gqa_questions import GqaDataset
from lira_plugin.datasets.grounded_lines import GroundedLinesDataset
from lira_plugin.datasets.grounding_dataset import Draw, GroundingDataset
from lira_plugin.datasets.image_batch_sampler import ImageBatchSampler, image_batches
from lira_plugin.datasets.label_maps import LabelMapDataset
from lira_plugin.datasets.llava import LlavaDataset
from lira_plugin.datasets.mixture import MixtureDataset, MixturePart
from lira_plugin.datasets.mme_questions import MmeDataset
from lira_plugin.datasets.parquet_phrases import ParquetPhraseDataset
from lira_plugin.datasets.pope_questions import PopeDataset
from lira_plugin.datasets.question_lines import QuestionLinesDataset
from lira_plugin.datasets.reason_seg import ReasonSegDataset
from lira_plugin.datasets.refer import ReferSegDataset
from lira_plugin.datasets.resumable_sampler import ResumableSampler
from lira_plugin.datasets.sa2va import Sa2vaDataset
from lira_plugin.datasets.safe_pickle import safe_load
from lira_plugin.datasets.scienceqa_questions import ScienceQADataset
from lira_plugin.datasets.textvqa_questions import TextVqaDataset
from lira_plugin.datasets.transforms import (
    ILVC,
    CutViews,
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    PackGroundingInputs,
    TileImage,
    ToDetInputs,
    TokenizeConversation,
)
from lira_plugin.datasets.vizwiz_questions import VizWizDataset
from lira_plugin.datasets.vqa_questions import VqaDataset

__all__ = [
    "GCG_LAYOUTS",
    "ILVC",
    "Ai2dDataset",
    "AnswerDataset",
    "AttrSegDataset",
    "AttrVqaDataset",
    "ChartQADataset",
    "ChoiceDataset",
    "ChoiceTableDataset",
    "CocoDescriptionDataset",
    "CocoInstanceDataset",
    "CocoPhraseDataset",
    "CocoPromptDataset",
    "CsvMaskDataset",
    "CutViews",
    "DecodeRegions",
    "Draw",
    "GCGDataset",
    "GCGTestDataset",
    "GqaDataset",
    "GroundedLinesDataset",
    "GroundingDataset",
    "ImageBatchSampler",
    "LabelMapDataset",
    "LetterboxImage",
    "LlavaDataset",
    "LoadImage",
    "MixtureDataset",
    "MixturePart",
    "MmeDataset",
    "PackGroundingInputs",
    "ParquetPhraseDataset",
    "PopeDataset",
    "QuestionLinesDataset",
    "ReasonSegDataset",
    "ReferSegDataset",
    "ResumableSampler",
    "Sa2vaDataset",
    "ScienceQADataset",
    "TextVqaDataset",
    "TileImage",
    "ToDetInputs",
    "TokenizeConversation",
    "VizWizDataset",
    "VqaDataset",
    "fit_to_model",
    "grounding_collate",
    "image_batches",
    "safe_load",
]
