import copy

import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import H, make_batch, refer_record, text_record, tiny_llama, tiny_llm, tiny_tokenizer

from lira_plugin.models import InterleavedLLM
from lira_plugin.models.interleaved_llm import grow_vocabulary, scatter_features
from lira_plugin.models.visual_blocks import object_attention
from lira_plugin.structures import IGNORE_INDEX, TokenKind
from lira_plugin.tokens import SpecialTokens, seg_positions


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casting_to_16_bits_leaves_positions_exact(dtype):
    """As DeepSpeed casts; 0.8058 would become 0.8047, which is 2.6 radians after 2,350 rows."""
    llm = InterleavedLLM(tiny_llama())
    rotary = llm.causal_lm.model.rotary_emb
    frequencies = rotary.inv_freq.clone()
    torch.nn.ModuleDict({"llm": llm}).to(dtype)
    assert rotary.inv_freq.dtype == torch.float32 and torch.equal(rotary.inv_freq, frequencies)
    assert not torch.equal(frequencies.to(dtype).float(), frequencies), "else there is nothing to lose"
    assert {p.dtype for p in llm.parameters()} == {dtype}
    assert llm.to("meta").causal_lm.model.rotary_emb.inv_freq.is_meta


def test_features_go_to_the_rows_of_their_kind_in_order():
    kinds = torch.tensor(
        [[0, TokenKind.PIXEL, TokenKind.OBJECT, TokenKind.PIXEL], [TokenKind.PIXEL, 0, 0, TokenKind.OBJECT]]
    )
    embeddings = torch.randn(2, 4, H)
    features = {
        TokenKind.PIXEL: torch.randn(3, H),
        TokenKind.OBJECT: torch.randn(2, H),
        TokenKind.VIEW: torch.zeros(0, H),
    }
    result = scatter_features(embeddings, kinds, features, ["a", "b"])
    pixels, objects = features[TokenKind.PIXEL], features[TokenKind.OBJECT]
    expected = [
        [embeddings[0, 0], pixels[0], objects[0], pixels[1]],
        [pixels[2], embeddings[1, 1], embeddings[1, 2], objects[1]],
    ]
    assert torch.equal(result, torch.stack([torch.stack(rows) for rows in expected]))


@pytest.mark.parametrize("given", [1, 3])
def test_a_wrong_number_of_features_is_an_error_that_names_the_sample(given):
    kinds = torch.tensor([[0, 0, 0], [0, TokenKind.VIEW, TokenKind.VIEW]])
    names = ["vqa record 1", "gcg record 7"]
    with pytest.raises(ValueError, match=rf"2 positions for VIEW features but {given}.*gcg record 7: 2") as error:
        scatter_features(torch.zeros(2, 3, H), kinds, {TokenKind.VIEW: torch.zeros(given, H)}, names)
    assert "vqa record 1" not in str(error.value)


def test_rows_of_unused_objects_are_not_attended():
    batch = make_batch([text_record("a"), text_record("b", "Is it not?")])["batch"]
    kinds = batch.kinds.clone()
    kinds[:, 2:5] = TokenKind.OBJECT
    valid = torch.tensor([[True, False, True], [False, False, True]])
    mask = object_attention(batch._replace(kinds=kinds), valid)
    assert torch.equal(mask[:, 2:5], valid)
    assert torch.equal(mask[:, 5:], batch.attention_mask[:, 5:]) and mask[:, :2].all()
    assert not mask.all() and batch.attention_mask[:, 2:5].all(), "the batch itself is not changed"


def test_loss_is_the_cross_entropy_over_all_rows_shifted_by_one():
    llm = tiny_llm().eval()
    embeddings, labels = torch.randn(2, 9, H), torch.randint(0, 260, (2, 9))
    labels[0, :4] = labels[1, 3:6] = labels[1, 8] = IGNORE_INDEX
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 8] = False
    output = llm(embeddings, mask, labels)
    logits = llm.logits(output.hidden)
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(output.loss, expected)


