#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Build each program in the manual as a reader would, and run it with a real broker.

    tools/manual_examples.py SOURCE_DIR BUILD_DIR CC [COMPILER_FLAG...]
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from interface import examples


def wait_for(broker, ctl, environment):
    for _ in range(600):
        if subprocess.run([ctl, "ping"], env=environment, capture_output=True).returncode == 0:
            return
        if broker.poll() is not None:
            sys.exit(f"examples: the broker ended with {broker.returncode}")
        time.sleep(0.05)
    sys.exit("examples: the broker does not answer after half a minute")


def build(source, build_dir, compiler, place):
    """The manual's programs as {page: executable}."""
    programs = {}
    for page in sorted((source / "man").glob("*.3")):
        texts = list(examples(page))
        if not texts:
            sys.exit(f"examples: {page.name} shows none")
        for number, text in enumerate(texts):
            name = f"{page.stem}-{number}"
            whole = "int main(void)" in text
            command = [*compiler, "-Wall", "-Wextra", "-Werror", f"-I{source}/include", "-x", "c", "-",
                       "-o", place / name]
            command += [f"-L{build_dir}", "-lsw", f"-Wl,-rpath,{build_dir}"] if whole else ["-c"]
            run = subprocess.run(command, input=text, capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"examples: {name} does not build:\n{run.stderr}")
            if whole:
                programs[name] = place / name
    return programs


def main():
    source, build_dir, compiler = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    faults = 0
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        programs = build(source, build_dir, compiler, place)
        if len(programs) < 4:
            sys.exit(f"examples: only {len(programs)} programs found: the search itself is broken")
        environment = dict(os.environ, SW_SOCKET=str(place / "socket"))
        (place / "models").mkdir()
        subprocess.run([build_dir / "swchunk", "synth", "minilm-l6", place / "models/minilm"], check=True,
                       stdout=subprocess.DEVNULL)
        broker = subprocess.Popen([build_dir / "swbrokerd", "--chunks-dir", place / "models", "--cache-size",
                                   "128", "--socket", place / "socket"])
        try:
            wait_for(broker, build_dir / "swctl", environment)
            for name, program in programs.items():
                run = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60)
                if run.returncode or not run.stdout or run.stderr:
                    print(f"{name}: exit {run.returncode}\n{run.stdout}{run.stderr}", file=sys.stderr)
                    faults += 1
        finally:
            broker.terminate()
            broker.wait(timeout=30)
    print(f"{len(programs)} programs of the manual built and run: {faults} failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
