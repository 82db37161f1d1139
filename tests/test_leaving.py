"""What results depend on is recorded and compared, and commands end well."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from commands import call

from experiments.shared import commandline
from wnn_jax import chain, files
from wnn_jax.chain import archive
from wnn_jax.data import text, tokenizers
from wnn_jax.saving import checkpoint, locks, progress

CHAIN = (
    "--preset=fast",
    "--memory_mib=2",
    "--neurons=node,node token1",
    "--rare=0",
    "--transformer_epochs=0",
)

HOLD = """
import sys, time
from wnn_jax.saving import locks
lock = locks.hold(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def changed(path):
    """Exchange two letters of a text in place, so that a tokenizer learns other pieces from it."""
    path.write_text(path.read_text().replace("a", "\0").replace("e", "a").replace("\0", "e"))


def test_a_chain_model_keeps_its_ids_when_its_text_changes(corpus, tmp_path):
    config = text.TextConfig(str(corpus), "bpe:300")
    settings = chain.ChainConfig("online", memory_mib=1, chunk=256)
    model = chain.fit(jax.random.key(0), settings, text.load(config))
    chain.save(tmp_path / "model", model, config)
    changed(corpus)
    assert chain.load(tmp_path / "model").tokenizer.digest == model.tokenizer.digest
    done = call("generate", f"--checkpoint={tmp_path / 'model'}", "--tokens=3")
    assert done.returncode == 0, done.stderr


def test_a_bitwise_model_is_refused_when_its_ids_mean_something_else(corpus, tmp_path):
    model = f"--checkpoint={tmp_path / 'model'}"
    flags = (f"--workdir={tmp_path / 'run'}", "--curve_points=0")
    small = ("--tokenizer=bpe:300", "--neurons=2", "--bits=4", "--context=2", "--save_table")
    assert call("bitwise", f"--corpus={corpus}", *small, model, *flags).returncode == 0
    changed(corpus)
    done = call("bitwise", f"--restore={tmp_path / 'model'}", *flags)
    assert done.returncode == 2
    assert "gives ids another meaning" in done.stderr


def test_a_checkpoint_of_something_else_is_named(tmp_path):
    checkpoint.save(tmp_path / "other", np.zeros((1, 1, 2), np.int32), {"toy": 1}, {})
    done = call("bitwise", f"--restore={tmp_path / 'other'}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert "holds no bitwise model" in done.stderr


def test_the_digest_of_a_tokenizer_depends_on_every_piece():
    pieces = [b"a", b"bc", b""]
    one = tokenizers.Tokenizer("toy", np.array, pieces)
    others = [[b"ab", b"c", b""], [b"a", b"bd", b""], [b"a", b"bc"], [b"a", b"bc", b"", b""]]
    assert len({one.digest, *(one._replace(pieces=other).digest for other in others)}) == 5
    assert one._replace(name="other").digest == one.digest


def test_progress_knows_what_its_last_digits_depend_on(tmp_path, monkeypatch):
    progress.Progress(tmp_path / "run", {"work": {"rate": 0.5}, "text": "a" * 64})
    with pytest.raises(ValueError, match=r"differs in text, work.rate \(0.5 there, 0.25 here\): choose"):
        progress.Progress(tmp_path / "run", {"work": {"rate": 0.25}, "text": "b" * 64})
    monkeypatch.setenv("WNN_JAX_BACKEND", "xla")
    with pytest.raises(ValueError, match=r'differs in made_with.backend \("cpu" there, "xla" here\)'):
        progress.Progress(tmp_path / "run", {"work": {"rate": 0.5}, "text": "a" * 64})


def test_folders_of_other_work_are_refused_by_name(tmp_path):
    checkpoint.save(tmp_path / "model", np.zeros((1, 1, 2), np.int32), {"chain": {}}, {})
    checkpoint.save(tmp_path / "model", np.zeros((1, 1, 2), np.int32), {"chain": {"rare": 1}}, {})
    with pytest.raises(ValueError, match="holds versions of another model, a chain: choose another folder"):
        checkpoint.check_target(tmp_path / "model", "model")
    assert progress.parts(tmp_path / "parts", "vocab") == progress.parts(tmp_path / "parts", "vocab")
    for kind, folder in (("eam", "parts"), ("eam", "model")):
        with pytest.raises(ValueError, match="choose another folder"):
            progress.parts(tmp_path / folder, kind)
    done = call("chain", f"--resume={tmp_path / 'parts'}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert "holds the progress of vocab, not of chain" in done.stderr


def test_an_answer_that_was_not_asked_for_is_not_resumed(corpus, tmp_path):
    flags = (f"--corpus={corpus}", "--tokenizer=bytes", *CHAIN, f"--resume={tmp_path / 'run'}")
    assert call("chain", *flags, "--noaccuracy", f"--workdir={tmp_path / 'rows'}").returncode == 0
    done = call("chain", *flags, f"--workdir={tmp_path / 'rows'}")
    assert done.returncode == 2
    assert "differs in argmax (false there, true here)" in done.stderr


def test_two_processes_do_not_share_a_folder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"is in use by process {other.pid} on .*: wait for its end"):
            progress.Progress(tmp_path, {})
        begun = time.monotonic()
        with pytest.raises(ValueError, match="is in use by"):
            locks.hold(tmp_path, wait=0.3)
        assert time.monotonic() - begun > 0.3
        other.kill()
    lock = locks.hold(tmp_path)
    assert locks.hold(tmp_path) is lock
    # A folder that was only locked is still empty for its next use.
    assert progress.Progress(tmp_path, {}).latest(lambda *step: step) is None


def test_a_decoder_raises_what_its_callback_raised():
    network, memory = chain_of_bytes()

    def choose(one):
        raise RuntimeError("no bit left")

    with pytest.raises(RuntimeError, match="no bit left"):
        chain.decode(network, memory, 4, chain.BitCallback(choose), block=8)
    network, memory = chain_of_bytes()
    with pytest.raises(ValueError, match="returned 7: return 0 or 1"):
        chain.decode(network, memory, 4, chain.BitCallback(lambda one: 7), block=8)


def test_an_interrupt_inside_a_decoder_is_raised_after_it():
    network, memory = chain_of_bytes()
    calls = []

    def choose(one):
        calls.append(one)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return 0

    with pytest.raises(KeyboardInterrupt):
        chain.decode(network, memory, 8, chain.BitCallback(choose), block=8)
    assert len(calls) < 8 * 8
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_compressing_continues_between_parts_with_the_same_bytes(tmp_path, monkeypatch):
    """Three parts: an interrupt in the last one loses only that one, in both directions."""
    monkeypatch.setattr(archive, "_PART", archive._BLOCK)
    monkeypatch.setattr(archive, "_SAVE_SECONDS", 0.0)
    data = np.random.default_rng(0).integers(97, 101, 2 * archive._BLOCK + 500, np.uint8).tobytes()
    packed = archive.compress(data)
    assert len(packed) < len(data) / 3

    for work, given in ((archive.compress, data), (archive.decompress, packed)):
        seen = []

        def stop(done, total, seen=seen):
            seen.append(done)
            if len(seen) == 3:
                raise KeyboardInterrupt

        where = tmp_path / work.__name__
        with pytest.raises(KeyboardInterrupt):
            work(given, on_step=stop, resume=where)
        assert work(given, on_step=stop, resume=where) == (packed if given is data else data)
        assert seen == [4096, 8192, 8692, 8692]
        with pytest.raises(ValueError, match=r"other work, which differs in input"):
            work(given[:-1] + b"z" if given is data else archive.compress(b"a"), resume=where)
    with pytest.raises(files.Damaged, match="damaged"):
        archive.decompress(packed[:-4])


KILLED = """
import os, pathlib, sys
from wnn_jax.chain import archive

source, where, work = sys.argv[1:]
archive._PART, archive._SAVE_SECONDS = 4096, 0.0
step = lambda done, total: os.kill(os.getpid(), 9) if done == total else None
getattr(archive, work)(pathlib.Path(source).read_bytes(), on_step=step, resume=where)
"""


@pytest.mark.parametrize("work", ["compress", "decompress"])
def test_compressing_that_is_killed_ends_with_the_same_bytes(work, tmp_path, monkeypatch):
    """Kill -9 in the last of three parts."""
    monkeypatch.setattr(archive, "_PART", 4096)
    data = b"".join(b"line %d of %d\n" % (i, i * i) for i in range(600))[:9000]
    packed = archive.compress(data)
    source = tmp_path / "source"
    source.write_bytes(data if work == "compress" else packed)
    line = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "saved"), work]
    assert subprocess.run(line, check=False).returncode == -signal.SIGKILL
    seen = []
    again = getattr(archive, work)(
        source.read_bytes(), on_step=lambda done, _: seen.append(done), resume=tmp_path / "saved"
    )
    assert seen == [9000]  # the first two parts were saved
    assert again == (packed if work == "compress" else data)


