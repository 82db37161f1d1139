"""Drawing by rules, against all probabilities; texts to stop at; checkpoints that need no other file."""

import dataclasses
import functools
import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sentencepiece
from chain_texts import NETWORK, TEXT, V, text_of_words
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import drawing, model, reader, static, streaming
from wnn_jax.data import text, tokenizers
from wnn_jax.ram import backend

DEPTH = NETWORK.tree.depth
RULES = [
    chain.WritingConfig(temperature=0.7),
    chain.WritingConfig(top_k=1),
    chain.WritingConfig(top_k=6, temperature=1.5),
    chain.WritingConfig(top_p=0.5),
    chain.WritingConfig(top_p=0.9, temperature=1.4),
    chain.WritingConfig(min_p=0.3),
    chain.WritingConfig(top_k=9, top_p=0.8, min_p=0.05),
    chain.WritingConfig(top_k=9, min_p=0.2),
    chain.WritingConfig(repetition_penalty=4.0, repetition_window=6),
    chain.WritingConfig(repetition_penalty=1e6, repetition_window=3),
    chain.WritingConfig(repetition_penalty=3.0, top_k=4),
    chain.WritingConfig(repetition_penalty=3.0, top_p=0.7),
    chain.WritingConfig(repetition_penalty=3.0, top_p=0.7, top_k=12, min_p=0.1, temperature=0.8),
]


@pytest.fixture(scope="module")
def memories():
    online = chain.empty_online(NETWORK, 12, room=500)
    online, _ = chain.read(NETWORK, online, TEXT[:600], learn=True, block=1024)
    fixed, observed = static.observe(NETWORK, chain.empty_static(NETWORK, 12), TEXT[:600])
    return {"online": online, "static": static.count(NETWORK, fixed, observed)}


def paths():
    tree = jax.tree.map(np.asarray, NETWORK.tree)
    parts = [slice(*span) for span in itertools.pairwise(tree.start)]
    return tree, [(tree.node[part], tree.bit[part]) for part in parts]


def oracle(one, chance, recent, writing):
    """Draw a token from the probabilities of all nodes: the rules, said again for lists and doubles."""
    tree, path = paths()
    odds = np.log(one.astype(np.float64) / (1 - one))
    one = 1 / (1 + np.exp(-odds / writing.temperature))
    share = [np.prod(np.where(bit, one[node], 1 - one[node])) for node, bit in path]
    weight = [p / (writing.repetition_penalty if v in recent else 1) for v, p in enumerate(share)]
    kept = sorted(range(V), key=lambda v: (-weight[v], v))
    kept = kept[: writing.top_k or V]
    whole, mass, nucleus = sum(weight[v] for v in kept), 0.0, []
    for v in kept:
        if mass < writing.top_p * whole:
            nucleus.append(v)
        mass += weight[v]
    kept = [v for v in nucleus if weight[v] >= writing.min_p * weight[nucleus[0]]]
    at = 0
    while at + DEPTH + 2 <= len(chance) and not (writing.top_k and writing.top_p < 1):
        node = 0
        while node >= 0:
            node = tree.children[node, int(chance[at] < one[node])]
            at += 1
        token = -1 - node
        if token in recent and writing.repetition_penalty > 1:
            at += 1
            if chance[at - 1] >= 1 / writing.repetition_penalty:
                continue
        if token in kept:
            return token
    left = chance[-1] * sum(weight[v] for v in kept)
    for v in kept:
        left -= weight[v]
        if left < 0:
            return v
    return kept[-1]


nodes = jax.jit(reader.node_chances)


