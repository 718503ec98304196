"""A random LIRA that writes regions, whatever the libraries draw for its weights."""

import torch


def write_regions(lira):
    """Let a LIRA write special tokens and some letters alone, and behind each sooner what a trained one would write."""
    space, a, c, s = lira.tokenizer(" acs", add_special_tokens=False)["input_ids"]
    end = lira.tokenizer.convert_tokens_to_ids("<|im_end|>")
    seg, view, start, stop = lira.ids
    likely = {
        seg: [view, start],
        view: [start],
        start: [a, c, s],
        stop: [seg],
        space: [start, a, c, s, end],
        a: [c, s],
        c: [a, s, stop],
        s: [space, stop],
        end: [],
    }
    write_by(lira.llm, likely, first=[seg, start])


@torch.no_grad()
def write_by(llm, likely, first):
    """Let an LLM write the words of ``likely`` alone, and behind each those that it names; ``first`` behind any other.

    The first numbers of a state say which word stands there. No layer reads or writes them, so they reach the head as they are.
    All else of a state is the random LLM's, and so is the choice among what is likely.
    """
    words, embedding = list(likely), llm.causal_lm.get_input_embeddings().weight
    marks = len(words) + 1
    mark_of = torch.eye(marks) * embedding.std()
    embedding[:, :marks] = mark_of[0]
    embedding[words, :marks] = mark_of[1:]
    for layer in llm.causal_lm.base_model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for reader in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
            reader.weight[:, :marks] = 0
        for writer in (attention.o_proj, mlp.down_proj):
            writer.weight[:marks] = 0
    head = llm.causal_lm.get_output_embeddings()
    head.weight.normal_(std=0.3)[:, :marks] = 0
    bias = torch.full((marks, len(head.weight)), -10.0)
    bias[:, words] = 0
    for mark, following in enumerate([first, *likely.values()]):
        bias[mark, following] = 10
    head.register_forward_hook(lambda module, args, output: output + bias[args[0][..., :marks].argmax(-1)])