def chain_of_bytes():
    from wnn_jax.chain import model, online, tokentree

    network = model.network(tokentree.plain(256), [bytes([i]) for i in range(256)], ("node",))
    return network, online.empty_online(network, 8)


@pytest.mark.parametrize(
    ("command", "moments"),
    [
        ("compress", (0.3, 2.5)),
        pytest.param("compress", np.linspace(0.4, 4, 20), marks=pytest.mark.long),
        pytest.param("chain", np.linspace(0.4, 4, 20), marks=pytest.mark.long),
    ],
)
def test_an_interrupted_command_ends_with_130_and_leaves_nothing(command, moments, tmp_path):
    """Interrupt a command while it imports, while it compiles and while it works.

    The first moment is after Python itself has started, which nobody can handle.
    """
    source, output = tmp_path / "text", tmp_path / "packed"
    letters = np.random.default_rng(0).integers(97, 105, 3_000_000, np.uint8)
    letters[::50] = ord("\n")
    source.write_bytes(letters.tobytes())
    flags = {
        "compress": [f"--input={source}", f"--output={output}"],
        "chain": [f"--corpus={source}", "--tokenizer=bytes", *CHAIN, f"--workdir={tmp_path / 'run'}"],
    }
    line = [sys.executable, "-m", f"experiments.{command}", *flags[command]]
    for seconds in moments:
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "Traceback" not in said
    assert sorted(x.name for x in tmp_path.iterdir() if x.is_file()) == ["text"]


