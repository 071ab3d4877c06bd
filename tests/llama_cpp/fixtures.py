#!/usr/bin/env python3
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

"""The GGUF files that the tests read.

    python3 fixtures.py <folder with stories260K.bin and tok512.bin> <folder to write to>

stories.gguf      stories260K as it is
chat_*.gguf       the same with a chat template, special tokens and a padded vocabulary
window.gguf       a Cohere2 with random weights: three layers of four see a window of 16 tokens
recurrent.gguf    a Mamba with random weights
encoder.gguf      a BERT with random weights
no_vocabulary.gguf  stories260K without its tokenizer
cut.gguf          the first half of stories.gguf
"""

import sys
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "gguf"))
import stories_to_gguf as stories  # noqa: E402

KINDS = gguf.TokenType
# Special tokens of several families of templates, one that begins as another does, a word that the
# maker of a model defined, and padding.
EXTRA = [("<start_of_turn>", KINDS.CONTROL), ("<end_of_turn>", KINDS.CONTROL), ("<|im_start|>", KINDS.CONTROL),
         ("<|im_end|>", KINDS.CONTROL), ("duck", KINDS.USER_DEFINED), ("<|im_start|>assistant", KINDS.CONTROL),
         ("[INST]", KINDS.CONTROL), ("<|user|>", KINDS.CONTROL), ("<|end|>", KINDS.CONTROL),
         ("<|assistant|>", KINDS.CONTROL), ("<|endoftext|>", KINDS.CONTROL)]
EXTRA += [(f"[PAD{i}]", KINDS.UNUSED) for i in range(6)]
# llama.cpp knows a template by words in it.
TEMPLATES = {
    "chatml": "<|im_start|> {{ role }} <|im_end|>",
    "gemma": "<start_of_turn> {{ trims, and puts the system turn into the user's }}",
    "phi-3": "<|assistant|> <|end|> {{ its special tokens take the blanks behind them away, by the model's name }}",
    "vicuna": "USER: ASSISTANT: {{ leaves out roles it does not know }}",
    "unknown": "{{ a template that nobody recognises }}",
}


def random_tensors(writer, shapes, seed):
    random = np.random.default_rng(seed)
    for name, shape in shapes.items():
        size = 1.0 / np.sqrt(shape[-1])
        if name.endswith("norm.weight"):
            tensor = np.ones(shape)
        elif name.endswith("ssm_a"):
            tensor = -np.exp(random.normal(size=shape))
        else:
            tensor = size * random.normal(size=shape)
        writer.add_tensor(name, tensor.astype(np.float32))


def recurrent(out, pieces, scores):
    d, inner, state, rank, conv, layers = 32, 64, 8, 4, 4, 2
    writer = gguf.GGUFWriter(out, "mamba")
    stories.add_vocabulary(writer, pieces, scores)
    writer.add_context_length(512)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes = {"token_embd.weight": (len(pieces), d), "output_norm.weight": (d,)}
    for i in range(layers):
        shapes |= {f"blk.{i}.attn_norm.weight": (d,), f"blk.{i}.ssm_in.weight": (2 * inner, d),
                   f"blk.{i}.ssm_conv1d.weight": (inner, conv), f"blk.{i}.ssm_conv1d.bias": (inner,),
                   f"blk.{i}.ssm_x.weight": (rank + 2 * state, inner), f"blk.{i}.ssm_dt.weight": (inner, rank),
                   f"blk.{i}.ssm_dt.bias": (inner,), f"blk.{i}.ssm_a": (inner, state), f"blk.{i}.ssm_d": (inner,),
                   f"blk.{i}.ssm_out.weight": (d, inner)}
    random_tensors(writer, shapes, 1)
    stories.write(writer)


def window(out, pieces, scores):
    d, hidden, layers = 32, 64, 4
    writer = gguf.GGUFWriter(out, "cohere2")
    stories.add_vocabulary(writer, pieces, scores)
    writer.add_context_length(1024)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_block_count(layers)
    writer.add_layer_norm_eps(1e-5)
    writer.add_sliding_window(16)
    writer.add_logit_scale(1.0)
    writer.add_rope_dimension_count(d // 4)
    writer.add_rope_freq_base(10000.0)
    shapes = {"token_embd.weight": (len(pieces), d), "output_norm.weight": (d,)}
    for i in range(layers):
        shapes |= {f"blk.{i}.attn_norm.weight": (d,), f"blk.{i}.attn_q.weight": (d, d),
                   f"blk.{i}.attn_k.weight": (d // 2, d), f"blk.{i}.attn_v.weight": (d // 2, d),
                   f"blk.{i}.attn_output.weight": (d, d), f"blk.{i}.ffn_gate.weight": (hidden, d),
                   f"blk.{i}.ffn_up.weight": (hidden, d), f"blk.{i}.ffn_down.weight": (d, hidden)}
    random_tensors(writer, shapes, 3)
    stories.write(writer)


def encoder(out, pieces, scores):
    d, hidden, context = 32, 64, 64
    writer = gguf.GGUFWriter(out, "bert")
    stories.add_vocabulary(writer, pieces, scores)
    writer.add_context_length(context)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(4)
    writer.add_block_count(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(1)
    shapes = {"token_embd.weight": (len(pieces), d), "token_types.weight": (1, d), "position_embd.weight": (context, d)}
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes |= {f"blk.0.{name}.weight": (d, d), f"blk.0.{name}.bias": (d,)}
    shapes |= {"blk.0.ffn_up.weight": (hidden, d), "blk.0.ffn_down.weight": (d, hidden)}
    random_tensors(writer, shapes, 2)
    stories.write(writer)


def no_vocabulary(out, shape, tensors):
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_tokenizer_model("none")
    stories.add_llama(writer, shape, tensors, shape["vocab_size"])
    stories.write(writer)


def main():
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, tokenizer = model / "stories260K.bin", model / "tok512.bin"
    shape, tensors = stories.read_checkpoint(checkpoint)
    pieces, scores = stories.read_tokenizer(tokenizer)
    stories.convert(checkpoint, tokenizer, out / "stories.gguf")
    for name, template in TEMPLATES.items():
        stories.convert(checkpoint, tokenizer, out / f"chat_{name}.gguf", EXTRA, template, name)
    recurrent(out / "recurrent.gguf", pieces, scores)
    window(out / "window.gguf", pieces, scores)
    encoder(out / "encoder.gguf", pieces, scores)
    no_vocabulary(out / "no_vocabulary.gguf", shape, tensors)
    whole = (out / "stories.gguf").read_bytes()
    (out / "cut.gguf").write_bytes(whole[:len(whole) // 2])


if __name__ == "__main__":
    main()
