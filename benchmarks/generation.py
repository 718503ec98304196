"""How fast Algorithm 1 answers: the batched generator against a loop that answers one question at a time.

The loop does what published demos of such models do: batch 1, the image encoded again for every question, every hidden layer
kept, logits of every position. Both run the same weights, and their tokens are checked to be equal: of the tiny recipe those
that a quickstart has trained, where its folder is given, else random ones, whose output head alone is fitted to answers of
the training data, so that they hold as many masks and views. Variants take turns in every round. Needs Linux, whose
``/proc`` tells the peak of the memory.

    python benchmarks/generation.py --trained work_dirs/tiny --json benchmarks/generation.json
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import resident_memory
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from recipes_without_files import CONFIGS, provide_scenes
from report import write_report
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers import DynamicCache

from lira_plugin.checkpoint.files import load_into
from lira_plugin.datasets import fit_to_model, grounding_collate
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.describe import input_spec_of_recipe
from lira_plugin.models import LIRA
from lira_plugin.models.generation import Request
from lira_plugin.registry import DATASETS, MODELS
from lira_plugin.structures import (
    GCG_QUESTIONS,
    Conversation,
    GroundingSample,
    Record,
    TokenKind,
    Turn,
    refer_question,
    region_view,
)

CONFIG = CONFIGS / "lira_tiny" / "lira_tiny.py"
LLMS = {
    "tiny": {},
    "134M": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 32000,
    },
}
"""Settings of the Llama: that of the tiny recipe, and 134 M parameters as small published language models have."""
EXPRESSIONS = 8
"""Referring expressions an image."""
NEW_TOKENS = {"RefSeg": 10, "GCG": 48}
"""Length of an answer: that of ``<seg><image_id> <p> red circle </p> <seg>.``, and of a caption with three phrases."""
ANSWERS = 64
"""Training samples that the head of a random LLM is fitted to."""


class Task(NamedTuple):
    """Prompts of one kind."""

    name: str
    samples: list[GroundingSample]


@dataclass(frozen=True)
class Result:
    """One line of the table; rates are medians over the rounds."""

    variant: str
    task: str
    batch: int
    llm: str
    tokens_per_s: float
    expressions_per_s: float
    views_per_answer: float
    peak_rss_mb: int
    """Highest resident memory of the process, over the rounds."""
    equal_answers: float
    """Share of the answers that are those of the loop, for variants of the same model."""
    speedup: float
    speedup_low: float
    speedup_high: float


def build_model(llm: str, sefe: bool = True, trained: bool = False) -> LIRA:
    """The tiny recipe's model with the given LLM, and random weights unless it is that of a finished quickstart."""
    config = Config.fromfile(CONFIG if sefe else CONFIG.with_name("lira_tiny_no_sefe.py"))
    settings = LLMS[llm]
    trained = trained and not settings
    if not trained:
        config.model.init_from = []
    config.model.llm.llm.config.update(settings)
    if settings:
        for part in ("semantic_encoder", "sefe", "mask_decoder"):
            config.model[part].hidden_size = settings["hidden_size"]
    torch.manual_seed(0)
    model: LIRA = MODELS.build(config.model).eval()
    if trained:
        load_into(
            model,
            f"{os.environ['LIRA_TINY_ROOT']}/lira",
            may_lack=list(model.frozen),
            ignore=[] if sefe else ["sefe.enrich"],
        )
    else:
        _fit_head(model, fit_to_model(DATASETS.build(config.train_dataloader.dataset), model.input_spec))
    return model


