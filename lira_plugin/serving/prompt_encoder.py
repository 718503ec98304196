"""From questions to requests: images that are new are encoded together, and each question is embedded by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from lira_plugin.inference import LIRAInferencer
from lira_plugin.models.answering import with_block_prefix
from lira_plugin.models.encoded_image_cache import EncodedImageCache
from lira_plugin.models.generation import Request
from lira_plugin.models.visual_blocks import EncodedImages
from lira_plugin.serving.job import Job
from lira_plugin.structures import GroundingSample


class PromptEncoder:
    """Encodes questions.

    Args:
        lira: the model.
        cache_bytes: of encoded images that are kept.
    """

    def __init__(self, lira: LIRAInferencer, cache_bytes: int) -> None:
        self.lira, self.cache = lira, EncodedImageCache(lira.model, cache_bytes)

    def requests(self, jobs: Sequence[Job]) -> list[Request]:
        """A request for each question."""
        encoded = self._encode_images({job.image_key: job.sample for job in jobs})
        return [self._request(job, encoded[job.image_key]) for job in jobs]

    def _request(self, job: Job, image: EncodedImages) -> Request:
        (request,) = self.lira.requests([job.sample], partial(self.cache.with_views, image))
        request = with_block_prefix(request, job.sample, job.image_key)
        return replace(request, decoding=job.decoding, in_pieces=job.in_pieces, is_abandoned=job.is_abandoned)

    def _encode_images(self, samples: Mapping[str, GroundingSample]) -> dict[str, EncodedImages]:
        texts = [key for key, sample in samples.items() if sample.image is None]
        encoded: dict[str, EncodedImages] = {}
        for keys in ([key for key in samples if key not in texts], texts):
            if keys:
                data = self.lira.model.data_preprocessor(self.lira.collate_fn([samples[key] for key in keys]), False)
                encoded |= zip(keys, self.cache.encode(data["batch"], keys))
        return encoded
