import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import IMAGE, OUTPUTS, D, H, random_images, tiny_pixel_encoder

from lira_plugin.models import MaskDecoder, point_losses
from lira_plugin.models.pixel_encoder.mask2former import Mask2FormerDecoder


@pytest.fixture
def encoder():
    return tiny_pixel_encoder().eval()


def memory_of(encoder, images):
    with torch.no_grad():
        return encoder.encode(images).decoder_memory


def build(**settings):
    return MaskDecoder(H, D, **{"num_points": 40, **settings})


@pytest.mark.parametrize("owner", [[0, 0, 0, 2, 2], [2, 0, 2, 1, 0], [1]])
def test_many_states_over_several_images_equal_one_at_a_time(encoder, owner):
    decoder, images = build(), random_images(3)
    states, state_image = torch.randn(len(owner), H), torch.tensor(owner)
    with torch.no_grad():
        together = decoder(states, state_image, memory_of(encoder, images), encoder.segmenter)
        assert len(together) == OUTPUTS
        assert all(logits.shape == (len(owner), IMAGE // 4, IMAGE // 4) for logits in together)
        for number, image in enumerate(owner):
            first, _, second = decoder.state_proj
            query = second(F.gelu(first(states[number])))
            decoder_memory = memory_of(encoder, images[image : image + 1])
            alone = encoder.segmenter.decoder(decoder_memory, query[None, None, :D], query[None, None, D:])
            for ours, theirs in zip(together, alone.mask_logits):
                torch.testing.assert_close(ours[number], theirs[0, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("owner", "images"), [([3, 1, 3], 2), ([2] * 7, 1), ([0], 1), ([3, 2, 1, 0, 0], 4), ([], 4)])
def test_only_the_images_that_are_asked_for_are_decoded(encoder, monkeypatch, owner, images):
    """The same as with states for all images, of which those left out are thrown away."""
    decoder, decoder_memory = build(), memory_of(encoder, random_images(4))
    states, state_image = torch.randn(len(owner) + 4, H), torch.tensor([*owner, 0, 1, 2, 3])
    decoded, forward = [], Mask2FormerDecoder.forward
    monkeypatch.setattr(
        Mask2FormerDecoder,
        "forward",
        lambda self, part, *args, **kw: decoded.append(part) or forward(self, part, *args, **kw),
    )
    with torch.no_grad():
        whole = decoder(states, state_image, decoder_memory, encoder.segmenter)
        part = decoder(states[: len(owner)], state_image[: len(owner)], decoder_memory, encoder.segmenter)
    assert [len(one.mask_features) for one in decoded] == [4, images]
    assert decoded[0].mask_features is decoder_memory.mask_features, "nothing is copied where all are asked for"
    for ours, theirs in zip(part, whole, strict=True):
        torch.testing.assert_close(ours, theirs[: len(owner)], atol=1e-4, rtol=1e-4)


SIDE, POINTS, MASKS = 8, 24, 3


def losses_by_hand(logits, targets, rows, columns):
    """Facts 3 with effective weights 2.0 and 0.5: logits J x (K, h, w), points (K, J, P) at the centres of cells."""
    num_masks = len(targets)
    mask_sum, dice_sum = 0.0, 0.0
    for output, maps in enumerate(logits):
        cross_entropy, dice = 0.0, 0.0
        for mask in range(num_masks):
            where = rows[mask, output], columns[mask, output]
            predicted, wanted = maps[mask][where].double(), targets[mask][where].double()
            p = predicted.sigmoid()
            cross_entropy += -(wanted * p.log() + (1 - wanted) * (1 - p).log()).sum()
            dice += 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
        mask_sum += 2.0 * cross_entropy / (num_masks * POINTS)
        dice_sum += 0.5 * dice / num_masks
    return {"loss_mask": mask_sum, "loss_dice": dice_sum}


@pytest.fixture
def chosen_points(monkeypatch):
    """Let the sampler choose the centres of given cells."""
    rows = torch.randint(0, SIDE, (MASKS, OUTPUTS, POINTS))
    columns = torch.randint(0, SIDE, (MASKS, OUTPUTS, POINTS))
    points = (torch.stack([columns, rows], -1) + 0.5) / SIDE  # x before y

    def sample(logits, labels, number, oversample, importance):
        assert logits.shape == (MASKS * OUTPUTS, 1, SIDE, SIDE) and number == POINTS
        return points.flatten(0, 1)

    monkeypatch.setattr(point_losses, "get_uncertain_point_coords_with_randomness", sample)
    return rows, columns


@pytest.mark.parametrize("enlarged", [1, 2, 4])
def test_losses_equal_the_formula(chosen_points, enlarged):
    logits = [2 * torch.randn(MASKS, SIDE, SIDE) for _ in range(OUTPUTS)]
    targets = torch.rand(MASKS, SIDE, SIDE) > 0.6
    expected = losses_by_hand(logits, targets, *chosen_points)
    large = targets.repeat_interleave(enlarged, 1).repeat_interleave(enlarged, 2)
    losses = build(num_points=POINTS).loss(logits, large)
    assert set(losses) == {"loss_mask", "loss_dice"}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].double(), value, atol=1e-5, rtol=1e-5)


def test_empty_targets_have_the_finite_loss_of_the_formula(chosen_points):
    logits = [torch.randn(MASKS, SIDE, SIDE).requires_grad_() for _ in range(OUTPUTS)]
    targets = torch.zeros(MASKS, SIDE, SIDE, dtype=torch.bool)
    losses = build(num_points=POINTS).loss(logits, targets)
    expected = losses_by_hand([maps.detach() for maps in logits], targets, *chosen_points)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].detach().double(), value, atol=1e-5, rtol=1e-5)
    sum(losses.values()).backward()
    assert all(torch.isfinite(maps.grad).all() and maps.grad.abs().sum() > 0 for maps in logits)


