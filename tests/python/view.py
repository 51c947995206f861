#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libsw/python/sw.py with a real broker.

    python/view.py SOURCE_DIR BUILD_DIR

Exits with 77, for "skipped", where NumPy is missing (Debian: python3-numpy).
"""
import gc
import io
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

SOURCE, BUILD = [pathlib.Path(word).resolve() for word in sys.argv[1:3]]
os.environ["SW_LIBRARY"] = str(BUILD / "libsw.so")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for children; nothing is to appear in the source
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "libsw/python"))
try:
    import numpy
except ImportError:
    print("python_view: skipped: no NumPy here; apt-get install python3-numpy")
    sys.exit(77)
import sw  # noqa: E402

PLACE = pathlib.Path(tempfile.mkdtemp(prefix="sw-python-"))
MODELS = PLACE / "models"
SHAPE = ["--hidden", "40", "--heads", "4", "--intermediate", "104", "--vocab-size", "2000"]
TEXTS = ["Hello world", "", "naïve café 東京", "x" * 200, "one two three four five six seven " * 20]


def program(name, *arguments, data=b""):
    run = subprocess.run([BUILD / name, *arguments], input=data, capture_output=True)
    if run.returncode:
        raise AssertionError(f"{name} {arguments}: {run.stderr.decode()}")
    return run.stdout


class Broker:
    started = 0

    def __init__(self, *options):
        Broker.started += 1
        self.socket = str(PLACE / f"broker{Broker.started}.sock")
        self.process = subprocess.Popen([BUILD / "swbrokerd", "--chunks-dir", MODELS, "--cache-size", "32M",
                                         "--socket", self.socket, *options], stderr=subprocess.DEVNULL)
        for _ in range(1000):
            if subprocess.run([BUILD / "swctl", "--socket", self.socket, "ping"],
                              capture_output=True).returncode == 0:
                return
            time.sleep(0.02)
        raise AssertionError("the broker does not answer")

    def stat(self, key):
        return json.loads(program("swctl", "--socket", self.socket, "--json", "stats"))[key]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def until(check, seconds=20):
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.02)
    return check()


def setUpModule():
    global broker
    MODELS.mkdir()
    for layout in ("rows", "panel"):
        for dtype in ("f32", "f16", "bf16"):
            program("swchunk", "synth", "bert-tiny", MODELS / f"{layout}-{dtype}", *SHAPE, "--layout", layout,
                    "--dtype", dtype)
    program("swchunk", "synth", "bert-tiny", MODELS / "bare", *SHAPE, "--no-pooler")
    program("swchunk", "synth", "bert-tiny", MODELS / "minilm", *SHAPE)
    broker = Broker()
    os.environ["SW_SOCKET"] = broker.socket


def tearDownModule():
    broker.stop()
    shutil.rmtree(PLACE)


def file_tensors(path):
    """The tensors of a safetensors file, {name: (type, shape, bytes)}, fillers left out."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    return {name: (entry["dtype"], tuple(entry["shape"]),
                   data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]])
            for name, entry in header.items() if name != "__metadata__" and not name.startswith("__pad_")}


