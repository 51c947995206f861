#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Models as people have them: what swchunk import makes of a published directory, and what swbert then
computes. Each test is a situation that other loaders' users have reported; its name is the situation's.

    cases.py SOURCE_DIR BUILD_DIR
"""
import array
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = [pathlib.Path(word).resolve() for word in sys.argv[1:3]]
sys.path.insert(0, str(SOURCE / "tests/support"))
import checkpoint  # noqa: E402

OLD = "sentence_transformers.models."
NEW = {"Transformer": "sentence_transformers.base.modules.transformer.Transformer",
       "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
       "Dense": "sentence_transformers.base.modules.dense.Dense",
       "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
       "Normalize": "sentence_transformers.base.modules.normalize.Normalize"}
WIDTH = 128


def run(program, *arguments, text=b""):
    return subprocess.run([BUILD / program, *arguments], input=text, capture_output=True, timeout=100)


class Case(unittest.TestCase):
    """A directory SRC as Hugging Face's libraries save one, a catalog, and a broker once it is needed."""
    extra = []  # of swchunk synth

    @classmethod
    def setUpClass(cls):
        cls.made = pathlib.Path(tempfile.mkdtemp(prefix="sw-cases-"))
        done = run("swchunk", "synth", "bert-tiny", cls.made / "chunks", "--dtype", "f32", "--vocab-size", "2000",
                   *cls.extra)
        assert done.returncode == 0, done.stderr
        done = run("swchunk", "export", cls.made / "chunks", cls.made / "model.safetensors")
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.made)

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="sw-case-"))
        self.src = self.place / "src"
        self.src.mkdir()
        (self.place / "models").mkdir()
        self.broker = None
        for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
            shutil.copy(self.made / "chunks" / name, self.src)
        shutil.copy(self.made / "model.safetensors", self.src)

    def tearDown(self):
        self.stop()
        shutil.rmtree(self.place)

    # ---- the directory ----

    def write(self, name, value):
        path = self.src / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))

    def change(self, name, **members):
        """Sets members of a JSON file; None takes one out."""
        root = json.loads((self.src / name).read_text())
        root.update(members)
        self.write(name, {key: value for key, value in root.items() if value is not None})

    def modules(self, *names, paths=None, types=None):
        kinds = types or {}
        self.write("modules.json", [
            {"idx": number, "name": str(number), "type": kinds.get(name, OLD + name),
             "path": (paths or {}).get(name, "" if number == 0 else f"{number}_{name}")}
            for number, name in enumerate(names)])

    def pooling(self, **members):
        self.write("1_Pooling/config.json", members or {"word_embedding_dimension": WIDTH,
                                                        "pooling_mode_mean_tokens": True})

    def vocabulary(self):
        return (self.src / "vocab.txt").read_text().split("\n")[:-1]

    def tokenizer_json(self, edit=lambda document: None):
        """A plain BERT's tokenizer.json of this vocabulary, edited."""
        ids = {token: number for number, token in enumerate(self.vocabulary())}

        def special(name, kind):
            return {"SpecialToken": {"id": name, "type_id": kind}}

        def part(name, kind):
            return {"Sequence": {"id": name, "type_id": kind}}

        single = [special("[CLS]", 0), part("A", 0), special("[SEP]", 0)]
        document = {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": ids[name], "content": name, "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": False, "special": True}
                             for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": single,
                               "pair": single + [part("B", 1), special("[SEP]", 1)], "special_tokens": {}},
            "decoder": {"type": "WordPiece"},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": ids}}
        edit(document)
        self.write("tokenizer.json", document)

    def tensors(self):
        return checkpoint.load_safetensors(self.src / "model.safetensors")

    # ---- what becomes of it ----

    def bring_in(self, *options):
        shutil.rmtree(self.place / "models" / "m", ignore_errors=True)
        self.stop()
        return run("swchunk", "import", self.src, self.place / "models" / "m", "--dtype", "f32", *options)

    def accepted(self, *options):
        done = self.bring_in(*options)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stderr.decode()

    def refused(self, *words, options=()):
        done = self.bring_in(*options)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 1, said)
        self.assertEqual(said.count("\n"), 1, said)
        for word in words:
            self.assertIn(word, said)

    def serve(self):
        if self.broker:
            return
        os.environ["SW_SOCKET"] = str(self.place / "socket")
        self.broker = subprocess.Popen([BUILD / "swbrokerd", "--chunks-dir", self.place / "models", "--cache-size",
                                        "16M", "--socket", self.place / "socket"], stderr=subprocess.DEVNULL)
        for _ in range(600):
            if run("swctl", "ping").returncode == 0:
                return
            time.sleep(0.05)
        self.fail("the broker does not start")

    def stop(self):
        if self.broker:
            self.broker.terminate()
            self.broker.wait()
        self.broker = None

    def swbert(self, command, text, *options):
        self.serve()
        return run("swbert", command, "--model", "m", *options, text=text.encode())

    def lines(self, command, text, *options):
        done = self.swbert(command, text, *options)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return [json.loads(line) for line in done.stdout.decode().split("\n") if line]

    def embed(self, text="hi\n", *options):
        return self.lines("embed", text, *options)[0]["embedding"]

    def tokens(self, text):
        return self.lines("tokenize", text + "\n")[0]["tokens"]

    def fails(self, command, text, *words):
        done = self.swbert(command, text)
        self.assertEqual(done.returncode, 1)
        for word in words:
            self.assertIn(word, done.stderr.decode())

    def close(self, got, wanted, most=2e-5):
        self.assertEqual(len(got), len(wanted))
        self.assertLess(max(abs(a - b) for a, b in zip(got, wanted)), most)


