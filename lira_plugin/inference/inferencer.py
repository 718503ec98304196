"""The inferencer: a trained model that speaks files, arrays and text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.infer import BaseInferencer
from tqdm import tqdm

from lira_plugin.checkpoint.finite import non_finite, refuse_non_finite
from lira_plugin.compat.checked_settings import check_recipe
from lira_plugin.convert.packed_weights import load_model
from lira_plugin.datasets import grounding_collate, image_batches
from lira_plugin.inference.attribute_reading import AttributeReading, words_to_ask
from lira_plugin.inference.det_habits import images_of, without_det_habits
from lira_plugin.inference.image_answer import ImageAnswer
from lira_plugin.inference.inputs import History, ImageInput, Prompt, read_prompts
from lira_plugin.inference.loading import Recipe, checked_device, find_recipe
from lira_plugin.inference.prompt_pipeline import prompt_pipeline, recipe_pipeline
from lira_plugin.inference.results import InferenceResult, ResultWriter
from lira_plugin.models import LIRA
from lira_plugin.models.answering import GENERATION_SETTINGS
from lira_plugin.models.compiled_parts import checked_backend, compile_parts
from lira_plugin.models.generation import Progress, Request, WordRule, WordSet
from lira_plugin.models.quantized_llm import check_kind, quantize_llm
from lira_plugin.models.visual_blocks import EncodedImages
from lira_plugin.precision import as_dtype
from lira_plugin.registry import SCOPE
from lira_plugin.settings import refuse_type, refuse_unknown
from lira_plugin.structures import (
    GroundedText,
    GroundingBatch,
    GroundingSample,
    Record,
    refer_question,
)
from lira_plugin.visualization import GroundingVisualizer

_OPTIONS = ("out_dir", "show", "force", "history", "return_logits")
"""What a call of the inferencer takes beside the settings of generation."""


class LIRAInferencer(BaseInferencer):
    """A trained model that speaks files, arrays and text, used as mmdet's ``DetInferencer``.

    >>> lira = LIRAInferencer("work_dirs/tiny/lira")  # doctest: +SKIP
    >>> [answer] = lira("scene.jpg", "Please segment red circle.", out_dir="out")  # doctest: +SKIP

    Images are encoded once, however many questions are about them, and whatever their number, only those of the answers
    being written are in memory.

    Args:
        model: recipe (path or config), whose ``test_dataloader`` says how images and questions are prepared, or a work dir or
            packed folder (``tools/convert_checkpoint.py pack``), which have recipe and weights. None takes the work dir or
            folder of ``weights``.
        weights: checkpoint file or work dir; None keeps the weights that a recipe starts from.
        device: where to run, by default a GPU if there is one.
        dtype: what the weights are cast to, such as ``bfloat16``, which halves their memory; None leaves them as they are.
        quantize: ``int8`` or ``nf4`` for the LLM's linear layers; all else is in bfloat16 then, unless ``dtype`` says otherwise.
        compile: compile the model as it answers (:func:`~lira_plugin.models.compiled_parts.compile_parts`). The first answers
            take minutes then. A text names another backend of ``torch.compile`` than ``inductor``.
        show_progress: show progress bars, on terminals.
        allow_urls: fetch images from http(s) addresses that are given in place of paths, at most 64 MB each.

    Raises:
        FileNotFoundError: there is no recipe, or no checkpoint, or none of those that the recipe starts from.
        FloatingPointError: a weight is not finite; 16 bits may be too few for it.
        ImportError: the package that quantizes is missing.
        WrongSetting: the recipe has a setting that does not exist, or an argument is of another type.
        ValueError: see :func:`~lira_plugin.inference.find_recipe`; the checkpoint does not fit, the recipe does not say how to
            prepare images, or ``dtype`` is no floating-point type.
    """

    def __init__(
        self,
        model: Recipe | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        *,
        dtype: str | torch.dtype | None = None,
        quantize: str | None = None,
        compile: bool | str = False,
        show_progress: bool = True,
        allow_urls: bool = False,
    ) -> None:
        refuse_type("allow_urls", allow_urls, bool)
        self.allow_urls = allow_urls
        if quantize is not None:
            check_kind(quantize)
        recipe, weights = find_recipe(model, weights)
        device = checked_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if recipe.get("model") is None:
            raise ValueError(
                f"{recipe.filename or 'the recipe'} has no 'model': give a recipe of this package, or a work dir"
            )
        check_recipe(recipe)
        self.backend = checked_backend(compile)
        self.dtype, self.quantize = as_dtype(dtype if quantize is None or dtype else "bfloat16"), quantize
        super().__init__(recipe, weights, device, scope=SCOPE, show_progress=show_progress)

    def __call__(
        self,
        images: ImageInput | None | Sequence[ImageInput | None] = None,
        questions: str | Sequence[str] | None = None,
        *,
        out_dir: str | Path | None = None,
        overwrite: bool = False,
        no_save_vis: bool = False,
        show: bool = False,
        wait_time: float = 0.0,
        **options: Any,
    ) -> list[ImageAnswer]:
        """Answer questions about images, masks at the resolution of the image.

        Args:
            images: an image (path, (H, W, 3) uint8 RGB array or PIL image), several, such as the frames of a video, None for a
                question without image, a folder, or a ``.jsonl`` file with ``{"image": "a.jpg", "question": "..."}`` a line.
                ``inputs`` is another name of it.
            questions: such as ``"Please segment red circle."``: one for all images, several about one image, or one for
                each; None for a ``.jsonl`` file.
            out_dir: write ``predictions.json``, masks and pictures there (:class:`~lira_plugin.inference.ResultWriter`).
            overwrite: replace what an earlier run has written to ``out_dir``, which is an error otherwise.
            no_save_vis: write no pictures to ``out_dir``.
            show: show each answer as soon as it is there (:meth:`ImageAnswer.show`).
            wait_time: seconds that the window of an answer stays, 0 until a key is pressed.
            options: see :meth:`iterate`.

        Returns:
            One answer a question, in order. A mask is ``answer.spans[0].mask``, a picture ``answer.plot()``.

        Raises:
            FileExistsError: ``out_dir`` has answers of an earlier run.
            FileNotFoundError: an image is not there.
            ValueError: there is nothing to ask, numbers of images and questions differ, an image cannot be read, or an
                option is out of range.
            WrongSetting: an option is unknown or of another type.
        """
        refuse_type("out_dir", out_dir, Path | None)
        images = images_of(images, options)
        answers, draw = {}, None if no_save_vis else self.visualize
        with ResultWriter(out_dir, draw, overwrite) if out_dir else nullcontext() as writer:
            for result in self.iterate(images, questions, **options):
                answers[result.index] = result.answer
                if writer is not None:
                    writer.add(result)
                if show:
                    result.answer.show(wait_time)
        return self.postprocess(answers)

    def iterate(
        self,
        images: ImageInput | None | Sequence[ImageInput | None],
        questions: str | Sequence[str] | None = None,
        *,
        force: bool = False,
        history: History = (),
        return_logits: bool = False,
        keep_going: bool = False,
        **settings: Any,
    ) -> Iterator[InferenceResult]:
        """As :meth:`__call__`, each result as soon as it is there, not in order: for more masks than fit into memory.

        Args:
            images, questions: see :meth:`__call__`.
            force: the answer to ``Please segment X.`` is ``X`` with its mask, whatever the model would say.
            history: earlier questions about the image with their answers, for a chat.
            return_logits: give the (H, W) logits of the masks out too (``span.logits``).
            keep_going: a question that cannot be asked, as of an image that cannot be read, gives a result with an ``error``
                and does not end the others.
            settings: ``batch_size`` (answers written at the same time) and those of
                :class:`~lira_plugin.models.generation.Decoding`, such as ``threshold``, ``ilvc``, ``max_new_tokens`` and
                ``do_sample``; those not given are the recipe's.
        """
        prompts = read_prompts(images, questions, allow_urls=self.allow_urls)
        settings = self._settings(force, return_logits, settings)
        images = [None if prompt.image is None else prompt.name for prompt in prompts]
        batches = image_batches(images, settings["batch_size"])
        samples: dict[int, GroundingSample] = {}  # by index of the prompt, in the order of the requests
        order: list[int] = []
        failures: dict[int, Exception] = {}
        requests = self.preprocess(
            prompts,
            batches,
            samples=samples,
            order=order,
            failures=failures if keep_going else None,
            ilvc=settings["ilvc"],
            force=force,
            history=history,
        )
        with tqdm(total=len(prompts), desc="answers", leave=False, disable=None if self.show_progress else True) as bar:
            for request_index, answer in self.forward(requests, **settings):
                index = order[request_index]
                prompt, sample = prompts[index], samples.pop(index)
                bar.update()
                yield InferenceResult.of(index, prompt, answer, sample.image)
        for index, error in failures.items():
            prompt = prompts[index]
            yield InferenceResult(index, prompt.name, prompt.question, GroundedText(""), None, str(error))

    def stream(
        self,
        image: ImageInput | None,
        question: str,
        history: History = (),
        *,
        force: bool = False,
        return_logits: bool = False,
        draw_index: int = 0,
        **settings: Any,
    ) -> Iterator[Progress]:
        """Answer one question and tell of each piece of text and each mask when it is there.

        Args:
            image: path, array, PIL image, or None.
            question: the question.
            history, force, return_logits, settings: see :meth:`iterate`.
            draw_index: index of the question among several; its random draws are then those of :meth:`iterate`.
        """
        prompts = read_prompts([image], [question], allow_urls=self.allow_urls)
        settings = {**self._settings(force, return_logits, settings), "batch_size": 1}
        samples: dict[int, GroundingSample] = {}
        requests = self.preprocess(prompts, [[0]], samples=samples, ilvc=settings["ilvc"], force=force, history=history)
        requests = (replace(request, draw_index=draw_index) for request in requests)
        return (
            replace(news, answer=InferenceResult.of(0, prompts[0], news.answer, samples[0].image).answer)
            for news in self.model.generator(**settings).stream(requests)
        )

    def attributes(
        self,
        image: ImageInput,
        expression: str,
        sets: Mapping[str, WordSet] | None = None,
        *,
        rule: WordRule = "first",
        **settings: Any,
    ) -> AttributeReading:
        """What the model thinks an object is: the words of its attributes, by their probability at the ``<seg>``.

        >>> lira.attributes("street.jpg", "the car", {"color": ["red", "blue", "gray"]})  # doctest: +SKIP
        AttributeReading('the car': color red 0.71, gray 0.20, blue 0.09)

        Args:
            image: path, array or PIL image.
            expression: what ``Please segment X.`` is to segment, whatever the model would say.
            sets: for each kind of attribute its words, or a mapping from words to values. A kind can have any name.
                None takes those of the recipe (``generation.seg_words``), else the package's lexicons of categories,
                locations and colours.
            rule: which tokens of a word count (``seg_word_rule``): ``first`` or ``whole``.
            settings: see :meth:`iterate`.

        Raises:
            WrongSetting: ``sets`` has no kind, or a kind no words.
            ValueError: the image cannot be read, the expression is empty, or the tokenizer does not know a word.
        """
        sets = words_to_ask(expression, sets, self.model.generation.get("seg_words"))
        asked = {"seg_words": sets, "seg_word_rule": rule, **settings}
        results = list(self.iterate(image, refer_question(expression), force=True, **asked))
        if len(results) != 1:
            raise ValueError(f"attributes looks at one image, and {image!r:.80} has {len(results)}: call it for each")
        (result,) = results
        return AttributeReading.of_span(expression, result.image, result.answer.spans[0])

    def sample(
        self, prompt: Prompt, *, ilvc: bool = True, force: bool = False, history: History = (), index: int = 0
    ) -> GroundingSample:
        """Load the image of a prompt, and prepare both for the model, on the CPU.

        Args:
            prompt: the question with its image.
            ilvc, force, history: see :meth:`iterate`.
            index: of the prompt among all; its random draws are those of this index.

        Raises:
            OSError: the image cannot be read.
            ValueError: the same, or the question cannot be asked.
        """
        return _sample(prompt_pipeline(self.pipeline, ilvc, force), prompt, prompt.record(index, history, force), index)

    def requests(
        self, samples: Sequence[GroundingSample], encode: Callable[[GroundingBatch], EncodedImages] | None = None
    ) -> Iterator[Request]:
        """Encode samples together, when the first request is taken.

        Args:
            samples: see :meth:`sample`.
            encode: encodes the images of a batch; by default the model does.
        """
        data = self.model.data_preprocessor(self.collate_fn(samples), False)
        return self.model.requests(**data) if encode is None else self.model.requests(**data, encode=encode)

    def preprocess(
        self,
        inputs: Sequence[Prompt],
        batches: Sequence[Sequence[int]],
        *,
        samples: dict[int, GroundingSample],
        order: list[int] | None = None,
        failures: dict[int, Exception] | None = None,
        ilvc: bool = True,
        force: bool = False,
        history: History = (),
    ) -> Iterator[Request]:
        """Load and encode prompts batch by batch, when the first request of a batch is taken.

        Args:
            inputs: all prompts.
            batches: which of them are encoded together.
            samples: what is loaded is put here by index of the prompt.
            order: the index of the prompt of each request is appended here.
            failures: the errors of images that cannot be read are put here by index of the prompt; None raises them.
            ilvc, force, history: see :meth:`iterate`.
        """
        pipeline = prompt_pipeline(self.pipeline, ilvc, force)
        for batch in batches:
            loaded = []
            for index in batch:
                record = inputs[index].record(index, history, force)
                try:
                    samples[index] = _sample(pipeline, inputs[index], record, index)
                except (OSError, ValueError) as error:
                    if failures is None:
                        raise
                    failures[index] = error
                else:
                    loaded.append(index)
            if loaded:
                if order is not None:
                    order += loaded
                yield from self.requests([samples[index] for index in loaded])

    def forward(self, inputs: Iterator[Request], **settings: Any) -> Iterator[tuple[int, GroundedText]]:
        """Run Algorithm 1: (index of the request, answer), each as soon as it is done."""
        return self.model.generator(**settings).answers(inputs)

    def visualize(self, inputs: InferenceResult) -> np.ndarray:
        """Draw a result, (H', W', 3) uint8; ``visualizer`` is a :class:`~lira_plugin.visualization.GroundingVisualizer`."""
        self.visualizer = self.visualizer or GroundingVisualizer()
        return self.visualizer.draw(inputs.image, inputs.answer, question=inputs.question)

    def postprocess(self, preds: dict[int, ImageAnswer]) -> list[ImageAnswer]:
        """Put the answers in the order of the prompts."""
        return [preds[index] for index in sorted(preds)]

    def _settings(self, force: bool, return_logits: bool, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings of the generator; those that are needed here are filled in from the recipe.

        Raises:
            WrongSetting: one is unknown or of another type.
        """
        refuse_type("force", force, bool)
        refuse_type("return_logits", return_logits, bool)
        settings = without_det_habits(settings)
        refuse_unknown(settings, (*GENERATION_SETTINGS, *_OPTIONS), "the inferencer")
        defaults = {"batch_size": 32, "ilvc": True, **self.model.generation}
        for name, kind in (("batch_size", int), ("ilvc", bool)):
            refuse_type(name, settings.get(name, defaults[name]), kind)
        keep_logits = {"keep_logits": True} if return_logits else {}
        return {name: defaults[name] for name in ("batch_size", "ilvc")} | settings | keep_logits

    def _init_model(self, cfg: Config, weights: Path | None, device: str = "cpu") -> LIRA:
        model = load_model(cfg, weights, device, self.dtype)
        refuse_non_finite(
            non_finite(model.named_parameters()), str(weights or "the recipe's init_from"), "take an earlier checkpoint"
        )
        if self.quantize is not None:
            quantize_llm(model.llm.causal_lm, self.quantize)
        if self.backend is not None:
            compile_parts(model, self.backend)
        return model

    def _init_pipeline(self, cfg: Config) -> Compose:
        return recipe_pipeline(cfg, self.model.input_spec)

    def _init_collate(self, cfg: Config) -> Any:
        return grounding_collate

    def _init_visualizer(self, cfg: Config) -> None:
        """None yet: most answers are not drawn."""


def _sample(pipeline: Compose, prompt: Prompt, record: Record, index: int) -> GroundingSample:
    return pipeline({"record": record, "rng": np.random.default_rng(0), "image": prompt.pixels(), "index": index})