class Weights(unittest.TestCase):
    def setUp(self):
        self.client = sw.Client()
        self.addCleanup(self.client.close)

    def test_every_tensor_is_the_files_in_every_type_and_layout(self):
        numpy_types = {"F32": numpy.float32, "F16": numpy.float16, "BF16": numpy.uint16}
        for directory in sorted(MODELS.iterdir()):
            with self.client.model(directory.name) as model:
                self.assertEqual(len(model), len(model.components))
                for name in model.components:
                    expected = file_tensors(directory / f"{name}.safetensors")
                    with model.component(name) as component:
                        self.assertEqual(set(component), set(expected))
                        for tensor, (dtype, shape, data) in expected.items():
                            about = component.tensor(tensor)
                            array = component[tensor]
                            self.assertEqual((about.dtype.name, about.shape), (dtype, shape))
                            self.assertEqual((array.dtype, array.shape), (numpy_types[dtype], shape))
                            self.assertEqual(array.tobytes(), data)
                            self.assertEqual(tuple(step // array.itemsize for step in array.strides),
                                             about.strides)
                            del array
                        self.assertEqual(component.metadata("component"), name)
                        self.assertIsNone(component.metadata("nothing"))

    def test_rows_takes_a_matrix_out_of_its_panels(self):
        parts = ["query", "key", "value"]
        for dtype in ("f32", "f16", "bf16"):
            with self.client.model(f"rows-{dtype}") as plain, self.client.model(f"panel-{dtype}") as panels, \
                    plain.component("layer_1") as one, panels.component("layer_1") as other:
                for name in ("intermediate.dense.weight", "output.dense.weight"):
                    self.assertEqual(other.tensor(name).layout, sw.Layout.PANEL)
                    numpy.testing.assert_array_equal(other.tensor(name).rows(), one[name])
                    numpy.testing.assert_array_equal(one.tensor(name).rows(), one[name])
                qkv = numpy.concatenate([one[f"attention.self.{part}.weight"] for part in parts])
                fused = other.tensor("attention.qkv.weight")
                self.assertEqual((fused.shape, fused.array.shape), ((8, 40, 16), (8, 40, 16)))
                numpy.testing.assert_array_equal(fused.rows(), qkv)
                numpy.testing.assert_array_equal(fused.rows(17), qkv[:17])
                self.assertEqual(fused.rows(128)[120:].any(), False)
                with self.assertRaises(ValueError):
                    fused.rows(129)

    def test_widen_gives_floats(self):
        name = "position_embeddings.weight"
        with self.client.model("rows-f32") as exact, self.client.model("rows-bf16") as coarse, \
                exact.component(0) as one, coarse.component(0) as other:
            wide = sw.widen(other[name])
            self.assertEqual(wide.dtype, numpy.float32)
            numpy.testing.assert_allclose(wide, one[name], rtol=2 ** -8)
            self.assertTrue((wide.view(numpy.uint32) & 0xffff == 0).all())
        self.assertEqual(sw.widen(numpy.array([1.5], numpy.float16)).dtype, numpy.float32)

    def test_arrays_lie_in_the_arena_and_cannot_be_written(self):
        with self.client.model("panel-f16") as model, model.component("layer_0") as component:
            array = component["output.dense.weight"]
            self.assertFalse(array.flags.owndata or array.flags.writeable)
            self.assertEqual(array.ctypes.data % 64, 0)
            with self.assertRaises(ValueError):
                array[0, 0, 0] = 1
            with self.assertRaises(ValueError):
                array.setflags(write=True)
            with self.assertRaises(TypeError):
                model.lease(0).data[0] = 1
            with model.component("layer_0") as again:
                self.assertEqual(again["output.dense.weight"].ctypes.data, array.ctypes.data)
            del array

    def test_a_lease_is_the_chunk_file(self):
        with self.client.model("panel-f16") as model:
            with model.lease("pooler") as lease:
                data = (MODELS / "panel-f16/pooler.safetensors").read_bytes()
                self.assertEqual(bytes(lease.data), data)
                self.assertEqual(lease.nbytes, len(data))

    def test_tells_of_models_and_caches(self):
        with self.client.model("panel-f16") as model:
            self.assertEqual(json.loads(model.file("config.json"))["hidden_size"], 40)
            model.warmup()
            self.assertEqual([model.info(name).resident for name in model.components], [1] * len(model))
            model.prefetch(["layer_0", 1])
            model.component(0).release()
            model.component("layer_1").release()
            self.assertEqual(model.cache_info().names, ("layer_1", "embeddings"))
            model.set_cache_size(1)
            info = model.cache_info()
            self.assertEqual((info.capacity, info.count, info.names), (1, 1, ("layer_1",)))
            model.clear_cache()
            self.assertEqual(model.cache_info().count, 0)
            stats = self.client.stats()
            self.assertGreaterEqual(stats.hits, 2)
            self.assertEqual(self.client.socket_path, broker.socket)

    def test_says_what_is_missing(self):
        with self.assertRaisesRegex(sw.Error, "absent") as caught:
            self.client.model("absent")
        self.assertEqual(caught.exception.code, sw.Code.ENOMODEL)
        self.assertEqual(caught.exception.name, "SW_ENOMODEL")
        with self.client.model("bare") as model:
            for wrong in ("layer_9", -1, 99, 2 ** 32, 2 ** 64 + 1):
                with self.assertRaises(sw.Error) as caught:
                    model.component(wrong)
                self.assertEqual(caught.exception.code, sw.Code.ENOCOMPONENT)
            with self.assertRaisesRegex(sw.Error, "nothing"):
                model.file("nothing")
            with model.component(0) as component, self.assertRaisesRegex(sw.Error, "no tensor x"):
                component["x"]
        with self.assertRaises(sw.Error) as caught:
            sw.Client(str(PLACE / "nobody.sock"), autostart=False)
        self.assertEqual(caught.exception.name, "ENOENT")
        self.assertIn("nobody.sock", str(caught.exception))
        with self.assertRaises(OverflowError):
            self.client.encoder("bare").warmup([2 ** 33])

    def test_passes_no_number_or_name_that_c_would_cut(self):
        with self.client.model("bare") as model:
            before = model.cache_info().capacity
            for cut in (-1, 2 ** 32 + 1):
                with self.assertRaises(OverflowError):
                    model.set_cache_size(cut)
            self.assertEqual(model.cache_info().capacity, before)
            with self.assertRaisesRegex(ValueError, "zero byte"):
                model.file("config.json\0.old")
        with self.assertRaisesRegex(ValueError, "zero byte"):
            self.client.model("bare\0")
        for name in ("threads", "cache_size", "prefetch_count"):
            for cut in (-1, 2 ** 32):
                with self.assertRaisesRegex(OverflowError, name):
                    self.client.encoder("bare", **{name: cut})
        with self.assertRaisesRegex(OverflowError, "timeout"):
            sw.Client(timeout=1e12)
        with self.client.encoder("bare") as encoder:
            for current, count in ((-1, 1), (0, 2 ** 32)):
                with self.assertRaises(OverflowError):
                    encoder.prefetch_next_layers(current, count)


class Lifetimes(unittest.TestCase):
    def setUp(self):
        self.client = sw.Client()
        self.model = self.client.model("panel-f16")
        self.addCleanup(self.client.close)

    def expect_unpinned(self):
        self.assertTrue(until(lambda: broker.stat("pinned_bytes") == 0), "something is pinned")

    def test_a_lease_does_not_end_under_an_array(self):
        component = self.model.component("layer_0")
        view = component["output.dense.weight"][1:, ::2].transpose(1, 0, 2)  # a view of a view
        for end in (component.release, self.model.close, self.client.close):
            with self.assertRaisesRegex(BufferError, "still exist"):
                end()
        self.assertEqual(component["output.dense.bias"].shape, (40,))  # nothing has ended
        self.assertGreater(broker.stat("pinned_bytes"), 0)
        expected = file_tensors(MODELS / "panel-f16/layer_0.safetensors")["output.dense.weight"][2]
        expected = numpy.frombuffer(expected, numpy.float16).reshape(3, 104, 16)
        numpy.testing.assert_array_equal(view, expected[1:, ::2].transpose(1, 0, 2))
        copy = view.copy()
        del view
        component.release()
        component.release()  # nothing more happens
        self.assertEqual(copy.shape[2], 16)
        with self.assertRaises(ValueError):
            component["output.dense.weight"]
        with self.assertRaises(ValueError):
            component.tensor("output.dense.weight").array
        self.expect_unpinned()

    def test_leaving_a_block_with_an_array_is_refused(self):
        with self.assertRaises(BufferError):
            with self.model.component("layer_0") as component:
                array = component["output.dense.bias"]
        self.assertEqual(array.shape, (40,))
        del array
        component.release()
        self.expect_unpinned()

    def test_an_exception_in_a_block_comes_out_as_it_is(self):
        with self.assertRaises(ZeroDivisionError):
            with self.model.component("layer_0") as component:
                array = component["output.dense.bias"]
                array.shape[0] // 0
        value = float(array[0])  # still leased
        self.assertEqual(value, float(array[0]))
        del array, component
        gc.collect()
        self.expect_unpinned()

    def test_what_is_dropped_ends_by_itself(self):
        array = self.model.component("layer_0")["output.dense.weight"]  # nobody but the array knows it
        self.assertGreater(broker.stat("pinned_bytes"), 0)
        self.assertTrue(array.any())
        del array
        self.expect_unpinned()
        circle = [self.model.lease(0).data]
        circle.append(circle)
        del circle
        gc.collect()
        self.expect_unpinned()

    def test_the_client_lives_as_long_as_an_array(self):
        def deep():
            return sw.Client().model("rows-f32").component(1)["output.dense.weight"]
        array = deep()
        gc.collect()
        expected = file_tensors(MODELS / "rows-f32/layer_0.safetensors")["output.dense.weight"][2]
        self.assertEqual(array.tobytes(), expected)
        clients = broker.stat("clients")
        del array
        self.assertTrue(until(lambda: broker.stat("clients") == clients - 1), "its session goes on")

    def test_closing_a_client_closes_what_it_made(self):
        client = sw.Client()
        model, encoder = client.model("bare"), client.encoder("bare")
        component, lease = model.component(0), encoder.model.lease(1)
        client.close()
        for closed in (lambda: component[next(iter(component))], lambda: lease.data, lambda: encoder.embed("x"),
                       lambda: model.info(0), lambda: encoder.model.info(0), client.stats):
            with self.assertRaises(ValueError):
                closed()
        self.expect_unpinned()

    def test_a_process_may_end_with_everything_open(self):
        script = "import sw; c = sw.Client(); m = c.model('bare'); b = c.encoder('bare'); b.embed('x')\n" \
                 "k = m.component(0); a = k[next(iter(k))]; l = b.model.lease(1); d = l.data; l.x = l\n"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True,
                             env={**os.environ, "PYTHONPATH": str(SOURCE / "libsw/python")})
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.expect_unpinned()

    def test_a_process_may_end_under_a_thread(self):
        script = "import sw, threading, time\nbert = sw.Client().encoder('minilm')\n" \
                 "def work():\n    while True:\n        encoder.embed(['one two three'] * 200)\n" \
                 "threading.Thread(target=work, daemon=True).start()\ntime.sleep(0.3)\n"
        for _ in range(3):
            run = subprocess.run([sys.executable, "-c", script], capture_output=True,
                                 env={**os.environ, "PYTHONPATH": str(SOURCE / "libsw/python")})
            self.assertEqual(run.returncode, 0, run.stderr)

    def test_whoever_is_revoked_hears_of_it(self):
        strict = Broker("--max-pinned", "4K")
        self.addCleanup(strict.stop)
        def hold(model):
            components = [model.component(number) for number in range(len(model))]
            self.assertTrue(until(lambda: strict.stat("revoked") > 0), "nobody was revoked")
            return components
        with sw.Client(strict.socket) as client:
            components = hold(client.model("panel-f16"))
            refused = 0
            for component in components:
                try:
                    component.release()
                except sw.Error as error:
                    self.assertEqual(error.code, sw.Code.EREVOKED)
                    refused += 1
            self.assertGreater(refused, 0)
        strict.stop()
        strict = Broker("--max-pinned", "4K")
        self.addCleanup(strict.stop)
        with sw.Client(strict.socket) as client, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            components = hold(client.model("panel-f16"))
            del components
            gc.collect()
        self.assertTrue(any(issubclass(one.category, RuntimeWarning) for one in caught), "nobody was warned")


