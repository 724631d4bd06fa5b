"""A model for llama.cpp: LLaMA's architecture with random weights, a few hundred kilobytes, and a vocabulary of single bytes."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 512
SPECIAL = {b"<unk>": gguf.TokenType.UNKNOWN, b"<s>": gguf.TokenType.CONTROL, b"</s>": gguf.TokenType.CONTROL}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def make(path: Path) -> None:
    """Write the model to `path`; it is the same each time."""
    writer = gguf.GGUFWriter(path, "llama")
    tokens = {**SPECIAL, **{f"<0x{byte:02X}>".encode(): gguf.TokenType.BYTE for byte in range(256)}}
    tokens |= {bytes([byte]): gguf.TokenType.NORMAL for byte in range(33, 127)}
    _describe(writer, tokens)
    _fill(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, tokens: dict[bytes, gguf.TokenType]) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(tokens))
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(list(tokens.values()))
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)


def _fill(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    random = np.random.default_rng(seed=1)
    shapes = {"token_embd": (vocabulary, WIDTH), "output": (vocabulary, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}": (INNER, WIDTH) for name in ("gate", "up")}
        shapes |= {f"blk.{layer}.ffn_down": (WIDTH, INNER)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) / 2).astype(np.float32))
    norms = [f"blk.{layer}.{name}_norm" for layer in range(LAYERS) for name in ("attn", "ffn")]
    for name in ("output_norm", *norms):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