@pytest.mark.parametrize("writing", RULES, ids=str)
@pytest.mark.parametrize("kind", ["online", "static"])
def test_draws_are_those_from_all_probabilities(memories, kind, writing):
    memory, key, count = memories[kind], jax.random.key(5), 24
    _, found = chain.sample(key, NETWORK, memory, count, writing)
    numbers = drawing.columns(writing, DEPTH)
    chance = np.asarray(jax.random.uniform(key, (model.DRAWN_BLOCK, numbers), jnp.float32))
    if writing.plain:  # the row of a plain draw has no number to spare
        chance = np.pad(chance, ((0, 0), (0, 2)))
    recent = []
    for place in range(count):
        wanted = oracle(np.asarray(nodes(NETWORK, memory)), chance[place], recent, writing)
        assert found[place] == wanted, f"place {place}"
        memory, _ = chain.read(NETWORK, memory, [wanted])
        recent = [*recent, wanted][-writing.repetition_window :]


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_draws_the_same_tokens(memories, threads, monkeypatch):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    for writing in (chain.WritingConfig(top_p=0.9, temperature=1.4), chain.WritingConfig(top_k=6)):
        monkeypatch.delenv("WNN_JAX_THREADS", raising=False)
        draw = functools.partial(chain.sample, jax.random.key(2), NETWORK, memories["online"], 60, writing)
        _, wanted = draw()
        monkeypatch.setenv("WNN_JAX_THREADS", str(threads))
        _, ours = draw()
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("writing", RULES, ids=str)
def test_draws_have_the_probabilities_of_the_kept_tokens(memories, writing):
    """8,000 draws at one place: proposals and the choice among all kept tokens have one distribution."""
    one = drawing.with_temperature(nodes(NETWORK, memories["online"]), writing.temperature)
    shares, recent = reader.token_chances(NETWORK.tree, one), jnp.asarray([-1, *TEXT[595:600]], jnp.int32)
    weights = np.array(shares, np.float64)
    weights[np.unique(TEXT[595:600])] /= writing.repetition_penalty
    order, _, size = drawing.kept(weights, writing, np)
    wanted = np.zeros(V)
    wanted[order[:size]] = weights[order[:size]] / weights[order[:size]].sum()
    # Few numbers, so that proposals run out often.
    chance = jax.random.uniform(jax.random.key(8), (8000, 2 * DEPTH + 3))

    @jax.jit
    @jax.vmap
    def draw(row):
        return drawing.draw(NETWORK.tree, one, shares, recent, row, writing, DEPTH)

    found = np.bincount(draw(chance), minlength=V) / len(chance)
    assert found[wanted == 0].sum() == 0
    assert 0.5 * np.abs(found - wanted).sum() < 0.03


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=30),
    st.integers(0, 31),
    st.sampled_from([1e-6, 0.3, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
@settings(deadline=None)
def test_the_rules_keep_the_most_probable_tokens(counts, top_k, top_p, min_p):
    """Whole numbers, which NumPy adds without rounding: ties and borders are exact."""
    writing = chain.WritingConfig(top_k=top_k, top_p=top_p, min_p=min_p)
    weights = np.array(counts, np.float64)
    order, mass, size = drawing.kept(weights, writing, np)
    assert order.tolist() == sorted(range(len(counts)), key=lambda v: (-counts[v], v))
    assert mass[-1] == sum(counts)
    falling = [counts[v] for v in order]
    ranked = falling[: top_k or None]
    assert 1 <= size <= len(ranked)
    assert falling[size - 1] >= min_p * falling[0]
    enough = sum(falling[:size]) >= top_p * sum(ranked)
    assert enough or falling[size] < min_p * falling[0]
    assert size == 1 or sum(falling[: size - 1]) < top_p * sum(ranked)
    for chance in (0.0, 0.999):
        assert drawing.chosen(order, mass, size, chance, np) in order[:size]


def test_windows_go_on_from_block_to_block(memories):
    """A penalty that never lets a token of the last 20 come again, over more than one block."""
    writing = chain.WritingConfig(repetition_penalty=1e6, repetition_window=20)
    ids = np.array([TEXT[599]], np.int32)
    built = chain.ChainModel(chain.ChainConfig(mode="online"), None, NETWORK, memories["online"])
    drawn = chain.face.fitted.drawn(jax.random.key(1), built, ids, 2 * model.DRAWN_BLOCK + 5, writing)
    found = [*ids.tolist(), *drawn]
    assert len(found) == 2 * model.DRAWN_BLOCK + 6
    assert all(len(set(found[at : at + 20])) == 20 for at in range(len(found) - 19))


def test_bad_settings():
    for name, value in (("top_k", -1), ("min_p", 1.5), ("repetition_penalty", 0.5), ("repetition_window", 0)):
        with pytest.raises(ValueError, match=f"^{name}={value} is out of range: give a "):
            chain.WritingConfig(**{name: value})
    with pytest.raises(ValueError, match="stop has an empty text"):
        chain.WritingConfig(stop=("",))
    memory = chain.empty_static(NETWORK, 4)
    with pytest.raises(ValueError, match=r"cannot stop at 'x': use chain\.generate"):
        chain.sample(jax.random.key(0), NETWORK, memory, 1, chain.WritingConfig(stop=("x",)))
    with pytest.raises(ValueError, match="a model does not learn what it draws"):
        chain.ReadSettings("sampled", learn=True)


def stopped(whole, stop):
    """Cut a text character by character."""
    for end in range(len(whole) + 1):
        if done := [one for one in stop if whole[:end].endswith(one)]:
            return whole[: end - max(map(len, done))]
    return whole


@given(
    st.text("ab\né€🜁", max_size=40),
    st.lists(st.text("ab\né€", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 7), min_size=1, max_size=60),
)
def test_texts_stop_wherever_tokens_begin(whole, stop, sizes):
    data, pieces = whole.encode(), []
    for size in itertools.cycle(sizes):
        pieces.append(data[:size])
        data = data[size:]
        if not data:
            break
    parts = list(streaming.texts(range(len(pieces)), pieces, stop))
    assert "".join(parts) == stopped(whole, stop)
    assert all(parts)
    assert not stop or all(not "".join(parts[:n]).endswith(tuple(stop)) for n in range(1, len(parts) + 1))


def test_a_character_is_never_cut():
    pieces = ["é€🜁".encode()[i : i + 1] for i in range(9)]
    assert list(streaming.texts(range(9), pieces, ())) == ["é", "€", "🜁"]
    assert list(streaming.texts(range(8), pieces, ())) == ["é", "€"]
    assert list(streaming.texts([0], [b"a\xffb"], ())) == ["a\N{REPLACEMENT CHARACTER}b"]


def test_no_token_is_drawn_after_the_stop():
    drawn = iter(range(9))
    assert list(streaming.texts(drawn, [b"%d" % i for i in range(9)], ("34",))) == ["0", "1", "2"]
    assert next(drawn) == 5


@pytest.fixture(scope="module")
def little():
    parts = {"neurons": chain.WORDS[:4], "sets": ("one", "kind")}
    # sp has several ids without bytes, which spelling could not tell apart.
    return chain.ChainConfig(mode="online", **parts, rare=0, memory_mib=2, chunk=256)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return text_of_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def made(little, words):
    return chain.fit(jax.random.key(0), little, text.load(words))


def test_continuations_are_single_ones(made):
    keys = jax.random.split(jax.random.key(3), 3)
    writing = chain.WritingConfig(top_p=0.95, repetition_penalty=1.2)
    told = {}

    def show(place, part):
        told.setdefault(place, []).append(part)

    texts = chain.continuations(keys, made, "tables ", 70, writing, on_text=show)
    assert texts == [chain.generate(key, made, "tables ", 70, writing) for key in keys]
    assert ["tables " + "".join(told[place]) for place in range(3)] == texts
    assert len(set(texts)) == 3
    word = texts[0][20:24]
    stopping = dataclasses.replace(writing, stop=(word,))
    short = chain.generate(keys[0], made, "tables ", 70, stopping)
    at = texts[0].index(word, len("tables "))
    assert short == texts[0][:at]


def model_of(path):
    names = {"input": str(path), "model_prefix": str(path.with_suffix(""))}
    sentencepiece.SentencePieceTrainer.train(**names, vocab_size=30, hard_vocab_limit=False, minloglevel=2)
    return path.with_suffix(".model")


@pytest.mark.parametrize("kind", ["bytes", "bpe", "sp"])
def test_a_checkpoint_that_moved_needs_no_other_file(little, tmp_path, monkeypatch, kind):
    (tmp_path / "before").mkdir()
    words, prompt = text_of_words(tmp_path / "before"), "tables read\n"
    name = {"bpe": "bpe:270"}.get(kind, kind)
    if kind == "sp":
        name = f"sp:{model_of(tmp_path / 'before' / 'corpus.txt')}"
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "before" / "cache"))
    made = chain.fit(jax.random.key(0), little, text.load(text.TextConfig(words.corpus, name)))
    chain.save(tmp_path / "before" / "model", made, text.TextConfig(words.corpus, name))
    wanted = chain.generate(jax.random.key(1), made, prompt, 20), chain.score(made, prompt * 3).nats
    (tmp_path / "before" / "model").rename(tmp_path / "after")
    shutil.rmtree(tmp_path / "before")
    monkeypatch.setattr("tiktoken.get_encoding", None)
    found = chain.load(tmp_path / "after")
    assert found.tokenizer.pieces == made.tokenizer.pieces
    assert chain.generate(jax.random.key(1), found, prompt, 20) == wanted[0]
    np.testing.assert_array_equal(chain.score(found, prompt * 3).nats, wanted[1])
    assert found.tokenizer.encode("Ärger,  tables\n\n read 3x").tolist() == (
        made.tokenizer.encode("Ärger,  tables\n\n read 3x").tolist()
    )
    chain.save(tmp_path / "again", found, text.TextConfig())
    assert chain.load(tmp_path / "again").tokenizer.digest == made.tokenizer.digest