class Processes(unittest.TestCase):
    def in_child(self, work):
        """work's result in a forked child, as text."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            try:
                said = str(work())
            except BaseException as error:  # noqa: B902
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            said = answer.read()
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        return said

    def test_a_child_goes_on_with_a_client_that_held_nothing(self):
        with sw.Client() as client, client.model("bare") as model, client.encoder("bare") as encoder:
            expected = encoder.embed("hello").tobytes().hex()
            def work():
                with model.component(0) as component:
                    first = len(component)
                return encoder.embed("hello").tobytes().hex(), first > 0
            self.assertEqual(self.in_child(work), str((expected, True)))
            self.assertEqual(encoder.embed("hello").tobytes().hex(), expected)

    def test_a_child_leaves_the_parents_leases_alone(self):
        with sw.Client() as client, client.model("bare") as model, model.component(1) as component:
            array = component["output.dense.weight"]
            data = array.tobytes()
            self.assertIn("[SW_EFORK]", self.in_child(lambda: model.component(0)))
            self.assertIn("[SW_EFORK]", self.in_child(component.release))
            self.assertIn("[SW_EFORK]", self.in_child(client.close))
            def work():
                with sw.Client() as own, own.model("bare") as other, other.component(1) as mine:
                    same = mine["output.dense.weight"].tobytes() == array.tobytes() == data
                try:
                    client.model("bare")
                except sw.Error:
                    pass
                return same and array.tobytes() == data
            self.assertEqual(self.in_child(work), "True")
            self.assertGreater(broker.stat("pinned_bytes"), 0)
            self.assertEqual(array.tobytes(), data)
            del array

    def test_threads_share_a_client(self):
        with sw.Client() as client:
            expected = client.encoder("panel-f16").embed(TEXTS)
            results = [None] * 4

            def work(number):
                with client.encoder("panel-f16") as encoder:
                    for _ in range(10):
                        results[number] = encoder.embed(TEXTS)
            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for result in results:
                self.assertEqual(result.tobytes(), expected.tobytes())

    def test_closing_waits_for_other_threads(self):
        with sw.Client() as client:
            encoder, model, ended, passes = client.encoder("bare"), client.model("bare"), [], []

            def compute():
                try:
                    while True:
                        encoder.embed(TEXTS)
                        passes.append(None)
                except ValueError as error:
                    ended.append(error)

            def lease():
                try:
                    while True:
                        model.component(0).release()
                        model.component(1)  # dropped
                except ValueError as error:
                    ended.append(error)
            threads = [threading.Thread(target=work) for work in (compute, compute, lease, lease)]
            for thread in threads:
                thread.start()
            until(lambda: len(passes) > 3)
            encoder.close()
            model.close()
            for thread in threads:
                thread.join()
            self.assertEqual(len(ended), 4)
            with self.assertRaises(RuntimeError):
                client._handle.use(lambda native: client.close())
            self.assertGreaterEqual(client.stats().hits, 1)  # which left it open

    def test_a_private_broker_can_be_asked_for(self):
        runtime = PLACE / "run"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        nobody = str(PLACE / "nobody.sock")
        with sw.Client(nobody, autostart=True, chunks_dir=MODELS, cache_size=16,
                       broker=BUILD / "swbrokerd") as client:
            self.assertTrue(client.socket_path.startswith(str(runtime)))
            self.assertEqual(client.encoder("bare").embed(["x"]).shape, (1, 40))
        self.assertTrue(until(lambda: not any((runtime / "swbroker").iterdir())), "it goes on")
        with self.assertRaisesRegex(sw.Error, "SW_BROKER"):
            sw.Client(nobody, autostart=True, chunks_dir=MODELS, broker="/nowhere")

    def test_without_numpy_there_are_memoryviews(self):
        script = """