def test_the_sampler_is_asked_as_the_reference_asks_it(monkeypatch):
    asked = []

    def sample(logits, labels, *settings):
        asked.append(settings)
        return torch.rand(len(logits), settings[0], 2)

    monkeypatch.setattr(point_losses, "get_uncertain_point_coords_with_randomness", sample)
    MaskDecoder(H, D).loss([torch.randn(1, 8, 8)], torch.ones(1, 16, 16, dtype=torch.bool))
    assert asked == [(12544, 3.0, 0.75)]


def test_a_right_mask_costs_next_to_nothing_and_a_wrong_one_much():
    target = torch.zeros(2, 16, 16, dtype=torch.bool)
    target[:, 4:12, 4:12] = True
    right = [torch.where(target, 30.0, -30.0)]
    good, bad = build().loss(right, target), build().loss([-right[0]], target)
    assert bad["loss_mask"] > 10 > 2 > good["loss_mask"]
    assert bad["loss_dice"] > good["loss_dice"]


def test_without_states_the_losses_are_zero_and_still_reach_every_trained_weight(encoder):
    decoder = build()
    hidden = torch.randn(2, 5, H, requires_grad=True)
    states = hidden[torch.zeros(2, 5, dtype=torch.bool)]
    decoder_memory = memory_of(encoder, random_images(2))
    logits = decoder(states, torch.zeros(0, dtype=torch.long), decoder_memory, encoder.segmenter)
    assert [tuple(maps.shape) for maps in logits] == [(0, IMAGE // 4, IMAGE // 4)] * OUTPUTS
    losses = decoder.loss(logits, torch.zeros(0, IMAGE, IMAGE, dtype=torch.bool))
    assert losses["loss_mask"] == 0 and losses["loss_dice"] == 0
    sum(losses.values()).backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name
    assert hidden.grad is not None and not hidden.grad.any()


def test_losses_are_in_fp32_under_autocast(chosen_points):
    logits = [torch.randn(MASKS, SIDE, SIDE).bfloat16() for _ in range(OUTPUTS)]
    targets = torch.rand(MASKS, SIDE, SIDE) > 0.5
    decoder = build(num_points=POINTS)
    expected = decoder.loss([maps.float() for maps in logits], targets)
    with torch.autocast("cpu", torch.bfloat16):
        losses = decoder.loss(logits, targets)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-6)


def test_decoding_works_under_autocast(encoder):
    decoder, images = build(), random_images(2)
    states, owner = torch.randn(3, H), torch.tensor([0, 1, 1])
    with torch.no_grad():
        expected = decoder(states, owner, memory_of(encoder, images), encoder.segmenter)
        with torch.autocast("cpu", torch.bfloat16):
            logits = decoder(states, owner, encoder.encode(images).decoder_memory, encoder.segmenter)
    assert all(torch.isfinite(maps).all() for maps in logits)
    assert (logits[0].float() - expected[0]).abs().mean() < 0.1 * expected[0].abs().mean() + 0.05


def test_states_of_an_llm_in_16_bits_are_decoded_by_a_decoder_in_fp32(encoder):
    decoder, decoder_memory = build(), memory_of(encoder, random_images(1))
    states, owner = torch.randn(2, H).bfloat16(), torch.zeros(2, dtype=torch.long)
    with torch.no_grad():
        found = decoder(states, owner, decoder_memory, encoder.segmenter)[-1]
        torch.testing.assert_close(found, decoder(states.float(), owner, decoder_memory, encoder.segmenter)[-1])


def test_the_gradient_of_the_losses_reaches_the_states(encoder):
    decoder = build()
    states = torch.randn(2, H, requires_grad=True)
    logits = decoder(states, torch.tensor([0, 0]), memory_of(encoder, random_images(1)), encoder.segmenter)
    losses = decoder.loss(logits, torch.rand(2, IMAGE, IMAGE) > 0.5)
    sum(losses.values()).backward()
    assert (states.grad.abs().sum(1) > 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in decoder.parameters())
