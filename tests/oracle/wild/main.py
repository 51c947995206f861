# SPDX-License-Identifier: MIT
"""Compares swchunk and swbert with sentence-transformers and transformers on many model directories.

Each directory (directories.py) ends in one of these ways:

  equal      the same vectors or labels and scores
  refused    ours refuses with a sentence that says why; theirs refuses too, or the case asks for something
             that ours does not have (REFUSABLE)
  answered   theirs refuses, and ours has a reason to answer (ANSWERED_ALONE)
  NEEDLESS   ours refuses what it should be able to do
  DIFFERENT  both answer, and not the same
  LENIENT    theirs refuses, ours answers
  NAMELESS   ours fails without a sentence of its own, or dies of a signal

Only the words in small letters are right. The exit status is 1 where there is any other.
"""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import torch
import transformers

import directories

# Whoever follows tokenizer.json here reads these as its author wrote them; transformers 5 makes some of the
# tokenizer anew from its own classes and forgets what the file says.
FROM_TOKENIZER_JSON = ("template", "replace", "nfkc", "word-length", "unigram")
TEXTS = [
    "Hello world", "good morning, the RIVER is not red", "", " ", "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3,
    "Café naïve RÉSUMÉ über", "中文 and 文中", "[MASK] river [SEP] boat", "[unused1] wave new_word zweites Zweites",
    "two\nlines\tand a tab", "tide's wave-house (one, two) <three>?", "unbelievable readings", "x", "fi ½ ① Ｈｅｌｌｏ",
]
TOLERANCE = 2e-5
# choices that ours may refuse although theirs answers, each with the reason
REFUSABLE = {
    "after": {"cnn", "custom", "dense-of-tokens", "dense-softplus", "dropout"},  # modules and activations
    "tokenizer": {"replace", "nfkc", "unigram", "template"},  # steps of a tokenizer
    "config": {"relative", "decoder", "silu", "unknown-act"},  # architectures and activations
    "labels": {"tokens"},  # labels per token are not labels of a text
    "weights": {"missing-layer", "lfs", "html", "empty"},  # theirs makes up what is missing
    "pooling": {"missing"},
}


class Refused(Exception):
    """One side will not answer; the text says why."""


# Choices that ours answers although theirs refuses. transformers 5 refuses this pair of label count and problem
# type, which many rerankers have; ours gives the sigmoid that CrossEncoder gives. sentence-transformers refuses
# keys that it does not know; ours ignores them.
ANSWERED_ALONE = {"labels": {"1-single"}, "pooling": {"nan"}}