def test_the_tokenizer_of_gpt2_comes_back_from_its_pieces(monkeypatch):
    try:
        made = tokenizers.parse_tokenizer("gpt2")("")
    except ValueError:
        pytest.skip("the files of GPT-2's vocabulary are not here")
    monkeypatch.setattr("tiktoken.get_encoding", None)
    found = tokenizers.restored(made.name, made.model)
    assert found.pieces == made.pieces
    for some in (" It's 3 o'clock,\n\n  isn't\tit?  ", "<|endoftext|>", "Ärger 漢字 \u2003x", ""):
        assert found.encode(some).tolist() == made.encode(some).tolist()
    with pytest.raises(ValueError, match="the tokenizer gpt2 does not hold what it should"):
        tokenizers.restored("gpt2", made.model[:-9])


def test_a_changed_file_of_a_checkpoint_is_refused(made, words, tmp_path):
    folder = chain.save(tmp_path / "model", made, words)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for path in files:
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(ValueError, match=r"damaged|does not hold"):
            chain.load(tmp_path / "model")
        path.write_bytes(before)
    assert len(files) > 1
    chain.load(tmp_path / "model")


def test_ids_that_mean_something_else_are_refused(made, words, tmp_path, monkeypatch):
    chain.save(tmp_path / "model", made, words)
    other = text.load(text.TextConfig(words.corpus, "bpe:256")).tokenizer
    monkeypatch.setattr("wnn_jax.data.tokenizers.restored", lambda name, data: other)
    with pytest.raises(ValueError, match="holds the tokenizer bytes, but the package that reads it here"):
        chain.load(tmp_path / "model")
