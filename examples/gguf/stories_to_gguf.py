#!/usr/bin/env python3
# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

"""A checkpoint and a tokenizer of llama2.c as one GGUF file, which llama.cpp reads.

    python3 stories_to_gguf.py stories260K.bin tok512.bin stories260K.gguf

Weights stay fp32. Both formats rotate pairs of neighbours (RoPE), so no row changes its place. A
story of the tinyllamas ends with the begin token: the file names it as an end of turn.
"""

import argparse
import struct
from pathlib import Path

import gguf
import numpy as np

UNKNOWN, BEGIN, END, FIRST_BYTE = 0, 1, 2, 3
NORM_EPSILON, ROPE_BASE = 1e-5, 10000.0


def read_checkpoint(path):
    """The seven sizes of the header, and the tensors by name."""
    data = Path(path).read_bytes()
    names = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
    shape = dict(zip(names, struct.unpack_from("<7i", data)))
    tied = shape["vocab_size"] > 0
    shape["vocab_size"] = abs(shape["vocab_size"])
    d, h, n, v = shape["dim"], shape["hidden_dim"], shape["n_layers"], shape["vocab_size"]
    head = d // shape["n_heads"]
    kv = head * shape["n_kv_heads"]
    numbers = np.frombuffer(data, dtype="<f4", offset=28)
    at = 0

    def take(*dims):
        nonlocal at
        size = int(np.prod(dims))
        if at + size > numbers.size:
            raise SystemExit(f"{path} is cut off")
        at += size
        return numbers[at - size:at].reshape(dims)

    tensors = {"tok_emb": take(v, d)}
    for name, dims in (("rms_att", (d,)), ("wq", (d, d)), ("wk", (kv, d)), ("wv", (kv, d)), ("wo", (d, d)),
                       ("rms_ffn", (d,)), ("w1", (h, d)), ("w2", (d, h)), ("w3", (h, d))):
        tensors[name] = take(n, *dims)
    tensors["rms_final"] = take(d)
    take(2, shape["seq_len"], head // 2)  # tables of RoPE
    tensors["output"] = tensors["tok_emb"] if tied else take(v, d)
    return shape, tensors


def read_tokenizer(path):
    """The pieces (bytes) and their scores."""
    data = Path(path).read_bytes()
    pieces, scores, at = [], [], 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        at += 8
        pieces.append(data[at:at + length])
        scores.append(score)
        at += length
    return pieces, scores


def add_vocabulary(writer, pieces, scores, extra=()):
    """A SentencePiece vocabulary; `extra` has (text, type) for tokens behind the file's own."""
    kinds = gguf.TokenType
    tokens, types = [], []
    for i, piece in enumerate(pieces):
        if i == UNKNOWN:
            tokens.append(b"<unk>"), types.append(kinds.UNKNOWN)
        elif i in (BEGIN, END):
            tokens.append(b"<s>" if i == BEGIN else b"</s>"), types.append(kinds.CONTROL)
        elif i < FIRST_BYTE + 256:
            tokens.append(piece), types.append(kinds.BYTE)
        else:
            tokens.append(piece.replace(b" ", "\u2581".encode())), types.append(kinds.NORMAL)
    for text, kind in extra:
        tokens.append(text.encode()), types.append(kind)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(list(scores) + [0.0] * len(extra))
    writer.add_token_types([int(t) for t in types])
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(BEGIN)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)


def add_llama(writer, shape, tensors, vocab_size):
    head = shape["dim"] // shape["n_heads"]
    writer.add_context_length(shape["seq_len"])
    writer.add_embedding_length(shape["dim"])
    writer.add_block_count(shape["n_layers"])
    writer.add_feed_forward_length(shape["hidden_dim"])
    writer.add_head_count(shape["n_heads"])
    writer.add_head_count_kv(shape["n_kv_heads"])
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(vocab_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    def add(name, matrix):
        writer.add_tensor(name, np.ascontiguousarray(matrix, dtype=np.float32))

    padding = np.zeros((vocab_size - shape["vocab_size"], shape["dim"]), dtype=np.float32)
    add("token_embd.weight", np.concatenate([tensors["tok_emb"], padding]))
    add("output_norm.weight", tensors["rms_final"])
    add("output.weight", np.concatenate([tensors["output"], padding]))
    for i in range(shape["n_layers"]):
        for ours, theirs in (("rms_att", "attn_norm"), ("wq", "attn_q"), ("wk", "attn_k"), ("wv", "attn_v"),
                             ("wo", "attn_output"), ("rms_ffn", "ffn_norm"), ("w1", "ffn_gate"),
                             ("w2", "ffn_down"), ("w3", "ffn_up")):
            add(f"blk.{i}.{theirs}.weight", tensors[ours][i])


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(checkpoint, tokenizer, out, extra=(), chat_template=None, name=None):
    shape, tensors = read_checkpoint(checkpoint)
    pieces, scores = read_tokenizer(tokenizer)
    if len(pieces) != shape["vocab_size"]:
        raise SystemExit(f"{tokenizer} has {len(pieces)} pieces, but the model {shape['vocab_size']}")
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(name or Path(checkpoint).stem)
    add_vocabulary(writer, pieces, scores, extra)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    add_llama(writer, shape, tensors, shape["vocab_size"] + len(extra))
    write(writer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "tokenizer", "out"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    convert(arguments.checkpoint, arguments.tokenizer, arguments.out)


if __name__ == "__main__":
    main()