def test_hidden_states_and_loss_are_those_of_hugging_face():
    llama = tiny_llama().eval()
    llm = InterleavedLLM(llama)
    ids = torch.randint(0, 260, (2, 7))
    theirs = llama(input_ids=ids, labels=ids, output_hidden_states=True)
    ours = llm(llm.embed(ids), torch.ones(2, 7, dtype=torch.bool), ids)
    torch.testing.assert_close(ours.hidden, theirs.hidden_states[-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=1e-5)


def test_given_positions_take_the_place_of_counted_ones():
    llama = tiny_llama().eval()
    llm, ids, mask = InterleavedLLM(llama), torch.randint(0, 260, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    positions = torch.tensor([[0, 1, 2, 2, 2, 3, 4], [0, 5, 6, 7, 9, 10, 20]])
    theirs = llama(ids, mask.long(), positions, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(llm(llm.embed(ids), mask, None, positions).hidden, theirs, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(llm(llm.embed(ids), mask).hidden, theirs, atol=1e-3)


def test_labels_without_any_supervision_give_zero_and_no_nan():
    llm = tiny_llm()
    embeddings = torch.randn(2, 5, H, requires_grad=True)
    labels = torch.full((2, 5), IGNORE_INDEX)
    labels[:, 0] = 7  # nothing stands in front of the first row to predict it
    loss = llm(embeddings, torch.ones(2, 5, dtype=torch.bool), labels).loss
    assert loss == 0
    loss.backward()
    assert embeddings.grad is not None and not embeddings.grad.any()
    assert all(p.grad is None or not p.grad.any() for p in llm.parameters())


def test_labels_of_region_rows_follow_the_reference(tmp_path):
    """Facts 1.4: ``<image_id>`` predicts nothing, the last region row predicts the first token of `` <p>``."""
    batch = make_batch([refer_record(tmp_path, "a", ["cup"])])["batch"]
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    ids = SpecialTokens().resolve(tokenizer)
    forced = tokenizer(" <p>", add_special_tokens=False)["input_ids"]
    labels, kinds = batch.labels[0], batch.kinds[0]
    (regions,) = (kinds == TokenKind.VIEW).nonzero(as_tuple=True)
    first, last = int(regions[0]), int(regions[-1])
    assert len(regions) == last - first + 1 == 4
    assert (labels[regions] == IGNORE_INDEX).all()
    assert labels[first - 2] == ids.seg and labels[first - 1] == ids.image_id
    assert labels[last + 1 : last + 1 + len(forced)].tolist() == forced
    assert seg_positions(labels, ids.seg).nonzero().flatten()[0] == first - 2

    llm = tiny_llm(vocabulary_size=len(tokenizer)).eval()
    seen = []
    llm.causal_lm.get_output_embeddings().register_forward_hook(lambda module, args, out: seen.append(args[0]))
    embeddings = torch.randn(1, len(labels), H)
    hidden = llm(embeddings, batch.attention_mask, batch.labels).hidden[0]
    rows = [row for row in range(len(labels) - 1) if labels[row + 1] != IGNORE_INDEX]
    assert last in rows and first - 2 in rows
    assert not {first - 1, *range(first, last)} & set(rows), "<image_id> and the other region rows have no target"
    torch.testing.assert_close(seen[0], hidden[rows])


def test_a_seg_in_a_question_asks_for_no_mask():
    labels = torch.tensor([[IGNORE_INDEX, IGNORE_INDEX, 5, 9, 5]])
    assert seg_positions(labels, 5).tolist() == [[False, False, True, False, True]]


@pytest.mark.parametrize("cleared", [[3], [2, 3, 4, 7], [9]])
def test_a_cleared_row_is_as_good_as_absent(cleared):
    llm = tiny_llm().eval()
    embeddings, mask = torch.randn(1, 10, H), torch.ones(1, 10, dtype=torch.bool)
    mask[0, cleared] = False
    labels = torch.randint(0, 260, (1, 10))
    labels[0, [row for row in range(10) if row in cleared or row - 1 in cleared]] = IGNORE_INDEX
    output = llm(embeddings, mask, labels)
    kept = mask[0]
    shorter = llm(embeddings[:, kept], torch.ones(1, int(kept.sum()), dtype=torch.bool), labels[:, kept])
    torch.testing.assert_close(output.hidden[:, kept], shorter.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.loss, shorter.loss, atol=1e-5, rtol=1e-5)


def test_a_sample_is_read_alike_in_any_company():
    llm = tiny_llm().eval()
    embeddings, mask = torch.randn(2, 8, H), torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False
    both = llm(embeddings, mask).hidden
    alone = llm(embeddings[:1, :5], mask[:1, :5]).hidden
    torch.testing.assert_close(both[:1, :5], alone, atol=1e-5, rtol=1e-5)


def test_new_rows_of_the_head_are_the_mean_and_old_rows_are_kept():
    llama = tiny_llama(50)
    embedding, head = (layer.weight.detach().clone() for layer in (llama.model.embed_tokens, llama.lm_head))
    grow_vocabulary(llama, 54)
    new_embedding, new_head = llama.get_input_embeddings().weight, llama.get_output_embeddings().weight
    assert new_embedding.shape == new_head.shape == (54, H)
    assert llama.config.vocab_size == 54
    assert torch.equal(new_embedding[:50], embedding) and torch.equal(new_head[:50], head)
    torch.testing.assert_close(new_head[50:], head.mean(0).expand(4, -1))
    added = new_embedding[50:].detach()
    assert torch.isfinite(added).all() and len(added.unique(dim=0)) == 4, "each new token has an embedding of its own"


@pytest.mark.parametrize("size", [None, 40, 50])
def test_a_large_enough_vocabulary_is_left_alone(size):
    llama = tiny_llama(50)
    before = copy.deepcopy(llama.state_dict())
    InterleavedLLM(llama, vocabulary_size=size)
    assert all(torch.equal(value, before[name]) for name, value in llama.state_dict().items())


LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}


@pytest.mark.parametrize("rows", [45, 50])
def test_new_tokens_are_trained_whether_or_not_there_are_spare_rows_for_them(rows):
    """A published LLM may have more rows than its tokenizer has tokens."""
    llama = tiny_llama(rows)
    head = llama.lm_head.weight.detach().clone()
    llm = InterleavedLLM(llama, vocabulary_size=48, first_new_token=45)
    new = llama.get_output_embeddings().weight
    torch.testing.assert_close(new[45:48], head[:45].mean(0).expand(3, -1))
    assert torch.equal(new[48:], head[48:])
    with pytest.raises(ValueError, match="3 special tokens are new to the LLM"):
        llm.add_lora(LORA)
    llm.add_lora({**LORA, "train_embeddings": True})


@pytest.mark.parametrize("train_embeddings", [False, True])
def test_lora_trains_the_adapters_and_on_request_the_embeddings(train_embeddings):
    llm = tiny_llm(lora={**LORA, "train_embeddings": train_embeddings})
    trained = {name for name, parameter in llm.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    assert len(adapters) == 2 * 2 * 2, "A and B of two projections in two layers"
    others = {name.split("base_model.model.")[-1] for name in trained - adapters}
    assert others == ({"model.embed_tokens.weight", "lm_head.weight"} if train_embeddings else set())


def test_lora_starts_as_the_model_itself_and_learns():
    torch.manual_seed(3)
    plain = tiny_llm().eval()
    torch.manual_seed(3)
    adapted = tiny_llm(lora=LORA).eval()
    embeddings, mask = torch.randn(1, 6, H), torch.ones(1, 6, dtype=torch.bool)
    labels = torch.randint(0, 260, (1, 6))
    expected, output = plain(embeddings, mask, labels), adapted(embeddings, mask, labels)
    torch.testing.assert_close(output.hidden, expected.hidden)
    assert adapted.hidden_size == H
    output.loss.backward()
    grads = {name: p.grad for name, p in adapted.named_parameters() if p.grad is not None}
    assert grads and all("lora_" in name for name in grads)


@pytest.mark.parametrize("lora", [None, LORA])
def test_gradient_checkpointing_gives_the_same_gradients(lora):
    gradients, recomputed = [], []
    embeddings = torch.randn(2, 6, H)
    labels = torch.randint(0, 260, (2, 6))
    for checkpointing in (False, True):
        torch.manual_seed(3)
        llm = tiny_llm(lora=lora, gradient_checkpointing=checkpointing).train()
        for name, parameter in llm.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.1)
        calls = []
        llm.causal_lm.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda *args, c=calls: c.append(1))
        inputs = embeddings.clone().requires_grad_()
        llm(inputs, torch.ones(2, 6, dtype=torch.bool), labels).loss.backward()
        gradients.append([inputs.grad, *(p.grad for p in llm.parameters() if p.requires_grad and p.grad is not None)])
        recomputed.append(len(calls))
    assert recomputed == [1, 2], "checkpointing runs the layer again in the backward pass"
    assert len(gradients[0]) == len(gradients[1]) > 3
    for plain, checkpointed in zip(*gradients):
        torch.testing.assert_close(plain, checkpointed)


def kept_for_the_backward_pass(run):
    """Numbers that autograd keeps of what ``run`` computes."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        result = run()
    return sum(kept), result


@pytest.mark.parametrize("frozen", [False, True])
def test_gradient_checkpointing_keeps_few_activations(frozen):
    embeddings, mask = torch.randn(2, 40, H, requires_grad=True), torch.ones(2, 40, dtype=torch.bool)
    kept = []
    for checkpointing in (False, True):
        llm = tiny_llm(gradient_checkpointing=checkpointing)
        if frozen:
            llm.requires_grad_(False).eval()
        number, output = kept_for_the_backward_pass(lambda llm=llm: llm(embeddings, mask))
        kept.append(number)
        del output
    assert kept[1] < kept[0] / 4, "beside the layers' inputs little is left"


def test_the_dropout_of_adapters_follows_the_seed():
    llm = tiny_llm(
        lora={"r": 4, "lora_alpha": 8, "lora_dropout": 0.5, "target_modules": ["q_proj", "down_proj"]}
    ).train()
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    embeddings, labels = torch.randn(2, 6, H), torch.randint(0, 260, (2, 6))

    def loss(seed):
        torch.manual_seed(seed)
        return llm(embeddings, torch.ones(2, 6, dtype=torch.bool), labels).loss.item()

    assert loss(1) == loss(1) != loss(2)


def small_config():
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = {
        "type": LlamaConfig,
        "vocab_size": 30,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    return {"type": AutoModelForCausalLM.from_config, "config": config}


def test_under_zero_3_the_model_is_whole_until_deepspeed_takes_it():
    """Earlier stages and adapters are put into it after it is built; transformers alone would shard it at once."""
    from transformers.integrations import deepspeed as zero

    class Config:
        def is_zero3(self):
            return True

    config = Config()
    zero.set_hf_deepspeed_config(config)
    try:
        llm = InterleavedLLM(small_config(), vocabulary_size=33)
        assert zero.is_deepspeed_zero3_enabled(), "the rest of the training knows"
    finally:
        zero.unset_hf_deepspeed_config()
    assert llm.embed(torch.tensor([[32]])).shape == (1, 1, 16)


def test_the_model_is_built_from_a_config():
    config = small_config()
    llm = InterleavedLLM(config, vocabulary_size=33)
    assert llm.hidden_size == 16
    assert llm.embed(torch.tensor([[32]])).shape == (1, 1, 16)
    assert llm.logits(torch.zeros(1, 16)).shape == (1, 33)
    assert config == small_config(), "the config is not changed"


def test_a_frozen_llm_recomputes_too():
    """Gradients pass through it to what is trained before it; transformers alone would keep all activations in eval mode."""
    llm = tiny_llm(gradient_checkpointing=True)
    llm.requires_grad_(False).eval()
    calls = []
    llm.causal_lm.get_decoder().layers[0].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    embeddings = torch.randn(2, 5, H, requires_grad=True)
    mask = torch.ones(2, 5, dtype=torch.bool)
    hidden = llm(embeddings, mask).hidden
    assert len(calls) == 1
    hidden.sum().backward()
    assert len(calls) == 2, "computed again in the backward pass"
    plain = copy.deepcopy(llm)
    plain.causal_lm.gradient_checkpointing_disable()
    assert torch.equal(plain(embeddings, mask).hidden, hidden)
    with torch.no_grad():
        llm(embeddings, mask)
    assert not llm.causal_lm.get_decoder().training, "nor does it stand in the way of a cache"


def lora_llm(**lora):
    settings = {"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    return tiny_llm(lora={**settings, **lora})


def test_layers_of_one_input_share_a_matrix_as_a_fused_projection_does():
    torch.manual_seed(0)
    llm = lora_llm(shared_inputs=["q_proj", "k_proj", "v_proj"])
    attention = llm.causal_lm.get_decoder().layers[1].self_attn
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    for layer in layers:
        torch.nn.init.normal_(layer.lora_B["default"].weight)
    fused_a = layers[0].lora_A["default"].weight
    fused_b = torch.cat([layer.lora_B["default"].weight for layer in layers])
    x = torch.randn(4, H)
    difference = torch.cat([layer(x) - layer.base_layer(x) for layer in layers], -1)
    torch.testing.assert_close(difference, 2 * x @ fused_a.T @ fused_b.T, atol=1e-5, rtol=1e-5)

    def trained(model):
        return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

    assert trained(lora_llm()) - trained(llm) == 2 * 2 * 3 * H, "two matrices A less in each of two layers"
    saved = llm.state_dict()
    assert len([name for name in saved if "lora_A" in name]) == 2 * 4, (
        "a checkpoint has each layer's, as without sharing"
    )
    lora_llm().load_state_dict(saved)


def test_what_is_shared_must_have_an_adapter():
    with pytest.raises(ValueError, match="shared_inputs names"):
        lora_llm(shared_inputs=["q_proj", "gate_proj"])
    with pytest.raises(ValueError, match="shared_inputs names"):
        lora_llm(shared_inputs=["gate_proj", "up_proj"])
