"""Metrics: pure functions that do the arithmetic, and one MMEngine metric a file."""

from lira_plugin.evaluation.answer_metric import AnswerMetric
from lira_plugin.evaluation.answer_rules import AnswerResult, judge_answer, summarise_answers
from lira_plugin.evaluation.attreval_metric import AttrEvalMetric
from lira_plugin.evaluation.attribute_ranks import (
    RankedWord,
    TrueRank,
    Witness,
    attribute_figures,
    ranked_words,
    true_rank,
)
from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.chair_metric import ChairMetric
from lira_plugin.evaluation.chance_level import ChanceLevel, chance_level
from lira_plugin.evaluation.coco_metric import CocoInstanceMetric
from lira_plugin.evaluation.coco_scores import CocoPrediction, InstanceScores, score_instances, summarize_instances
from lira_plugin.evaluation.dump_answers import DumpAnswers
from lira_plugin.evaluation.gcg_metric import GCGMetric
from lira_plugin.evaluation.gcg_scores import GCGImageScores, GCGPrediction, score_image, summarize
from lira_plugin.evaluation.instance_seg_metric import InstanceSegMetric
from lira_plugin.evaluation.mask_iou import (
    intersection_union,
    iou,
    iou_from_counts,
    iou_matrix,
    match_masks,
    mean_matched_iou,
)
from lira_plugin.evaluation.presence import calibrate, matthews
from lira_plugin.evaluation.rank_correlation import Correlation, correlate, spearman
from lira_plugin.evaluation.record_metric import RecordMetric, in_order
from lira_plugin.evaluation.refer_scores import SentenceScore, score_sentence, summarise_sentences
from lira_plugin.evaluation.refer_seg_metric import ReferSegMetric
from lira_plugin.evaluation.region_accuracy import RegionAccuracy
from lira_plugin.evaluation.seg_witness_metric import SegWitnessMetric
from lira_plugin.evaluation.text_similarity import TextSimilarity, build_similarity

__all__ = [
    "AnswerMetric",
    "AnswerResult",
    "AttrEvalMetric",
    "CaptionScorer",
    "ChairMetric",
    "ChanceLevel",
    "CocoInstanceMetric",
    "CocoPrediction",
    "Correlation",
    "DumpAnswers",
    "GCGImageScores",
    "GCGMetric",
    "GCGPrediction",
    "InstanceScores",
    "InstanceSegMetric",
    "RankedWord",
    "RecordMetric",
    "ReferSegMetric",
    "RegionAccuracy",
    "SegWitnessMetric",
    "SentenceScore",
    "TextSimilarity",
    "TrueRank",
    "Witness",
    "attribute_figures",
    "build_similarity",
    "calibrate",
    "chance_level",
    "correlate",
    "in_order",
    "intersection_union",
    "iou",
    "iou_from_counts",
    "iou_matrix",
    "judge_answer",
    "match_masks",
    "matthews",
    "mean_matched_iou",
    "ranked_words",
    "score_image",
    "score_instances",
    "score_sentence",
    "spearman",
    "summarise_answers",
    "summarise_sentences",
    "summarize",
    "summarize_instances",
    "true_rank",
]
