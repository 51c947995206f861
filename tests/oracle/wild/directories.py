# SPDX-License-Identifier: MIT
"""Model directories as real exports leave them, made up from independent choices.

A case is a dictionary that names one value for each axis. `cases()` yields the plain case, every case
that differs from it in one axis, and then seeded random ones that differ in two to five, until there are
as many as asked for. `write()` turns a case into a directory. The model is a random BERT of two layers;
what varies is everything around the numbers.
"""
import json
import os
import random
import shutil

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel,
                          BertTokenizerFast)

HIDDEN = 32
WORDS = """the a of and to in is was for on that with as by at from it an be are this were or which not
river tide wave boat light house memory shared page process write read cafe naive resume uber hello world
good morning query passage document search red blue green one two three four five six seven""".split()
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [chr(c) for c in range(ord("A"), ord("Z") + 1)]
MORE = list("0123456789") + list(".,:;!?-'\"()[]<>/é ü ñ É".replace(" ", "")) + ["中", "文", "Hello", "World", "River"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

ST = "sentence_transformers.models."
NEW = "sentence_transformers.sentence_transformer.modules."
BASE = "sentence_transformers.base.modules."


def vocabulary():
    """The tokens of vocab.txt in order."""
    pieces = SPECIAL + [f"[unused{i}]" for i in range(4)] + LETTERS + MORE + WORDS
    pieces += ["##" + token for token in LETTERS + list("0123456789") + ["s", "ing", "ed", "é"]]
    return list(dict.fromkeys(pieces))


POOLING_KEYS = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def booleans(*on):
    """A pooling configuration of the older form."""
    return {"word_embedding_dimension": HIDDEN, **{f"pooling_mode_{key}": key in on for key in POOLING_KEYS}}


POOLINGS = {
    "mean": booleans("mean_tokens"),
    "cls": booleans("cls_token"),
    "max": booleans("max_tokens"),
    "sqrt": booleans("mean_sqrt_len_tokens"),
    "weighted": booleans("weightedmean_tokens"),
    "last": booleans("lasttoken"),
    "cls+mean": booleans("cls_token", "mean_tokens"),
    "all": booleans(*POOLING_KEYS),
    "none-on": booleans(),
    "four-keys": {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": True,
                  "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False,
                  "pooling_mode_mean_sqrt_len_tokens": False},
    "string-cls": {"embedding_dimension": HIDDEN, "pooling_mode": "cls", "include_prompt": True},
    "string-last": {"embedding_dimension": HIDDEN, "pooling_mode": "lasttoken", "include_prompt": True},
    "list": {"embedding_dimension": HIDDEN, "pooling_mode": ["mean", "cls"], "include_prompt": True},
    "list-of-one": {"embedding_dimension": HIDDEN, "pooling_mode": ["max"]},
    "list-of-three": {"embedding_dimension": HIDDEN, "pooling_mode": ["weightedmean", "lasttoken", "max"]},
    "unknown": {"embedding_dimension": HIDDEN, "pooling_mode": "attention"},
    "neither": {"embedding_dimension": HIDDEN},
    "both": {**booleans("mean_tokens"), "pooling_mode": "cls"},
    "no-prompt": {**booleans("mean_tokens"), "include_prompt": False},
    "no-prompt-cls": {"embedding_dimension": HIDDEN, "pooling_mode": "cls", "include_prompt": False},
    "nan": {**booleans("cls_token"), "unused": float("nan")},
    "missing": None,
}


def dense(width, out, activation="torch.nn.modules.activation.Tanh", bias=True, **more):
    return ("Dense", {"in_features": width, "out_features": out, "bias": bias, "activation_function": activation, **more})


NORMALIZE, LAYER_NORM = ("Normalize", None), ("LayerNorm", "dimension")
ACTIVATION = "torch.nn.modules.activation."
# what stands after the pooling; a width of None is that of what comes before
AFTER = {
    "nothing": [],
    "normalize": [NORMALIZE],
    "dense": [dense(None, 24)],
    "dense-identity": [dense(None, 48, "torch.nn.modules.linear.Identity")],
    "dense-relu-no-bias": [dense(None, 16, ACTIVATION + "ReLU", bias=False), NORMALIZE],
    "dense-gelu": [dense(None, 20, ACTIVATION + "GELU")],
    "dense-sigmoid": [dense(None, 20, ACTIVATION + "Sigmoid")],
    "dense-softplus": [dense(None, 20, ACTIVATION + "Softplus")],
    "dense-dense": [dense(None, 40), dense(40, 12, "torch.nn.modules.linear.Identity"), NORMALIZE],
    "dense-residual": [dense(None, 24, use_residual=True)],
    "dense-of-tokens": [dense(None, 24, module_input_name="token_embeddings")],
    "normalize-dense": [NORMALIZE, dense(None, 24)],
    "layer-norm": [LAYER_NORM],
    "layer-norm-normalize": [LAYER_NORM, NORMALIZE],
    "dropout": [("Dropout", {"dropout": 0.2})],
    "cnn": [("CNN", {"in_word_embedding_dimension": HIDDEN, "out_channels": 8, "kernel_sizes": [1, 3]})],
    "custom": [("custom_module.Scale", {"factor": 2})],
}

AXES = {
    "task": ["embed", "classify"],
    "modules": ["root", "absent", "old-layout", "new-types", "subfolder", "broken", "no-pooling"],
    "pooling": list(POOLINGS),
    "after": list(AFTER),
    "sbert": ["absent", "length", "short", "null", "lower", "lower-length"],
    "prompts": ["absent", "unused", "default", "default-missing", "empty"],
    "tokenizer": ["fast", "slow", "json-only", "config-absent", "cased", "strip-accents", "no-chinese", "short",
                  "added", "added-json", "mask-role", "template", "replace", "nfkc", "word-length", "truncation",
                  "unigram", "blank-line"],
    "weights": ["f32", "f16", "bf16", "f64", "bin", "bert.", "model.", "module.", "0.auto_model.", "shards",
                "no-pooler", "ids", "bool", "missing-layer", "lfs", "html", "empty"],
    "config": ["plain", "gelu_new", "relu", "silu", "gelu_pytorch_tanh", "tanh", "eps", "no-type", "nan", "huge",
               "duplicate", "nul", "relative", "decoder", "one-type", "no-architectures", "unknown-act"],
    "labels": ["2", "1", "3", "2-unnamed", "1-single", "3-multi", "1-regression", "2-regression", "1-identity",
               "tokens", "2-multi"],
}
PLAIN = {axis: values[0] for axis, values in AXES.items()}


def relevant(case):
    """Whether each choice shows in the directory: an axis that its task ignores stays plain."""
    ignored = ("labels",) if case["task"] == "embed" else ("modules", "pooling", "after", "sbert", "prompts")
    if case["modules"] in ("absent", "broken"):
        ignored += ("pooling", "after")
    return all(case[axis] == PLAIN[axis] for axis in ignored)


def cases(count, seed):
    """Yields `count` different cases."""
    done = set()

    def fresh(case):
        key = tuple(case.values())
        if key in done or not relevant(case):
            return False
        done.add(key)
        return True

    for task in AXES["task"]:
        for axis, values in AXES.items():
            for value in values:
                case = {**PLAIN, "task": task, axis: value}
                if len(done) < count and fresh(case):
                    yield case
    choose = random.Random(seed)
    while len(done) < count:
        case = {**PLAIN, "task": choose.choice(["embed", "embed", "classify"])}
        for axis in choose.sample([axis for axis in AXES if axis != "task"], choose.randint(2, 5)):
            case[axis] = choose.choice(AXES[axis])
        if fresh(case):
            yield case


def readable(case):
    """The case as the libraries can read it, where ours knows what an older export or another tool meant:
    names of tensors under a wrapper's prefix, and a configuration from before there was a model_type."""
    plain = {}
    if case["weights"] in ("model.", "module.", "0.auto_model."):
        plain["weights"] = PLAIN["weights"]
    if case["config"] == "no-type":
        plain["config"] = PLAIN["config"]
    return {**case, **plain}


def name(case):
    """The case in words: what differs from the plain one."""
    return " ".join([case["task"]] + [f"{a}={v}" for a, v in case.items() if a != "task" and v != PLAIN[a]])


def dump(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)


# ---- configuration and weights


def configuration(case):
    """BertConfig for a case."""
    act = case["config"] if case["config"] in ("gelu_new", "relu", "silu", "gelu_pytorch_tanh", "tanh") else "gelu"
    config = BertConfig(vocab_size=len(vocabulary()) + 8, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=40, hidden_act=act,
                        type_vocab_size=1 if case["config"] == "one-type" else 2,
                        layer_norm_eps=1e-5 if case["config"] == "eps" else 1e-12)
    kind = case["labels"]
    if case["task"] == "classify":
        config.num_labels = 4 if kind == "tokens" else int(kind[0])
        if kind not in ("2-unnamed",) and config.num_labels > 1:
            config.id2label = {i: f"kind {chr(65 + i)}" for i in range(config.num_labels)}
            config.label2id = {v: k for k, v in config.id2label.items()}
        config.problem_type = {"single": "single_label_classification", "multi": "multi_label_classification",
                               "regression": "regression"}.get(kind.partition("-")[2])
    return config


def model(case, seed):
    """A random model of the case's kind, its weights spread wider than at a training's start."""
    torch.manual_seed(seed)
    if case["task"] == "embed":
        made = BertModel(configuration(case))
    elif case["labels"] == "tokens":
        made = BertForTokenClassification(configuration(case))
    else:
        made = BertForSequenceClassification(configuration(case))
    with torch.no_grad():
        for key, tensor in made.named_parameters():
            if "LayerNorm.weight" in key:
                tensor.copy_(1 + 0.1 * torch.randn(tensor.shape))
            else:
                tensor.copy_(0.15 * torch.randn(tensor.shape))
    return made.eval()


def write_config(case, made, path):
    config = made.config.to_dict()
    config["architectures"] = [type(made).__name__]
    kind = case["config"]
    if kind == "no-architectures":
        del config["architectures"]
    if kind == "no-type":
        del config["model_type"]
    if kind == "relative":
        config["position_embedding_type"] = "relative_key"
    if kind == "decoder":
        config["is_decoder"] = True
    if kind == "unknown-act":
        config["hidden_act"] = "snake"
    if case["task"] == "classify" and case["labels"] == "1-identity":
        config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    text = json.dumps(config, indent=1)
    extra = {"nan": '"unused": NaN, "least": -Infinity', "huge": '"unused": 123456789012345678901234567890',
             "duplicate": '"hidden_act": "relu"', "nul": '"unused": "a\\u0000b"'}.get(kind)
    if extra:
        text = "{" + extra + "," + text[1:]
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
        file.write(text)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n"


def write_weights(case, made, path):
    kind = case["weights"]
    tensors = {key: value.clone().contiguous() for key, value in made.state_dict().items()}
    file = os.path.join(path, "model.safetensors")
    if kind in ("lfs", "html", "empty"):
        with open(file, "w", encoding="utf-8") as out:
            out.write({"lfs": LFS, "html": "<!DOCTYPE html><html>not found</html>", "empty": ""}[kind])
        return
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}.get(kind)
    if dtype:
        tensors = {key: value.to(dtype) for key, value in tensors.items()}
    if kind.endswith("."):
        tensors = {kind + key.removeprefix("bert."): value for key, value in tensors.items()}
    if kind == "no-pooler":
        tensors = {key: value for key, value in tensors.items() if "pooler" not in key}
    prefix = "" if case["task"] == "embed" else "bert."
    if kind == "ids":
        tensors[prefix + "embeddings.position_ids"] = torch.arange(40).unsqueeze(0)
    if kind == "bool":
        tensors["attention_bias"] = torch.ones(2, 2, dtype=torch.bool)
    if kind == "missing-layer":
        tensors = {key: value for key, value in tensors.items() if "layer.1.output.dense" not in key}
    if kind == "bin":
        torch.save(tensors, os.path.join(path, "pytorch_model.bin"))
    elif kind == "shards":
        keys, index = sorted(tensors), {}
        for number, part in enumerate((keys[::2], keys[1::2]), 1):
            shard = f"model-0000{number}-of-00002.safetensors"
            save_file({key: tensors[key] for key in part}, os.path.join(path, shard), {"format": "pt"})
            index |= {key: shard for key in part}
        dump(os.path.join(path, "model.safetensors.index.json"), {"metadata": {"total_size": 1}, "weight_map": index})
    else:
        save_file(tensors, file, {"format": "pt"})


