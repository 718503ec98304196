"""Classes that are combinations of attributes, against the definition."""

from itertools import product

import pytest
import torch

from lira_plugin.models.from_scratch.attribute_classes import AttributeClassifier


@torch.no_grad()
def test_a_class_is_the_sum_of_its_values():
    classifier = AttributeClassifier(5, [2, 3, 2])
    queries = torch.randn(2, 4, 5)
    logits = classifier(queries)
    assert logits.shape == (2, 4, 13) and classifier.num_classes == 12
    values = classifier.projection(queries)
    for index, (first, second, third) in enumerate(product(range(2), range(3), range(2))):
        torch.testing.assert_close(
            logits[..., index], values[..., first] + values[..., 2 + second] + values[..., 5 + third]
        )
    torch.testing.assert_close(logits[..., 12], classifier.no_object(queries)[..., 0])


@torch.no_grad()
def test_probabilities_are_products():
    classifier = AttributeClassifier(5, [2, 3])
    queries = torch.randn(4, 5)
    firsts, seconds = (part.softmax(-1) for part in classifier.projection(queries).split([2, 3], -1))
    expected = (firsts[:, :, None] * seconds[:, None, :]).flatten(1)
    torch.testing.assert_close(classifier(queries)[:, :6].softmax(-1), expected)


@pytest.mark.parametrize("attributes", [[], [3, 0]])
def test_an_attribute_needs_values(attributes):
    with pytest.raises(ValueError, match="every attribute needs a number of values"):
        AttributeClassifier(5, attributes)