import sys
sys.modules["numpy"] = None
import sw
client = sw.Client()
with client.model("panel-f32") as model, model.component("layer_0") as layer:
    view = layer["output.dense.weight"]
    assert view.readonly and view.format == "f" and view.shape == (3, 104, 16), view.shape
    first, empty = view[0, 0, 0], len(layer)
    try:
        layer.release()
    except BufferError:
        del view
try:
    sw.Client().model("panel-f16").component(1).tensor("output.dense.weight").rows()
except ImportError as error:
    assert "python3-numpy" in str(error)
encoder = client.encoder("bare")
print(first, *encoder.embed("hello world"), *encoder.embed(["hello world", "x"]).tolist()[0],
      *encoder.forward([2, 5, 3]).last_hidden_state.tolist()[1])
"""
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                             env={**os.environ, "PYTHONPATH": str(SOURCE / "libsw/python")})
        self.assertEqual(run.returncode, 0, run.stderr)
        with sw.Client() as client, client.encoder("bare") as encoder:
            model = client.model("panel-f32")
            first = float(model.component("layer_0")["output.dense.weight"][0, 0, 0])
            expected = [first, *encoder.embed("hello world"), *encoder.embed("hello world"),
                        *encoder.forward([2, 5, 3]).last_hidden_state[1]]
            self.assertEqual([float(word) for word in run.stdout.split()],
                             [float(value) for value in expected])


class Documents(unittest.TestCase):
    def test_what_is_shown_runs(self):
        shown = re.findall(r"^\.Bd -literal\n(import sw\n.*?)^\.Ed", (SOURCE / "man/sw-python.7").read_text(),
                           flags=re.M | re.S)
        shown += re.findall(r"^```python\n(.*?)^```", (SOURCE / "README.md").read_text(), flags=re.M | re.S)
        self.assertEqual(len(shown), 2)
        for program_text in shown:
            run = subprocess.run([sys.executable, "-c", program_text], capture_output=True, text=True,
                                 env={**os.environ, "PYTHONPATH": str(SOURCE / "libsw/python")})
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            self.assertIn("(104, 40)" if "matrix" in program_text else "(3, 104, 16)", run.stdout)


class Computing(unittest.TestCase):
    """Beside swbert, bit for bit."""

    def setUp(self):
        self.client = sw.Client()
        self.addCleanup(self.client.close)
        self.encoder = self.client.encoder("panel-f16")

    def test_embeddings_are_swberts(self):
        lines = "\n".join(TEXTS).encode() + b"\n"
        for pooling in ("default", "cls", "mean", "max", "pooler"):
            for normalize in (False, True):
                options = ([] if pooling == "default" else ["--pooling", pooling]) + \
                    (["--normalize"] if normalize else [])
                expected = numpy.load(io.BytesIO(program("swbert", "embed", "--model", "panel-f16", "--format",
                                                         "npy", *options, data=lines)))
                ours = self.encoder.embed(TEXTS, pooling=pooling, normalize=normalize)
                self.assertEqual((ours.dtype, ours.shape), (numpy.float32, (len(TEXTS), 40)))
                self.assertEqual(ours.tobytes(), expected.tobytes(), pooling)
        one = self.encoder.embed(TEXTS[0])
        self.assertEqual((one.shape, one.tobytes()), ((40,), self.encoder.embed(TEXTS)[0].tobytes()))

    def test_many_texts_are_as_each_alone(self):
        many = self.encoder.embed(TEXTS * 30)  # more tokens than one pass takes
        self.assertGreater(sum(len(self.encoder.tokenize(text).ids) for text in TEXTS * 30), sw.PASS_TOKENS)
        for number, text in enumerate(TEXTS):
            alone = self.encoder.embed(text).tobytes()
            for row in many[number::len(TEXTS)]:
                self.assertEqual(row.tobytes(), alone)
        self.assertEqual(self.encoder.embed([]).shape, (0, 40))

    def test_a_pass_is_swberts(self):
        ids, types = [2, 7, 1999, 40, 3], [0, 0, 1, 1, 1]
        said = json.loads(program("swbert", "forward", "--model", "panel-f16", "--ids",
                                  " ".join(map(str, ids)), "--type-ids", " ".join(map(str, types))))
        output = self.encoder.forward(ids, types)
        for ours, theirs in ((output.last_hidden_state, said["last_hidden_state"]),
                             (output.pooler_output, said["pooler_output"])):
            self.assertEqual(ours.tobytes(), numpy.array(theirs, numpy.float32).tobytes())
        several = self.encoder.forward([ids, [2, 3]], [types, [0, 0]], [[1] * 5, [1, 1]])
        self.assertEqual([part.shape for part in several.last_hidden_state], [(5, 40), (2, 40)])
        self.assertEqual(several.last_hidden_state[0].tobytes(), output.last_hidden_state.tobytes())
        self.assertEqual(several.pooler_output[0].tobytes(), output.pooler_output.tobytes())
        hidden = self.encoder.forward(numpy.array(ids), mask=numpy.array([1, 1, 1, 0, 1])).last_hidden_state
        self.assertNotEqual(hidden.tobytes(), self.encoder.forward(ids).last_hidden_state.tobytes())
        self.assertIsNone(self.client.encoder("bare").forward([1]).pooler_output)

    def test_tokens_are_swberts(self):
        for text in TEXTS:
            said = json.loads(program("swbert", "tokenize", "--model", "panel-f16", data=text.encode() + b"\n"))
            ours = self.encoder.tokenize(text)
            self.assertEqual((ours.ids, ours.tokens), (said["ids"], said["tokens"]))
        pair = self.encoder.tokenize("a b", "c")
        self.assertEqual(sorted(set(pair.type_ids)), [0, 1])
        self.assertEqual(len(self.encoder.tokenize("a " * 600).ids), self.encoder.token_limit)
        self.assertGreater(len(self.encoder.tokenize("a " * 600, max_tokens=0).ids), 600)
        self.assertEqual(self.encoder.tokenize("", special_tokens=False).ids, [])
        self.encoder.embed("\ud800 \0 \U0010ffff")  # no text is refused

    def test_what_is_out_of_range_is_named(self):
        for ids in ([2, 2000], [-1], []):
            with self.assertRaises(sw.Error) as caught:
                self.encoder.forward([ids])
            self.assertEqual(caught.exception.name, "EINVAL")
            self.assertGreater(len(caught.exception.message), 20)
        with self.assertRaises(OverflowError):
            self.encoder.forward([2 ** 40])
        with self.assertRaises(ValueError):
            self.encoder.forward([1, 2], [0])
        with self.assertRaises(KeyError):
            self.encoder.embed("x", pooling="sum")
        with self.assertRaises(sw.Error):
            self.client.encoder("bare").embed("x", pooling="pooler")
        with self.assertRaisesRegex(sw.Error, "absent"):
            self.client.encoder("absent")

    def test_figures_are_counted(self):
        self.encoder.warmup()
        self.encoder.prefetch_next_layers(0)
        self.encoder.embed(TEXTS)
        stats = self.encoder.stats()
        self.assertEqual(stats.passes, 1)
        self.assertEqual(stats.tokens, sum(len(self.encoder.tokenize(text).ids) for text in TEXTS))
        self.assertGreater(stats.mean_ms, 0)
        self.encoder.set_cache_size(2)
        self.assertEqual(self.encoder.cache_info().count, 2)
        self.encoder.clear_cache()
        self.assertEqual(self.encoder.cache_info().count, 0)
        with self.encoder.model.component("layer_0") as layer:  # the weights that it computes on
            self.assertIn("attention.qkv.weight", layer)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
