"""The open-vocabulary classifier against a statement of it in loops, and its files."""

import math

import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import CLASSES, D, random_images, segmenter_config, tiny_pixel_encoder

from lira_plugin.models import Mask2FormerSegmenter
from lira_plugin.models.pixel_encoder.open_vocabulary import OpenVocabularyClassifier, mask_pool, read_class_embeddings

C, P, E = 5, 3, 7


def embeddings(classes=C, channels=E):
    return F.normalize(torch.randn(classes, P, channels), dim=-1)


def stated_in_loops(classifier, queries, mask_features, mask_logits):
    """Facts 2.3, one number at a time."""
    logits = torch.zeros(*queries.shape[:2], len(classifier.class_embeddings) + 1)
    for image in range(len(queries)):
        for query in range(queries.shape[1]):
            inside = [
                mask_features[image, :, y, x]
                for y in range(mask_features.shape[2])
                for x in range(mask_features.shape[3])
                if mask_logits[image, query, y, x] > 0
            ]
            pooled = torch.stack(inside).mean(0) if inside else torch.zeros(mask_features.shape[1])
            norm, linear = classifier.mask_pooling_proj
            centred = pooled - pooled.mean()
            pooled = linear(centred / (centred.pow(2).mean() + norm.eps).sqrt() * norm.weight + norm.bias)
            vector = pooled + queries[image, query]
            for layer in (0, 2):
                vector = classifier.cls_proj[layer](vector).clamp(min=0)
            vector = classifier.cls_proj[4](vector)
            vector = vector / vector.norm()
            for number, prototypes in enumerate(classifier.class_embeddings):
                logits[image, query, number] = math.exp(4.6052) * max(float(p @ vector) for p in prototypes)
    return logits


@torch.no_grad()
def test_it_is_what_the_loops_say():
    torch.manual_seed(0)
    classifier = OpenVocabularyClassifier(D, embeddings())
    queries, features, masks = torch.randn(2, 4, D), torch.randn(2, D, 6, 5), torch.randn(2, 4, 6, 5)
    masks[1, 2] = -1  # an empty mask
    expected = stated_in_loops(classifier, queries, features, masks)
    torch.testing.assert_close(classifier(queries, features, masks), expected, atol=1e-3, rtol=1e-4)
    assert (expected[..., -1] == 0).all() and expected.shape[-1] == C + 1, "no object has the logit 0, and is last"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mask_of_the_whole_image_pools_to_its_mean_in_16_bits(dtype):
    """256 x 256 cells: their number and their sum are beyond fp16."""
    features = (4 + torch.randn(1, D, 256, 256)).to(dtype)
    pooled = mask_pool(features, torch.ones(1, 1, 256, 256, dtype=dtype))
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled[0, 0].float(), features.float().mean((0, 2, 3)), atol=0.05, rtol=0)


def test_logits_are_those_of_fp32_where_operators_run_in_16_bits():
    """Up to the projections; the cosine itself would have steps of an eighth after its scale of 100."""
    torch.manual_seed(0)
    classifier = OpenVocabularyClassifier(D, embeddings())
    inputs = torch.randn(2, 4, D), torch.randn(2, D, 6, 5), torch.randn(2, 4, 6, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = classifier(*inputs)
        embedded = classifier.cls_proj(classifier.mask_pooling_proj(mask_pool(*inputs[1:])) + inputs[0]).float()
    similarity = torch.einsum("nqe,cpe->nqcp", F.normalize(embedded, dim=-1), classifier.class_embeddings).amax(-1)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[..., :-1], math.exp(4.6052) * similarity, atol=1e-3, rtol=0)


def test_an_empty_mask_pools_to_zero():
    pooled = mask_pool(torch.randn(1, D, 4, 4), torch.full((1, 1, 4, 4), -1.0))
    assert torch.equal(pooled, torch.zeros(1, 1, D))


def test_its_parameters_have_the_published_names_and_the_embeddings_are_not_saved():
    names = set(OpenVocabularyClassifier(D, embeddings()).state_dict())
    layers = ("mask_pooling_proj.0", "mask_pooling_proj.1", "cls_proj.0", "cls_proj.2", "cls_proj.4")
    assert names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_a_segmenter_classifies_with_it():
    torch.manual_seed(0)
    classes = embeddings(CLASSES)
    encoder = tiny_pixel_encoder()
    config = segmenter_config()
    del config["type"]
    segmenter = Mask2FormerSegmenter(
        **config, classifier={"type": OpenVocabularyClassifier, "class_embeddings": classes}
    )
    encoder.segmenter = segmenter
    encoder.eval()
    with torch.no_grad():
        features = encoder.encode(random_images(2))
        segmented = segmenter.segment(features.decoder_memory)
        normed = segmenter.transformer_decoder.post_norm(segmented.query_features)
        again = segmenter.cls_embed(normed, features.decoder_memory.mask_features, segmented.mask_logits[-1])
    assert torch.equal(segmented.class_logits[-1], again), "by the masks of the same output"
    assert len(segmented.class_logits) == len(segmented.mask_logits)


def test_a_segmenter_wants_an_embedding_a_class():
    config = segmenter_config()
    del config["type"]
    classifier = {"type": OpenVocabularyClassifier, "class_embeddings": embeddings()}
    with pytest.raises(ValueError, match=f"OpenVocabularyClassifier, has {C} classes, but .* make {CLASSES}:"):
        Mask2FormerSegmenter(**config, classifier=classifier)


@torch.no_grad()
def test_video_positions_add_one_constant_vector():
    """A third axis of length one, normalised to 2 pi: sine and cosine of it with 2 D frequencies (DETR's encoding)."""
    config = segmenter_config()
    del config["type"]
    image, video = Mask2FormerSegmenter(**config), Mask2FormerSegmenter(**config, video_positions=True)
    memory = torch.zeros(2, D, 3, 5)
    angle = 1 / (1 + 1e-6) * 2 * math.pi
    constant = [
        (math.cos if channel % 2 else math.sin)(angle / 10000 ** (2 * (channel // 2) / D)) for channel in range(D)
    ]
    difference = video.encode_positions(memory) - image.encode_positions(memory)
    torch.testing.assert_close(difference, torch.tensor(constant).expand_as(difference), atol=1e-5, rtol=1e-5)


def test_reading(tmp_path):
    path = tmp_path / "classes.pth"
    with pytest.raises(FileNotFoundError, match=r"classes\.pth; look under the tree"):
        read_class_embeddings(path, C, E, obtain="look under the tree")
    given = embeddings()
    torch.save(given, path)
    assert torch.equal(read_class_embeddings(path, C, E), given)
    with pytest.raises(ValueError, match=r"expected 6 classes with any number of prototypes of 7 channels"):
        read_class_embeddings(path, 6, E)
    torch.save(given.half(), path)
    read_class_embeddings(path, C, E)
    torch.save({"a": given}, path)
    with pytest.raises(ValueError, match="holds a dict"):
        read_class_embeddings(path, C, E)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is the download complete"):
        read_class_embeddings(path, C, E)


@pytest.mark.parametrize(
    ("bad", "message"),
    [(torch.ones(C, P, E), "unit length"), (torch.ones(C, E), "classes, prototypes, channels")],
)
def test_embeddings_that_are_none(bad, message):
    with pytest.raises(ValueError, match=message):
        OpenVocabularyClassifier(D, bad)