def test_an_interrupt_is_raised_again_until_one_is_handled(tmp_path):
    """One that is swallowed comes again; while one is handled, such as by a save, no other disturbs it."""
    said = []

    def work(options):
        os.kill(os.getpid(), signal.SIGINT)

    def swallowing(options):
        with contextlib.suppress(KeyboardInterrupt):
            work(options)
        try:
            time.sleep(10)
        except KeyboardInterrupt:
            time.sleep(1.5)
            said.append("saved")
            raise

    for main in (work, swallowing):
        assert commandline.Command("toy", "about", main).run([f"--workdir={tmp_path}"]) == 130
    assert said == ["saved"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_output_that_cannot_be_written_is_noticed_before_the_work(tmp_path, monkeypatch):
    source = tmp_path / "text"
    source.write_text("text")
    monkeypatch.setattr("wnn_jax.chain.archive.encode", None)  # it must not be reached
    done = call("compress", f"--input={source}", f"--output={tmp_path / 'nowhere' / 'x'}")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr
    with pytest.raises(ValueError, match="text is not a folder"):
        checkpoint.check_target(source / "model")


def test_a_user_without_a_home_has_a_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    monkeypatch.setenv("WNN_JAX_CACHE", "chosen")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(tokenizers.cache_folder()) == "chosen"
    monkeypatch.delenv("WNN_JAX_CACHE")
    assert tokenizers.cache_folder().name == f"wnn_jax-{os.getuid()}"
    assert text.load(text.TextConfig(tokenizer="bytes")).vocabulary == 256