def quiet(call):
    """Runs theirs, and turns whatever it raises into Refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except Exception as error:  # noqa: BLE001: any failure of theirs is a refusal
        raise Refused(f"{type(error).__name__}: {error}") from error


# ---- theirs


def patch_tokenizer(tokenizer, path, length):
    """Gives a transformers tokenizer the tokenizer.json that stands in its directory."""
    from tokenizers import Tokenizer
    made = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    made.no_padding()
    made.no_truncation()
    tokenizer._tokenizer = made
    tokenizer.model_max_length = length
    return tokenizer


def their_vectors(path, case):
    from sentence_transformers import SentenceTransformer

    def run():
        model = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": torch.float32})
        if case["tokenizer"] in FROM_TOKENIZER_JSON:
            patch_tokenizer(model.tokenizer, path_of_encoder(path, case), model.max_seq_length)
        return model.encode(TEXTS, batch_size=3, convert_to_numpy=True, show_progress_bar=False).tolist()
    return quiet(run)


def path_of_encoder(path, case):
    return os.path.join(path, {"old-layout": "0_Transformer", "subfolder": "encoder"}.get(case["modules"], ""))


def their_labels(path, case):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    def run():
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            names = json.load(file).get("architectures") or []
        if any("TokenClassification" in name for name in names):
            raise ValueError("a head of labels per token")
        model, info = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32,
                                                                         output_loading_info=True)
        if info["missing_keys"]:
            raise ValueError(f"made up at random: {sorted(info['missing_keys'])}")
        tokenizer = AutoTokenizer.from_pretrained(path)
        if case["tokenizer"] in FROM_TOKENIZER_JSON:
            patch_tokenizer(tokenizer, path, min(tokenizer.model_max_length, 40))
        tokenizer.model_max_length = min(tokenizer.model_max_length, 40)
        if case["labels"] == "1-identity":  # a reranker that stores its activation: CrossEncoder applies it
            return [{"LABEL_0": model(**tokenizer(text, truncation=True, return_tensors="pt")).logits.item()} for text in TEXTS]
        pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
        return [{row["label"]: row["score"] for row in pipe([text], top_k=None, truncation=True)[0]} for text in TEXTS]
    return quiet(run)


# ---- ours


class Ours:
    """A catalog, a broker over it, and the programs."""

    def __init__(self, build, work):
        self.build, self.catalog = pathlib.Path(build), pathlib.Path(work, "catalog")
        self.catalog.mkdir()
        self.environment = {**os.environ, "SW_SOCKET": str(pathlib.Path(work, "socket"))}
        self.log = open(pathlib.Path(work, "broker.log"), "w", encoding="utf-8")
        self.broker = None

    def run(self, program, *arguments, text=None):
        done = subprocess.run([self.build / program, *arguments], env=self.environment, input=text, text=True,
                              capture_output=True, timeout=120)
        if done.returncode not in (0, 1) or done.returncode and not done.stderr.strip():
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr}")
        if done.returncode:
            raise Refused(done.stderr.strip().splitlines()[-1])
        return done.stdout

    def load(self, source, name):
        self.run("swchunk", "import", source, self.catalog / name, "--dtype", "f32")

    def serve(self):
        self.broker = subprocess.Popen([self.build / "swbrokerd", "--chunks-dir", self.catalog, "--cache-size", "256M",
                                        "--socket", self.environment["SW_SOCKET"]], stderr=self.log)
        for _ in range(400):
            if subprocess.run([self.build / "swctl", "ping"], env=self.environment, capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        sys.exit("wild: the broker does not answer")

    def stop(self):
        if self.broker:
            self.broker.terminate()
            self.broker.wait(timeout=30)
        self.log.close()

    def answer(self, name, command):
        text = "".join(json.dumps(text) + "\n" for text in TEXTS)
        rows = [json.loads(row) for row in self.run("swbert", command, "--model", name, "--input", "jsonl",
                                                    text=text).splitlines()]
        return [row["embedding" if command == "embed" else "scores"] for row in rows]


# ---- comparison


def difference(ours, theirs):
    """None where they are equal, else where and by how much."""
    if len(ours) != len(theirs):
        return f"{len(ours)} answers for {len(theirs)}"
    for text, a, b in zip(TEXTS, ours, theirs):
        if isinstance(b, dict):
            if set(a) != set(b):
                return f"labels {sorted(a)} for {sorted(b)}"
            a, b = [a[key] for key in sorted(b)], [b[key] for key in sorted(b)]
        if len(a) != len(b):
            return f"{len(a)} numbers for {len(b)}"
        scale = max(1.0, max(map(abs, b), default=0))
        worst = max((abs(x - y) for x, y in zip(a, b)), default=0)
        if not worst <= TOLERANCE * scale:
            return f"{text[:30]!r}: off by {worst:.3g}"
    return None


def judge(case, source, number, ours, refusal):
    """(verdict, detail) for a directory that has been imported, or refused with `refusal`."""
    embed = case["task"] == "embed"
    try:
        readable = directories.readable(case)
        if readable != case:
            directories.write(readable, f"{source}-readable", number)
        theirs = (their_vectors if embed else their_labels)(f"{source}-readable" if readable != case else str(source), case)
    except Refused as error:
        theirs, their_reason = None, str(error).splitlines()[0][:160]
    try:
        if refusal:
            raise refusal
        mine = ours.answer(f"case{number}", "embed" if embed else "classify")
    except Refused as error:
        if theirs is None:
            return "refused", f"{error} | theirs: {their_reason}"
        expected = any(case[axis] in values for axis, values in REFUSABLE.items())
        return "refused" if expected else "NEEDLESS", str(error)
    except (RuntimeError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return "NAMELESS", str(error)
    if theirs is None:
        alone = any(case[axis] in values for axis, values in ANSWERED_ALONE.items())
        return ("answered", their_reason) if alone else ("LENIENT", their_reason)
    found = difference(mine, theirs)
    return ("DIFFERENT", found) if found else ("equal", "")


def main():
    parser = argparse.ArgumentParser(prog="tests/oracle/run.sh wild", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, help="folder of the programs")
    parser.add_argument("--count", type=int, default=600, help="how many directories (default: 600)")
    parser.add_argument("--short", action="store_true", help="only the plain cases and what differs in one choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--keep", metavar="DIR", help="leave the directories there")
    parser.add_argument("--verbose", action="store_true", help="a line for each case, refusals too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    wanted = list(directories.cases(options.count, options.seed))
    if options.short:
        wanted = [case for case in wanted if sum(case[a] != v for a, v in directories.PLAIN.items() if a != "task") <= 1]
    wanted = [case for case in wanted if options.only in directories.name(case)]
    counts, failures = collections.Counter(), 0
    with tempfile.TemporaryDirectory(prefix="sw-wild-") as work:
        ours = Ours(options.build, work)
        root = pathlib.Path(options.keep or work, "directories")
        root.mkdir(parents=True, exist_ok=True)
        refusals = []
        try:
            for number, case in enumerate(wanted):
                directories.write(case, root / f"case{number}", number)
                try:
                    ours.load(root / f"case{number}", f"case{number}")
                    refusals.append(None)
                except (Refused, RuntimeError) as error:
                    refusals.append(error)
            ours.serve()
            for number, (case, refusal) in enumerate(zip(wanted, refusals)):
                verdict, detail = judge(case, root / f"case{number}", number, ours, refusal)
                counts[verdict] += 1
                failures += verdict.isupper()
                if options.verbose or verdict.isupper():
                    print(f"{verdict:9} {directories.name(case)}: {detail}", flush=True)
        finally:
            ours.stop()
    print(f"{len(wanted)} directories: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    return 1 if failures or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