def floats(values):
    return array.array("f", values).tobytes()


def unit(values):
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


class Sentence(Case):
    def mean(self, text="hi\n"):
        return self.embed(text, "--pooling", "mean", "--no-normalize")

    def dense(self, out=3, **more):
        self.write("2_Dense/config.json", {"in_features": WIDTH, "out_features": out, "bias": True,
                                           "activation_function": "torch.nn.modules.activation.Tanh", **more})
        weights = [[math.sin(row * WIDTH + column) / 4 for column in range(WIDTH)] for row in range(out)]
        checkpoint.save_safetensors(self.src / "2_Dense/model.safetensors", {
            "linear.weight": ("F32", [out, WIDTH], floats(number for row in weights for number in row)),
            "linear.bias": ("F32", [out], floats(row / 8 for row in range(out)))})
        return lambda x: [sum(a * b for a, b in zip(row, x)) + number / 8 for number, row in enumerate(weights)]

    def test_dense(self):
        for types in (None, NEW):
            for activation, function in (("activation.Tanh", math.tanh), ("linear.Identity", lambda x: x),
                                         ("activation.Sigmoid", lambda x: 1 / (1 + math.exp(-x))),
                                         ("activation.ReLU", lambda x: max(x, 0))):
                self.pooling()
                apply = self.dense(activation_function=f"torch.nn.modules.{activation}")
                self.modules("Transformer", "Pooling", "Dense", types=types)
                self.accepted()
                got = self.embed()
                self.modules("Transformer", "Pooling", types=types)
                self.accepted()
                self.close(got, [function(x) for x in apply(self.embed())])

    def test_dense_of_two_poolings_and_a_torch_archive(self):
        self.pooling(embedding_dimension=WIDTH, pooling_mode=["max", "cls"])
        self.write("2_Dense/config.json", {"in_features": 2 * WIDTH, "out_features": 2 * WIDTH, "bias": False,
                                           "activation_function": "torch.nn.modules.linear.Identity"})
        side = 2 * WIDTH
        data = floats(1.0 if column == (row + WIDTH) % side else 0.0 for row in range(side) for column in range(side))
        checkpoint.save_torch(self.src / "2_Dense/pytorch_model.bin", {"linear.weight": ("F32", [side, side], data)})
        self.modules("Transformer", "Pooling", "Dense")
        self.accepted()
        got = self.embed()
        (self.src / "1_Pooling/config.json").unlink()
        self.modules("Transformer")
        self.accepted()
        self.close(got, self.embed("hi\n", "--pooling", "cls") + self.embed("hi\n", "--pooling", "max"))

    def test_dense_then_layer_norm_then_normalize(self):
        self.pooling()
        apply = self.dense(8)
        self.write("3_LayerNorm/config.json", {"dimension": 8})
        checkpoint.save_safetensors(self.src / "3_LayerNorm/model.safetensors", {
            "norm.weight": ("F32", [8], floats([2] * 8)), "norm.bias": ("F32", [8], floats([0.5] * 8))})
        self.modules("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")
        self.accepted()
        got = self.embed()
        self.modules("Transformer", "Pooling")
        self.accepted()
        x = [math.tanh(value) for value in apply(self.embed())]
        mean = sum(x) / 8
        spread = math.sqrt(sum((value - mean) ** 2 for value in x) / 8 + 1e-5)
        self.close(got, unit([(value - mean) / spread * 2 + 0.5 for value in x]))

    def test_dense_other_modules_are_refused_by_name(self):
        self.pooling()
        for name in ("CNN", "LSTM", "WeightedLayerPooling", "Dropout"):
            self.modules("Transformer", "Pooling", name)
            self.refused("modules.json", name)
        self.modules("Transformer", "Pooling", "Dense", types={"Dense": "my_code.Dense"})
        self.refused("modules.json", "my_code.Dense")
        self.dense(activation_function="torch.nn.modules.activation.Hardtanh")
        self.modules("Transformer", "Pooling", "Dense")
        self.refused("2_Dense/config.json", "Hardtanh")
        self.dense(in_features=64)
        self.refused("2_Dense/config.json", "64", "128")
        self.write("modules.json", "[{]")
        self.refused("modules.json", "line 1")

    def test_normalize(self):
        self.pooling()
        self.modules("Transformer", "Pooling", "Normalize")
        self.accepted()
        got, bare = self.embed(), self.embed("hi\n", "--no-normalize")
        self.assertGreater(abs(math.sqrt(sum(x * x for x in bare)) - 1), 0.1)
        self.close(got, unit(bare))

    def test_pooling_mode(self):
        for mode in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
            self.pooling(embedding_dimension=WIDTH, pooling_mode=mode, include_prompt=True)
            self.accepted()
            self.close(self.embed("the sea\n"), self.embed("the sea\n", "--pooling", mode), 0.0000001)
        self.pooling(embedding_dimension=WIDTH)
        self.accepted()
        self.close(self.embed(), self.mean(), 0.0000001)
        self.pooling(embedding_dimension=WIDTH, pooling_mode=["mean", "cls"])
        self.accepted()
        self.close(self.embed(), self.mean() + self.embed("hi\n", "--pooling", "cls"), 0.0000001)
        self.pooling(pooling_mode_mean_tokens=True, pooling_mode_cls_token=True)
        self.accepted()
        self.close(self.embed(), self.embed("hi\n", "--pooling", "cls") + self.mean(), 0.0000001)
        self.pooling(pooling_mode="attention")
        self.refused("1_Pooling/config.json", "attention")

    def test_pooling_mode_both(self):
        self.pooling(word_embedding_dimension=WIDTH, pooling_mode="cls", pooling_mode_mean_tokens=True)
        self.accepted()
        self.close(self.embed(), self.embed("hi\n", "--pooling", "cls"), 0.0000001)

    def test_pooling_missing(self):
        self.modules("Transformer", "Pooling")
        self.refused("1_Pooling/config.json", "modules.json")

    def test_pooling_weights_by_definition(self):
        self.accepted()
        ids = self.lines("tokenize", "the sea\n")[0]["ids"]
        self.serve()
        states = json.loads(run("swbert", "forward", "--model", "m", "--ids",
                                " ".join(map(str, ids))).stdout)["last_hidden_state"]
        total = [sum(column) for column in zip(*states)]
        weighted = [sum((place + 1) * x for place, x in enumerate(column)) for column in zip(*states)]
        self.close(self.embed("the sea\n", "--pooling", "lasttoken"), states[-1], 0.0000001)
        self.close(self.embed("the sea\n", "--pooling", "mean_sqrt_len_tokens"),
                   [x / math.sqrt(len(ids)) for x in total])
        self.close(self.embed("the sea\n", "--pooling", "weightedmean"),
                   [x / (len(ids) * (len(ids) + 1) / 2) for x in weighted])

    def test_prompts(self):
        self.pooling()
        self.modules("Transformer", "Pooling")
        self.write("config_sentence_transformers.json", {"prompts": {"find": "find: ", "passage": ""},
                                                         "default_prompt_name": "find"})
        self.accepted()
        self.close(self.embed("sea\n"), self.embed("find: sea\n", "--no-prompt"), 0.0000001)
        self.close(self.embed("sea\n", "--prompt", "passage"), self.embed("sea\n", "--no-prompt"), 0.0000001)
        self.assertIn("nothing", self.swbert("embed", "sea\n", "--prompt", "nothing").stderr.decode())
        # the prompt is read, but its tokens are not pooled
        self.pooling(embedding_dimension=WIDTH, pooling_mode="cls", include_prompt=False)
        self.accepted()
        ids = self.lines("tokenize", "find: sea\n")[0]["ids"]
        before = len(self.lines("tokenize", "find: \n")[0]["ids"]) - 1
        states = json.loads(run("swbert", "forward", "--model", "m", "--ids",
                                " ".join(map(str, ids))).stdout)["last_hidden_state"]
        self.close(self.embed("sea\n"), states[before], 0.0000001)
        self.write("config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": "find"})
        self.refused("config_sentence_transformers.json", "find")

    def test_st_lower_case(self):
        self.change("tokenizer_config.json", do_lower_case=False)
        self.write("sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": True})
        self.accepted()
        self.assertEqual(self.tokens("The SEA"), self.tokens("the sea"))
        self.assertEqual(self.tokens("Thé"), self.tokens("thé"))
        self.assertNotEqual(self.tokens("the"), self.tokens("thé"))

    def test_st_max_length(self):
        for limit, wanted in ((64, "64 tokens"), (8, "8 tokens"), (4096, "512 tokens")):
            self.change("tokenizer_config.json", model_max_length=16)
            self.write("sentence_bert_config.json", {"max_seq_length": limit})
            self.accepted()
            done = self.swbert("embed", "a " * 600 + "\n", "--stats")
            self.assertIn(wanted, done.stderr.decode())

    def test_old_layout(self):
        inner = self.src / "0_Transformer"
        inner.mkdir()
        for path in list(self.src.iterdir()):
            if path != inner:
                path.rename(inner / path.name)
        self.pooling(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
        self.modules("Transformer", "Pooling", paths={"Transformer": "0_Transformer"})
        self.accepted()
        got = self.embed()
        self.close(got, self.embed("hi\n", "--pooling", "cls"), 0.0000001)
        self.assertEqual(run("swchunk", "verify", self.place / "models/m").returncode, 0)
        again = run("swchunk", "import", self.place / "models/m", self.place / "models/n", "--layout", "rows")
        self.assertEqual(again.returncode, 0, again.stderr)

    def test_sentence_transformers_options_are_refused_by_name(self):
        self.pooling()
        self.modules("Transformer", "Pooling")
        for members, word in (({"transformer_task": "fill-mask"}, "fill-mask"),
                              ({"module_output_name": "scores"}, "scores"), ({"query_length": 32}, "query_length"),
                              ({"model_args": {"num_hidden_layers": 1}}, "num_hidden_layers")):
            self.write("sentence_bert_config.json", members)
            self.refused("sentence_bert_config.json", word)
        self.write("sentence_bert_config.json", {})
        self.write("config_sentence_transformers.json", {"model_type": "SparseEncoder"})
        self.refused("config_sentence_transformers.json", "SparseEncoder")


class Files(Case):
    def test_no_model_type(self):
        self.change("config.json", model_type=None, architectures=None)
        self.accepted()
        self.assertEqual(len(self.embed()), WIDTH)

    def test_json_nan(self):
        text = (self.src / "config.json").read_text().lstrip()[1:]
        for member in ('"x": NaN', '"x": Infinity', '"x": -Infinity', '"x": 1000000000000000019884624838656',
                       '"x": 9223372036854775808', '"x": 1e999', '"hidden_size": 64', '"x": "\\u0000"', '"\\u0000": 1',
                       '"x": "\\ud800"'):
            self.write("config.json", "{" + member + "," + text)
            self.accepted()
        self.write("config.json", text and "{" + text.rstrip()[:-1] + ', "layer_norm_eps": NaN}')
        self.refused("config.json", "layer_norm_eps")

    def test_json_nan_pooling(self):
        self.write("1_Pooling/config.json", '{"pooling_mode_cls_token": true, "x": NaN, '
                                            '"y": 1000000000000000019884624838656}')
        self.accepted()
        self.close(self.embed(), self.embed("hi\n", "--pooling", "cls"), 0.0000001)

    def test_git_lfs(self):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123\n"
        for name in ("model.safetensors", "vocab.txt", "config.json", "tokenizer_config.json",
                     "special_tokens_map.json", "tokenizer.json"):
            before = (self.src / name).read_bytes() if (self.src / name).exists() else None
            for text, words in ((pointer, "git-lfs pointer: run git lfs pull"), ("", "empty"),
                                ("<!DOCTYPE html><html></html>", "HTML")):
                self.write(name, text)
                self.refused(name, words)
            (self.src / name).unlink() if before is None else (self.src / name).write_bytes(before)
        self.write("pytorch_model.bin", pointer)
        (self.src / "model.safetensors").unlink()
        self.refused("pytorch_model.bin", "git lfs pull")

    def test_links(self):
        (self.src / "model.safetensors").unlink()
        (self.src / "model.safetensors").symlink_to("nowhere")
        self.refused("model.safetensors", "link")
        (self.src / "model.safetensors").unlink()
        self.write("tf_model.h5", "x")
        self.refused("tf_model.h5")
        for path in list(self.src.iterdir()):
            path.unlink()
        (self.src / "snapshots").mkdir()
        self.refused("snapshots/REVISION")


class Checkpoints(Case):
    def same_as_before(self, before, *options):
        self.accepted(*options)
        self.close(self.embed(), before, 1e-7)

    def test_transposed(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        (self.src / "model.safetensors").unlink()
        name = "encoder.layer.0.intermediate.dense.weight"
        dtype, (rows, columns), data = tensors[name]
        values = array.array("f", data)
        tensors[name] = dtype, (rows, columns), b"".join(values[at::columns].tobytes() for at in range(columns))
        checkpoint.save_torch(self.src / "pytorch_model.bin", tensors, strides={name: (1, rows)})
        self.same_as_before(before)

    def test_expanded(self):
        tensors = self.tensors()
        name = "embeddings.LayerNorm.bias"
        tensors[name] = "F32", tensors[name][1], floats([0.25] * WIDTH)
        checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
        self.accepted()
        before = self.embed()
        (self.src / "model.safetensors").unlink()
        tensors[name] = "F32", tensors[name][1], floats([0.25])
        checkpoint.save_torch(self.src / "pytorch_model.bin", tensors, strides={name: (0,)})
        self.same_as_before(before)

    def test_pickle_protocols(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        (self.src / "model.safetensors").unlink()
        for protocol in range(6):
            checkpoint.save_torch(self.src / "pytorch_model.bin", tensors, protocol)
            self.same_as_before(before)

    def test_dtype_bool(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        tensors["embeddings.mask"] = "BOOL", [1, 8], b"\1" * 8
        tensors["what"] = "F4", [1, 2], b"\0"
        checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
        self.same_as_before(before)
        self.same_as_before(before, "--drop-extra")

    def test_dtype_i32_positions(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        tensors["embeddings.position_ids"] = "I32", [1, 512], b"\0" * 2048
        checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
        self.same_as_before(before)

    def test_dtype_f64(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        checkpoint.save_safetensors(self.src / "model.safetensors", {
            name: ("F64", shape, array.array("d", array.array("f", data)).tobytes())
            for name, (_, shape, data) in tensors.items()})
        self.same_as_before(before)

    def test_dtype_f8(self):
        tensors = self.tensors()
        name, codes = "embeddings.LayerNorm.bias", (0x00, 0x01, 0x08, 0x38, 0x40, 0x7e, 0xb8, 0x81)
        for dtype, values in (("F8_E4M3", (0, 2**-9, 2**-6, 1, 2, 448, -1, -2**-9)),
                              ("F8_E5M2", (0, 2**-16, 2**-13, 0.5, 2, None, -0.5, -2**-16))):
            kept = [(code, value) for code, value in zip(codes, values) if value is not None]
            kept += [(0, 0)] * (WIDTH - len(kept))
            tensors[name] = "F32", [WIDTH], floats(value for _, value in kept)
            checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
            self.accepted()
            before = self.embed()
            tensors[name] = dtype, [WIDTH], bytes(code for code, _ in kept)
            checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
            self.same_as_before(before)

    def test_prefixes(self):
        self.accepted()
        before, tensors = self.embed(), self.tensors()
        for prefix in ("module.", "model.", "module.bert.", "0.auto_model.", "bert."):
            checkpoint.save_safetensors(self.src / "model.safetensors",
                                        {prefix + name: tensor for name, tensor in tensors.items()})
            self.same_as_before(before)


class Tokens(Case):
    def test_blank_last_line(self):
        self.write("vocab.txt", (self.src / "vocab.txt").read_text() + "\n")
        self.accepted()
        self.assertEqual(self.tokens("the"), ["[CLS]", "the", "[SEP]"])

    def test_tokenizer_json_added(self):
        self.write("vocab.txt", "\n".join(self.vocabulary()[:-1]) + "\n")
        self.tokenizer_json(lambda d: d["added_tokens"].append(dict(d["added_tokens"][0], id=1999, content="[ENT]")))
        self.write("tokenizer_config.json", {"do_lower_case": True, "extra_special_tokens": ["[ENT]"],
                                             "tokenizer_class": "BertTokenizer"})
        for _ in range(2):  # with vocab.txt and without
            self.accepted()
            self.assertEqual(self.tokens("the [ENT] sea"), ["[CLS]", "the", "[ENT]", "sea", "[SEP]"])
            (self.src / "vocab.txt").unlink(missing_ok=True)

    def test_tokenizer_json_says_more(self):
        self.tokenizer_json(lambda d: d["model"].update(max_input_chars_per_word=2))
        self.accepted()
        self.assertEqual(self.tokens("the"), ["[CLS]", "[UNK]", "[SEP]"])
        for normalizer in ({"type": "Replace"}, {"type": "NFKC"},
                           {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "BertNormalizer"}]}):
            self.tokenizer_json(lambda d: d.update(normalizer=normalizer))  # noqa: B023
            self.refused("tokenizer.json", "NFKC" if "NFKC" in str(normalizer) else "Replace")
        self.tokenizer_json(lambda d: d["model"].update(type="Unigram"))
        self.refused("tokenizer.json", "Unigram")

        ids = {token: number for number, token in enumerate(self.vocabulary())}
        self.tokenizer_json(lambda d: d["model"]["vocab"].update(the=ids["sea"], sea=ids["the"]))
        self.accepted()
        self.assertEqual(self.lines("tokenize", "the\n")[0]["ids"][1], ids["sea"])

    def test_tokenizer_of_another_class(self):
        self.change("tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer")
        self.refused("tokenizer_config.json", "XLMRobertaTokenizer")

    def test_special_tokens_map_and_added_tokens(self):
        words = self.vocabulary()
        self.write("vocab.txt", "\n".join("<s>" if word == "[CLS]" else word for word in words[:-1]) + "\n")
        self.write("special_tokens_map.json", {"cls_token": {"content": "<s>", "lstrip": False},
                                               "additional_special_tokens": ["[ENT]"]})
        self.write("added_tokens.json", {"[ENT]": 1999})
        self.change("tokenizer_config.json", cls_token="[CLS]")
        self.accepted()
        self.assertEqual(self.tokens("the [ENT]"), ["<s>", "the", "[ENT]", "[SEP]"])

    def test_id_beyond_table(self):
        self.write("tokenizer_config.json", {"added_tokens_decoder": {"2000": {"content": "<img>", "special": True}}})
        self.refused("<img>", "2000", "vocab_size")


class ManyTokens(Case):
    extra = ["--vocab-size", "20000"]

    def test_many_added_tokens(self):
        words = self.vocabulary()[:3000]
        self.write("vocab.txt", "\n".join(words) + "\n")
        self.write("tokenizer_config.json", {"do_lower_case": True, "added_tokens_decoder": {
            str(3000 + number): {"content": f"tok{number}x"} for number in range(16385)}})
        self.accepted()
        self.assertEqual(self.tokens("a tok5x")[2], "tok5x")


class Masks(Case):
    extra = ["--mlm"]

    def test_mask_by_role(self):
        self.write("vocab.txt", (self.src / "vocab.txt").read_text().replace("[MASK]\n", "<mask>\n"))
        self.change("tokenizer_config.json", mask_token="<mask>")
        self.accepted()
        self.assertEqual(len(self.lines("fill", "the <mask> sea\n")[0]["masks"]), 1)

    def test_fill_cut(self):
        self.accepted()
        self.fails("fill", "the " * 700 + "[MASK]\n", "[MASK]", "512")
        self.fails("fill", "the\n", "no [MASK]")

    def test_stale_decoder(self):
        self.accepted()
        before, tensors = self.lines("fill", "the [MASK]\n"), self.tensors()
        dtype, shape, data = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = dtype, shape, b"\0\0\0\0" + data[4:]
        checkpoint.save_safetensors(self.src / "model.safetensors", tensors)
        self.assertIn("tied", self.accepted())
        self.assertEqual(self.lines("fill", "the [MASK]\n"), before)

    def test_texts_of_more_than_a_line(self):
        self.accepted()
        one = self.lines("tokenize", 'the\nsea\0a\0', "--null")
        self.assertEqual([line["tokens"][1:-1] for line in one], [["the", "sea"], ["a"]])
        two = self.lines("tokenize", '"the\\nsea"\n{"text": "a", "pair": "b"}\n', "--input", "jsonl")
        self.assertEqual([line["tokens"] for line in two],
                         [["[CLS]", "the", "sea", "[SEP]"], ["[CLS]", "a", "[SEP]", "b", "[SEP]"]])
        self.close(self.embed('"the\\nsea"\n', "--input", "jsonl"), self.embed("the sea\n"), 0.0000001)
        self.assertEqual(len(self.lines("fill", "the\n[MASK]\0", "--null")), 1)
        for text in ("{}", "[]", '{"text": 1}', "no"):
            done = self.swbert("tokenize", text + "\n", "--input", "jsonl")
            self.assertEqual(done.returncode, 1)
            self.assertIn("line 1", done.stderr.decode())
        done = self.swbert("embed", '{"text": "a", "pair": "b"}\n', "--input", "jsonl")
        self.assertIn("pair", done.stderr.decode())


class Classes(Case):
    extra = ["--labels", "9"]
    names = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]

    def test_token_classifier(self):
        self.change("config.json", architectures=["BertForTokenClassification"],
                    id2label={str(number): name for number, name in enumerate(self.names)})
        self.accepted()
        self.fails("classify", "Ann lives in Rome\n", "BertForTokenClassification")

    def test_token_classifier_no_pooler(self):
        self.change("config.json", architectures=["BertForTokenClassification"])
        checkpoint.save_safetensors(self.src / "model.safetensors", {
            name: tensor for name, tensor in self.tensors().items() if "pooler" not in name})
        self.accepted()
        self.fails("classify", "Ann lives in Rome\n", "BertForTokenClassification")

    def test_labels_that_do_not_fit(self):
        self.change("config.json", id2label=None)
        self.refused("classifier.weight", "9", "2")


class OneLabel(Case):
    extra = ["--labels", "1"]

    def test_one_label(self):
        scores = {}
        for name, members in {"plain": {}, "single": {"problem_type": "single_label_classification"},
                              "regression": {"problem_type": "regression"},
                              "identity": {"sentence_transformers": {
                                  "activation_fn": "torch.nn.modules.linear.Identity"}},
                              "older": {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
                              "sigmoid": {"sentence_transformers": {
                                  "activation_fn": "torch.nn.modules.activation.Sigmoid"}}}.items():
            self.change("config.json", problem_type=None, sentence_transformers=None,
                        sbert_ce_default_activation_function=None)
            self.change("config.json", **members)
            self.accepted()
            scores[name] = self.lines("classify", "a\n")[0]["scores"]["LABEL_0"]
        self.close([scores["identity"], scores["older"]], [scores["regression"]] * 2, 1e-6)
        sigmoid = 1 / (1 + math.exp(-scores["regression"]))
        self.close([scores["plain"], scores["single"], scores["sigmoid"]], [sigmoid] * 3, 1e-6)
        self.change("config.json", sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"})
        self.refused("config.json", "Tanh")
        self.change("config.json", sentence_transformers=None, id2label=None)
        self.refused("classifier.weight", "1 rows", "2 labels")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
