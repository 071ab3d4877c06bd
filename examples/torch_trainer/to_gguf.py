# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""A trained model as a GGUF file for llama.cpp.

    python to_gguf.py FOLDER ORIGINAL.gguf OUT.gguf [--type f32|f16]

FOLDER has model.safetensors and config.json, as torch_trainer writes them. The tokenizer and all other
keys come from ORIGINAL, the GGUF file of the model that was trained. Needs numpy and gguf.
"""

import argparse
import json
import os
import struct
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def read_safetensors(path):
    """Name -> fp32 array, read when it is asked for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > size - 8:
            raise SystemExit(f"{path}: no safetensors file, or cut off")
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)

    def array(name):
        entry = header[name]
        begin, end = entry["data_offsets"]
        if end > data.size:
            raise SystemExit(f"{path}: the array {name} ends behind the file: it is cut off")
        values = data[begin:end].view(DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        return values.astype("<f4").reshape(entry["shape"])

    return {name: lambda name=name: array(name) for name in header if name != "__metadata__"}


def gguf_names(config):
    """Name in the safetensors file -> name in the GGUF file, and the heads of what is permuted."""
    names = {"model.embed_tokens.weight": ("token_embd.weight", 0), "model.norm.weight": ("output_norm.weight", 0)}
    if not config["tie_word_embeddings"]:
        names["lm_head.weight"] = ("output.weight", 0)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    parts = {
        "input_layernorm": ("attn_norm", 0), "self_attn.q_proj": ("attn_q", heads),
        "self_attn.k_proj": ("attn_k", kv_heads), "self_attn.v_proj": ("attn_v", 0),
        "self_attn.o_proj": ("attn_output", 0), "post_attention_layernorm": ("ffn_norm", 0),
        "mlp.gate_proj": ("ffn_gate", 0), "mlp.up_proj": ("ffn_up", 0), "mlp.down_proj": ("ffn_down", 0),
    }
    for layer in range(config["num_hidden_layers"]):
        for theirs, (ours, permuted) in parts.items():
            names[f"model.layers.{layer}.{theirs}.weight"] = (f"blk.{layer}.{ours}.weight", permuted)
    return names


def permute(rows, heads):
    """Rows (head, half, pair) to (head, pair, half): llama.cpp rotates neighbours."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def copy_keys(writer, original, file_type):
    ours = {"general.architecture", "general.file_type", "general.quantization_version"}
    for field in original.fields.values():
        if field.name in ours or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
    writer.add_file_type(file_type)


def convert(folder, original_path, out, half):
    config = json.loads((folder / "config.json").read_text())
    arrays = read_safetensors(folder / "model.safetensors")
    names = gguf_names(config)
    if missing := sorted(names.keys() ^ arrays.keys()):
        raise SystemExit(f"{folder}: missing, or without a place in the model: {', '.join(missing)}")
    original = gguf.GGUFReader(original_path)
    architecture = original.get_field("general.architecture")
    if architecture is None or architecture.contents() != "llama":
        raise SystemExit(f"{original_path}: expected a GGUF file of architecture llama")
    shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in original.tensors}

    writer = gguf.GGUFWriter(out, "llama")
    copy_keys(writer, original, gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.ALL_F32)
    for name, (gguf_name, heads) in names.items():
        values = arrays[name]()
        if shapes.get(gguf_name) != values.shape:
            raise SystemExit(f"{name} is {values.shape}, {gguf_name} of {original_path} {shapes.get(gguf_name)}")
        if heads:
            values = permute(values, heads)
        # llama.cpp wants the norms' scales, which have one dimension, in fp32.
        wanted = np.float16 if half and values.ndim == 2 else np.float32
        writer.add_tensor(gguf_name, np.ascontiguousarray(values.astype(wanted)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=["f32", "f16"], default="f32")
    args = parser.parse_args()
    if args.out.exists() and args.out.samefile(args.original):
        sys.exit("OUT would replace ORIGINAL: choose another name")
    # The file appears under its name when it is whole.
    handle, temporary = tempfile.mkstemp(prefix=f".{args.out.name}.", dir=args.out.parent)
    os.close(handle)
    try:
        convert(args.folder, args.original, temporary, args.type == "f16")
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, args.out)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    main()
