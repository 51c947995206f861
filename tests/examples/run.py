#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the programs of this folder with a real broker, and what the README shows as a reader would paste it.

    run.py SOURCE_DIR BUILD_DIR [SANITIZERS]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE, BUILD = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
SANITIZERS = sys.argv[3] if len(sys.argv) > 3 else ""
README = (SOURCE / "README.md").read_text()
TEXTS = ("She paddled out to catch the first wave.", "Fresh bread smells best in the morning.")


def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **options)


def blocks(heading, language):
    """The README's code blocks in one language below a heading."""
    section = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", README, flags=re.M | re.S).group(1)
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)


class Readme(unittest.TestCase):
    def test_its_worker_is_worker_c(self):
        (shown,) = blocks("A worker in C", "c")
        program = (HERE / "worker.c").read_text()
        self.assertEqual(shown, program[program.index("#include"):])

    def test_its_table_names_every_example(self):
        files = {path.name for path in HERE.glob("*.c")} | {path.name for path in HERE.glob("*.py")}
        shown = set(re.findall(r"^\| `(\w+\.(?:c|py))`", README, flags=re.M))
        self.assertEqual(shown, files - {"worker.c", "run.py"})

    def test_first_steps_and_the_private_broker_run_in_a_fresh_shell(self):
        """In a clone that the quickstart has built, and a home without anything."""
        with tempfile.TemporaryDirectory(prefix="sw-readme.") as directory:
            clone, home = pathlib.Path(directory, "clone"), pathlib.Path(directory, "home")
            (clone / "build").mkdir(parents=True)
            (clone / "build/release").symlink_to(BUILD)
            for name in ("include", "libsw", "tests"):
                (clone / name).symlink_to(SOURCE / name)
            home.mkdir()
            fresh = {name: value for name, value in os.environ.items() if not name.startswith("SW")}
            def paste(heading, **environment):
                steps = "set -e\n" + blocks(heading, "sh")[0] + "wait\n"
                done = run(["bash", "-c", steps], cwd=clone, env={**fresh, "HOME": str(home), **environment})
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                return done.stdout

            self.assertEqual(paste("Use it").count('"embedding"'), 1)
            self.assertEqual(paste("Without running a daemon").count('"embedding"'), 1)
            if not SANITIZERS:  # whose run time the reader's compiler does not link
                printed = paste("A worker in C", SW_AUTOSTART="1", SW_CHUNKS_DIR=str(home / "sw/models"),
                                SW_BROKER=str(BUILD / "swbrokerd"))
                self.assertRegex(printed, r"^384 numbers: ")


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="sw-examples.")
        place = pathlib.Path(cls.directory.name)
        os.environ["SW_SOCKET"] = str(place / "socket")
        (place / "models").mkdir()
        for name, seed in (("one", "1"), ("two", "2")):
            subprocess.run([BUILD / "swchunk", "synth", "bert-tiny", place / "models" / name, "--seed", seed],
                           check=True, stdout=subprocess.DEVNULL)
        cls.broker = subprocess.Popen([BUILD / "swbrokerd", "--chunks-dir", place / "models",
                                       "--cache-size", "64"])
        cls.addClassCleanup(cls.directory.cleanup)
        cls.addClassCleanup(lambda: (cls.broker.terminate(), cls.broker.wait(timeout=30)))
        for _ in range(600):
            if run([BUILD / "swctl", "ping"]).returncode == 0:
                return
            if cls.broker.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the broker does not answer")

    def example(self, name, *arguments):
        done = run([next(BUILD.rglob(f"example-{name}")), *arguments])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_worker_takes_a_model_of_any_width_and_says_what_failed(self):
        self.assertRegex(self.example("worker", "one"), r"^128 numbers: \S+ \S+ \S+ \.\.\.\n$")
        done = run([next(BUILD.rglob("example-worker")), "none"])
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("none", done.stderr)

    def test_event_loop_computes_what_swbert_does_on_every_model(self):
        lines = self.example("event-loop", "one,two", *TEXTS).splitlines()
        expected = []
        for model in ("one", "two"):
            done = run([BUILD / "swbert", "embed", "--model", model], input="\n".join(TEXTS) + "\n")
            firsts = re.findall(r'"embedding": ?\[([^,]+),', done.stdout)
            expected += [f"{model} {float(first):.9g} {text}" for first, text in zip(firsts, TEXTS, strict=True)]
        self.assertEqual(sorted(lines), sorted(expected))

    def test_event_loop_fails_when_a_model_is_missing(self):
        done = run([next(BUILD.rglob("example-event-loop")), "one,none", "text"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("none", done.stderr)

    def test_warmup_shows_that_a_warm_model_is_not_waited_for(self):
        warm, one, bounded = self.example("warmup", "two", "1").splitlines()
        self.assertIn("warm: passes 0", warm)
        self.assertIn("one pass: passes 1", one)
        layers_waited_for = re.search(r"(\d+) misses", one).group(1)
        self.assertLessEqual(int(layers_waited_for), 1)  # the embeddings, which nothing warmed
        self.assertRegex(bounded, r"cache [01]/1 .*evictions [1-9]")

    @unittest.skipIf("thread" in SANITIZERS, "an interpreter without TSan cannot load the library")
    def test_nearest_prefers_the_sentence_itself(self):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE / "libsw/python"), "SW_LIBRARY": str(BUILD / "libsw.so")}
        if "address" in SANITIZERS:  # its run time comes first; what an interpreter leaks is not ours
            environment["LD_PRELOAD"] = run(["gcc", "-print-file-name=libasan.so"]).stdout.strip()
            environment["ASAN_OPTIONS"] = "detect_leaks=0:abort_on_error=1"
        done = run([sys.executable, HERE / "nearest.py", "one", TEXTS[1], "1"], input="\n".join(TEXTS) + "\n",
                   env=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, rf"^1\.0000 {re.escape(TEXTS[1])}\n$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