# ---- tokenizer files


def write_tokenizer(case, path):
    kind = case["tokenizer"]
    vocab = os.path.join(path, "vocab.txt")
    with open(vocab, "w", encoding="utf-8") as file:
        file.write("\n".join(vocabulary()) + ("\n\n" if kind == "blank-line" else "\n"))
    options = {"do_lower_case": True, "model_max_length": 40}
    options |= {"cased": {"do_lower_case": False}, "strip-accents": {"do_lower_case": False, "strip_accents": True},
                "no-chinese": {"tokenize_chinese_chars": False}, "short": {"model_max_length": 9},
                "mask-role": {"mask_token": "[unused1]"}}.get(kind, {})
    if kind in ("slow", "config-absent", "blank-line"):
        if kind != "config-absent":
            dump(os.path.join(path, "tokenizer_config.json"), {**options, "tokenizer_class": "BertTokenizer"})
        return
    tokens = {token: i for i, token in enumerate(vocabulary())}
    tokenizer = BertTokenizerFast(vocab=tokens, **options)
    if kind in ("added", "added-json"):
        tokenizer.add_tokens(["new_word", "zweites"])
    tokenizer.save_pretrained(path)
    if kind == "added-json":  # the token is in tokenizer.json alone
        file = os.path.join(path, "tokenizer_config.json")
        with open(file, encoding="utf-8") as source:
            config = json.load(source)
        config.pop("added_tokens_decoder", None)
        dump(file, config)
    file = os.path.join(path, "tokenizer.json")
    with open(file, encoding="utf-8") as source:
        made = json.load(source)
    if kind == "template":
        made["post_processor"]["single"].insert(1, {"SpecialToken": {"id": "[CLS]", "type_id": 0}})
    if kind == "replace":
        made["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "river"}, "content": "wave"}, made["normalizer"]]}
    if kind == "nfkc":
        made["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, made["normalizer"]]}
    if kind == "word-length":
        made["model"]["max_input_chars_per_word"] = 4
    if kind == "truncation":
        made["truncation"] = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
        made["padding"] = {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                           "pad_type_id": 0, "pad_token": "[PAD]"}
    if kind == "unigram":
        made["model"] = {"type": "Unigram", "unk_id": 1, "byte_fallback": False,
                         "vocab": [[token, -float(i)] for i, token in enumerate(vocabulary())]}
    dump(file, made)
    if kind not in ("json-only", "replace", "nfkc", "unigram", "template", "word-length", "truncation", "added-json"):
        return
    if os.path.exists(vocab) and kind in ("json-only", "unigram"):
        os.remove(vocab)


# ---- sentence-transformers' files


def write_module(path, kind, options, width, seed):
    """A module's folder; returns the width of what it gives."""
    os.makedirs(path, exist_ok=True)
    torch.manual_seed(seed)
    if kind == "Dense":
        options = {**options, "in_features": options["in_features"] or width}
        dump(os.path.join(path, "config.json"), options)
        weights = {"linear.weight": 0.3 * torch.randn(options["out_features"], options["in_features"])}
        if options["bias"]:
            weights["linear.bias"] = 0.1 * torch.randn(options["out_features"])
        if options.get("use_residual") and options["in_features"] != options["out_features"]:
            weights["residual.weight"] = 0.3 * torch.randn(options["out_features"], options["in_features"])
        save_file(weights, os.path.join(path, "model.safetensors"), {"format": "pt"})
        return options["out_features"]
    if kind == "LayerNorm":
        dump(os.path.join(path, "config.json"), {"dimension": width})
        weights = {"norm.weight": 1 + 0.1 * torch.randn(width), "norm.bias": 0.1 * torch.randn(width)}
        save_file(weights, os.path.join(path, "model.safetensors"), {"format": "pt"})
    elif options is not None:
        dump(os.path.join(path, "cnn_config.json" if kind == "CNN" else "config.json"), options)
    return width


def write_modules(case, path, encoder_path):
    kind = case["modules"]
    if kind == "absent":
        return
    if kind == "broken":
        with open(os.path.join(path, "modules.json"), "w", encoding="utf-8") as file:
            file.write('[{"idx": 0, "name": "0", "path": ""')
        return
    new = kind == "new-types"
    rows = [("Transformer", encoder_path, (BASE if new else ST) + "Transformer")]
    pooling, width = POOLINGS[case["pooling"]], HIDDEN
    if kind != "no-pooling":
        rows.append(("Pooling", "1_Pooling", (NEW if new else ST) + "Pooling"))
        if pooling is not None:
            os.makedirs(os.path.join(path, "1_Pooling"))
            dump(os.path.join(path, "1_Pooling", "config.json"), pooling)
            modes = pooling.get("pooling_mode")
            on = sum(value is True for key, value in pooling.items() if key.startswith("pooling_mode_"))
            width *= len(modes) if isinstance(modes, list) else 1 if modes else max(on, 1)
    for module, options in AFTER[case["after"]]:
        folder = f"{len(rows)}_{module}"
        width = write_module(os.path.join(path, folder), module, options, width, len(rows))
        home = "" if "." in module else BASE if new and module in ("Dense", "Normalize") else NEW if new else ST
        rows.append((module, folder, home + module))
    dump(os.path.join(path, "modules.json"),
         [{"idx": i, "name": str(i), "path": where, "type": what} for i, (_, where, what) in enumerate(rows)])
    prompts = {"unused": {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": None},
               "default": {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": "query"},
               "default-missing": {"prompts": {"query": "query: "}, "default_prompt_name": "passage"},
               "empty": {"prompts": {"query": "", "document": ""}, "default_prompt_name": None}}.get(case["prompts"])
    if prompts:
        dump(os.path.join(path, "config_sentence_transformers.json"),
             {"__version__": {"sentence_transformers": "3.0.0"}, **prompts, "similarity_fn_name": "cosine"})


def write(case, path, seed):
    """Makes the directory `path` for a case."""
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    folder = {"old-layout": "0_Transformer", "subfolder": "encoder"}.get(case["modules"], "")
    place = os.path.join(path, folder)
    os.makedirs(place, exist_ok=True)
    made = model(case, seed)
    write_config(case, made, place)
    write_weights(case, made, place)
    write_tokenizer(case, place)
    if case["task"] == "classify":
        return
    sbert = {"length": {"max_seq_length": 16, "do_lower_case": False}, "short": {"max_seq_length": 6, "do_lower_case": False},
             "null": {"max_seq_length": None, "do_lower_case": False}, "lower": {"max_seq_length": 40, "do_lower_case": True},
             "lower-length": {"max_seq_length": 12, "do_lower_case": True}}.get(case["sbert"])
    if sbert:
        dump(os.path.join(place, "sentence_bert_config.json"), sbert)
    write_modules(case, path, folder)
