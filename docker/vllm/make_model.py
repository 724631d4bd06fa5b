"""Make a tiny random Qwen3 with a tokenizer of its own in the layout of Hugging Face's cache, for demos without a download.

Runs with vLLM's Python (it has transformers and tokenizers): `python make_model.py [--hub-name NAME] [--seed N]`.
The weights are random, so the text is nonsense; it is the same nonsense at temperature 0 as long as no byte is lost, which
is what the success test compares.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = (
    "A model sleeps in one container and wakes in another.",
    "The lamp is lit at dusk, and the keeper writes the hour in the log.",
    "What is the capital of France? Where does the light go when the lamp is out?",
    "Sockets, files, shared memory and semaphores: each has a name, and each name has a place.",
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on TEXT: any input has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


def make_weights(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """Return a Qwen3 of 0.3 million random parameters."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )
    return Qwen3ForCausalLM(config).to(torch.float32)


def write_snapshot(repository: Path, seed: int) -> Path:
    """Write the model under `repository` (`hub/models--ORG--NAME`) and point refs/main at it."""
    revision = hashlib.sha1(f"llmux {seed}".encode(), usedforsecurity=False).hexdigest()
    snapshot = repository / "snapshots" / revision
    if not snapshot.exists():
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=repository))
        try:
            tokenizer = make_tokenizer()
            tokenizer.save_pretrained(work)
            make_weights(tokenizer, seed).save_pretrained(work)
            work.chmod(0o755)
            work.rename(snapshot)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return snapshot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hub-name", default="Qwen/Qwen3-0.6B")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    print(write_snapshot(home / "hub" / f"models--{options.hub_name.replace('/', '--')}", options.seed))


if __name__ == "__main__":
    main()