@torch.no_grad()
def _fit_head(model: LIRA, data: Dataset) -> None:
    """Let a random model write answers that are made like those of a trained one.

    Its embeddings are made large, so that a hidden state tells the last token well and what comes before somewhat; from that a
    logistic regression on some answers of the training data tells the next token.
    """
    embedding, head = model.llm.causal_lm.get_input_embeddings(), model.llm.causal_lm.get_output_embeddings()
    embedding.weight.mul_(300)
    hidden, following = [], []
    drawn = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:ANSWERS]
    for some in drawn.split(8):
        batch = grounding_collate([data[index] for index in some.tolist()])["batch"]
        encoded = model.encode(batch)
        states = model.llm(encoded.embeddings, encoded.attention_mask).hidden[:, :-1]
        written = batch.labels[:, 1:] >= 0
        hidden.append(states[written])
        following.append(batch.labels[:, 1:][written])
    states, (known, classes) = torch.cat(hidden), torch.cat(following).unique(return_inverse=True)
    weight = torch.zeros(len(known), head.in_features, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(states @ weight.T, classes) + 1e-3 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    head.weight.zero_()
    head.weight[known] = weight


def make_tasks(images: int, pipeline: Compose | None = None) -> list[Task]:
    """Prompts over scenes: eight expressions an image, and one caption an image.

    Args:
        images: of the expressions; four times as many have captions.
        pipeline: of a recipe, fitted to its model; None is that of the tiny recipe.
    """
    config = Config.fromfile(CONFIG)
    dataset = config.test_dataloader.dataset
    if pipeline is None:
        pipeline = fit_to_model(build_pipeline(dataset.pipeline), input_spec_of_recipe(config.model))
    records = DATASETS.build(dict(dataset.datasets[0], split="val"))
    paths = sorted({records.get_record(index, np.random.default_rng(0)).image_path for index in range(len(records))})
    phrases = [
        "red circle",
        "large square",
        "ring on the left",
        "star",
        "blue object",
        "small cross",
        "top star",
        "ring",
    ]

    def prompt(index: int, path: str, question: str) -> GroundingSample:
        record = Record("benchmark", str(index), path, Conversation((Turn(question, ""),)))
        return pipeline({"record": record, "rng": np.random.default_rng(0)})

    refer = [
        prompt(n, path, refer_question(phrases[n % len(phrases)]))
        for path in paths[:images]
        for n in range(EXPRESSIONS)
    ]
    captions = [prompt(n, path, GCG_QUESTIONS[0]) for n, path in enumerate(paths[: 4 * images])]
    return [Task("RefSeg", refer), Task("GCG", captions)]


@torch.no_grad()
def one_by_one(model: LIRA, samples: list[GroundingSample], limit: int) -> list[str]:
    """The loop: one question at a time, everything encoded anew."""
    end = model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [_answer_alone(model, sample, limit, end) for sample in samples]


def _answer_alone(model: LIRA, sample: GroundingSample, limit: int, end: int) -> str:
    encoded = model.encode(**grounding_collate([sample]))
    llm, cache, ids, mask, masks = model.llm.causal_lm, DynamicCache(), [], None, []
    forced = model.tokenizer(" <p>", add_special_tokens=False)["input_ids"]
    pending_embeds = encoded.embeddings[:1][:, encoded.attention_mask[0]]
    num_sampled = 0
    while True:
        output = llm(inputs_embeds=pending_embeds, past_key_values=cache, use_cache=True, output_hidden_states=True)
        if ids and ids[-1] == model.ids.seg:
            state = output.hidden_states[-1][0, -1:]
            segmenter = model.pixel_encoder.segmenter
            logits = model.mask_decoder(state, torch.tensor([0]), encoded.features.decoder_memory, segmenter)[-1]
            mask = sample.letterbox.invert_logits(logits)[0].numpy() > 0
            masks.append(mask)
        if num_sampled == limit:
            break
        token = int(output.logits[0, -1].argmax())
        if token == end:
            break
        num_sampled += 1
        ids.append(token)
        if num_sampled == limit and token != model.ids.seg:
            break
        pending_embeds = model.llm.embed(torch.tensor([[token]]))
        if token == model.ids.image_id:
            shown = mask if mask is not None else np.ones(sample.image.shape[:2], bool)
            view = region_view(sample.image, shown, model.semantic_encoder.tile_size)
            local = model.semantic_encoder(torch.from_numpy(view.copy()).permute(2, 0, 1)[None])
            pending_embeds = torch.cat([pending_embeds, local, model.llm.embed(torch.tensor([forced]))], 1)
            ids += forced
    return model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def batched(model: LIRA, samples: list[GroundingSample], limit: int, batch: int, **decoding: Any) -> list[str]:
    """Ours: a queue of all questions, ``batch`` of them at a time; images are encoded as they are needed."""
    generator = model.generator(batch_size=batch, max_new_tokens=limit, **decoding)
    return [answer.raw_text for answer in generator(queue(model, samples, batch))]


def queue(model: LIRA, samples: list[GroundingSample], batch: int) -> Iterator[Request]:
    """All questions, each with the features of its image, which are made for as many questions as run at a time."""
    chunk = max(batch, EXPRESSIONS)
    for start in range(0, len(samples), chunk):
        data = grounding_collate(samples[start : start + chunk])
        yield from model.requests(**model.data_preprocessor(data, False))


def measure(run: Callable[[], list[str]]) -> tuple[list[str], float, int]:
    """Answers, seconds, and the highest resident memory meanwhile in MiB."""
    resident_memory.forget_peak()
    start = time.perf_counter()
    answers = run()
    seconds = time.perf_counter() - start
    return answers, seconds, int(resident_memory.peak())


def compare(
    llm: str, tasks: list[Task], batches: list[int], rounds: int, bar: tqdm, trained: bool = False
) -> Iterator[Result]:
    """Results of one LLM."""
    model, plain = build_model(llm, trained=trained), build_model(llm, sefe=False, trained=trained)
    for task in tasks:
        limit = NEW_TOKENS[task.name]
        without = [_without_semantic(sample) for sample in task.samples]
        runs: dict[tuple[str, int], Callable[[], list[str]]] = {
            ("loop", 1): lambda task=task, limit=limit: one_by_one(model, task.samples, limit)
        }
        for batch in sorted({min(batch, len(task.samples)) for batch in batches}):
            runs["ours", batch] = lambda t=task, n=limit, b=batch: batched(model, t.samples, n, b)
        usual = min(16, len(task.samples))
        variants = {"with prompt lookup": {"prompt_lookup_num_tokens": 8}, "without ILVC": {"ilvc": False}}
        for variant, settings in variants.items():
            runs[f"ours {variant}", usual] = lambda t=task, n=limit, b=usual, s=settings: batched(
                model, t.samples, n, b, **s
            )
        runs["ours without SEFE", usual] = lambda s=without, n=limit, b=usual: batched(plain, s, n, b)
        seconds: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
        memory: dict[tuple[str, int], int] = dict.fromkeys(runs, 0)
        answers: dict[tuple[str, int], list[str]] = {}
        for _ in range(rounds):
            for key, run in runs.items():
                bar.set_postfix_str(f"{llm} {task.name} {key[0]} {key[1]}")
                answers[key], spent, peak = measure(run)
                seconds[key].append(spent)
                memory[key] = max(memory[key], peak)
                bar.update()
        for key in runs:
            tokens = sum(len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in answers[key])
            middle = statistics.median(seconds[key])
            ratios = sorted(slow / fast for slow, fast in zip(seconds["loop", 1], seconds[key]))
            rate = tokens / middle
            base = sum(len(model.tokenizer(t, add_special_tokens=False)["input_ids"]) for t in answers["loop", 1])
            scale = tokens / base  # answers of the variants differ in length
            equal = sum(a == b for a, b in zip(answers["loop", 1], answers[key], strict=True)) / len(task.samples)
            yield Result(
                key[0], task.name, key[1], llm, round(rate, 1), round(len(task.samples) / middle, 2),
                sum(text.count("<image_id>") for text in answers[key]) / len(task.samples), memory[key], equal,
                *(round(ratio * scale, 2) for ratio in (statistics.median(ratios), ratios[0], ratios[-1])),
            )  # fmt: skip


def _without_semantic(sample: GroundingSample) -> GroundingSample:
    """The prompt of a model without SEFE."""
    kept = sample.kinds != TokenKind.SEMANTIC
    return replace(sample, input_ids=sample.input_ids[kept], labels=sample.labels[kept], kinds=sample.kinds[kept])


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| LLM | task | variant | batch | tokens/s | expressions/s | views an answer | tokens/s against the loop (spread) "
        "| peak MiB | answers equal to the loop's |",
        "|" + " --- |" * 10,
    ]
    for result in results:
        ratio = f"{result.speedup:.1f}x ({result.speedup_low:.1f}-{result.speedup_high:.1f})"
        cells = [
            result.llm,
            result.task,
            result.variant,
            result.batch,
            result.tokens_per_s,
            result.expressions_per_s,
            f"{result.views_per_answer:.1f}",
            ratio,
            result.peak_rss_mb,
            f"{result.equal_answers:.0%}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--quick", action="store_true", help="two images and one round: finishes in 3 minutes")
    parser.add_argument(
        "--images", type=int, default=16, help="with eight expressions each, and four times as many captions"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--trained", type=Path, help="folder of a finished tools/quickstart.py: weights of the tiny LLM"
    )
    parser.add_argument("--llms", nargs="+", choices=list(LLMS), default=list(LLMS))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope("lira_plugin")
    batches, rounds = [1, 4, 16, 64], 1 if args.quick else args.rounds
    with tempfile.TemporaryDirectory() as folder:
        if args.trained:
            os.environ["LIRA_TINY_ROOT"] = str(args.trained)
        else:
            provide_scenes(Path(folder), 200, 64)
        tasks = make_tasks(2 if args.quick else args.images)
        results = []
        with tqdm(desc="runs") as bar:
            for llm in args.llms:
                results += compare(llm, tasks, batches, rounds, bar, trained=args.trained is not None)
    print(table(results))
    if args.json:
        write_report(args.json, results, rounds=rounds, trained=args.trained is not None)


if __name__ == "__main__":
    main()
