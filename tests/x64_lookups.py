"""Small results of the systems that read lookup tables, and of the recommender, for `x64_results`."""

import jax
import jax.numpy as jnp
import numpy as np
import test_engram
import test_gating
import test_search
import test_tiered

from wnn_jax import chain, gates, ram, recommender, search
from wnn_jax.lm import bitwise, fitting, ngram, tiered, tiered_layer
from wnn_jax.recommender import agent, drift, factors, forgetting, latency, protocol, synthetic
from wnn_jax.recommender import categories as studies

KEY = jax.random.key(3)


def ram_layers(kinds=("count",)):
    rng = np.random.default_rng(0)
    X, Y = rng.random((200, 40)) < 0.5, rng.random((200, 5)) < 0.3
    found = []
    for cells in kinds:
        for rate in (1.0, 0.5):
            layer = ram.fit(KEY, ram.LayerConfig(5, 6, ram.RamConfig(cells, sample_rate=rate)), X, Y)
            layer = ram.learn(layer, X[::-1], Y)
            found.append((layer.connections, layer.table, ram.predict(layer, X)))
            assert rate == 1 or len(np.unique(found[-1][2])) > 2, "a sample must not be empty"
    return found


def every_ram_layer():
    return ram_layers(ram.CELLS)


def bitwise_models(kinds=("ternary",)):
    tokens, found = test_gating.text(), []
    for cells in kinds:
        config = bitwise.BitwiseConfig(9, 2, 3, 4, memory=ram.RamConfig(cells, sample_rate=0.5))
        model = fitting.fit(KEY, config, tokens[:250])
        found += [model.connections, model.table, fitting.score(model, tokens[:250], tokens[250:])]
        words = bitwise.examples(config, tokens).words
        found.append(fitting.votes(KEY, config, model.connections, tokens[:250], words))
    return found


def every_bitwise_model():
    return bitwise_models(ram.CELLS)


def tiered_models():
    tokens, found = test_tiered.stream(), []
    for name in tiered.VARIANTS:
        config = test_tiered.config_for(**tiered.VARIANTS[name]._asdict())
        model = tiered.fit(KEY, config, tokens[:350])
        found += [model.readout, model.history, tiered.score(model, tokens[350:])]
    return found


def ngrams():
    tokens = test_tiered.stream()
    return list(ngram.baselines(tokens[:350], tokens[350:], 24, (2, 3), cached=True))


def searches(names=("tabu",), kinds=("bitwise",)):
    found = []
    for name in names:
        for kind in kinds:
            problem = test_search.planted(kind, rate=0.5)
            result = test_search.whole(problem, names=(name,))
            found += [result.genome, result.loss, [line._replace(seconds=0.0) for line in result.history]]
    return found


def every_search():
    grid = search.grid(test_search.planted().objective, search.GridConfig((2, 3), (3, 4)))
    run = search.run(KEY, [grid], test_search.planted().examples, test_search.RUN)
    others = searches(("tabu",), test_search.OBJECTIVES[1:])
    return run.genome, run.loss, searches(test_search.MAKE), others


def gated():
    tokens = test_gating.text()
    train, rest = tokens[:250], tokens[248:]
    below = test_engram.text(test_engram.TRAIN + test_engram.HELD, 2)
    memory, taught = test_engram.taught(below[: test_engram.TRAIN], below[test_engram.TRAIN :])
    return test_gating.on_bitwise(train, rest), test_gating.on_tiered(train, rest), memory, taught


def gated_chain():
    tokens = test_gating.text()
    train, rest = tokens[:250], tokens[250:256]
    network, memory = test_gating.chain_model(train)
    words = bitwise.examples(bitwise.BitwiseConfig(9, 2, 1, 1), np.append(train[-2:], rest)).words
    turns = gates.turn_openness(KEY, test_gating.GATE, network, 2, train, words)
    order = tiered_layer.rank_tokens(train, 9)
    layer = gates.token_layer(KEY, test_gating.GATE, gates.single_tier(9, 2), order, train)
    votes = gates.votes_by_id(layer, words)
    scores = gates.chain_behind_ram_gates(
        test_gating.GATE, gates.RAM_KINDS, network, memory, rest, turns, votes
    )
    return turns, votes, scores, chain.turns(network, rest)


def agents():
    rows, found = latency.random_agents(KEY, 2, 12, 40), []
    given = agent.Rows(rows.keys, rows.labels, rows.item, rows.time)
    prior = jnp.full((2, 12, 10), 0.3, jnp.float32)
    for change in (
        {},
        {"half_life": 3.0, "prior_weight": 0.7, "contradiction": 18},
        {"read": "hamming", "ties": "random"},
        {"read": "exact", "ties": "majority", "cap": 5},
        {"read": "discrimination", "cap": 5, "eviction": "redundant"},
    ):
        config = agent.AgentConfig(**change)
        learnt = agent.learn(config, agent.empty(2, 2), given)
        for now in (20, np.array([15, 30])):
            found.append(agent.predict(KEY, config, learnt, given.keys, now, prior))
        found += [learnt, agent.replay(KEY, config, agent.empty(2, 2), given)]
        found.append(agent.predict(KEY, config, agent.forget(learnt, agent.before(learnt, 8)), given.keys))
        found.append([agent.with_bit(learnt, 33), agent.widen(learnt, 3), agent.of_items(learnt, [1, 2])])
    return found


def recommendations():
    world = synthetic.world(KEY, 40, 60, 50)
    films = recommender.build_catalogue(KEY, world)
    person = recommender.learn(recommender.new(KEY, films), [3, 9, 20], [5, 0.5, 3.5])
    listed = [(x.film, x.stars, x.people) for x in recommender.recommend(person)]
    asked = [recommender.question(person), listed]
    trial = protocol.divide_and_hold_out(KEY, world, 10, 5)
    fitted = factors.factorise(KEY, factors.FactorConfig(), trial.world, 60)
    told = factors.fold_in(
        fitted, factors.FactorConfig(), trial.tried.film, trial.tried.stars, trial.tried.asked
    )
    return films.keys, films.factors, asked, recommender.expected_stars(person), trial[3:], fitted, told


def recommender_studies():
    from wnn_jax.recommender import cold_start

    world, found = synthetic.world(KEY, 60, 120, 120), []
    one = {"scales": (2.0,), "decays": (0.06,), "shrinks": (3.0,), "hybrid_scales": (2.0,)}
    for whole in (False, True):
        config = cold_start.ColdStartConfig(published=whole, hybrid_weights=(1.0,), **one)
        for entrant in cold_start.entrants(KEY, config, 5, world):
            found.append(protocol.judge(entrant.trial, entrant.recommender))
    found.append(drift.compare(KEY, drift.DriftConfig(before=20, after=20), world))
    found.append(forgetting.compare(KEY, forgetting.ForgettingConfig(), world).found["as rated"][:-1])
    found.append(studies.bucketing(KEY, studies.CategoriesConfig(), world))
    found.append(studies.addition(KEY, studies.CategoriesConfig(), world))
    return found


QUICK = {"ram_layers": ram_layers, "ngrams": ngrams}
LONG = {
    "bitwise_models": bitwise_models,
    "recommendations": recommendations,
    "every_ram_layer": every_ram_layer,
    "every_bitwise_model": every_bitwise_model,
    "tiered_models": tiered_models,
    "searches": searches,
    "every_search": every_search,
    "gated": gated,
    "gated_chain": gated_chain,
    "agents": agents,
    "recommender_studies": recommender_studies,
}
