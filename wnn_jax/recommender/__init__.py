"""Weightless recommenders: one memory for each person, which learns and forgets as it is used.

    films = recommender.build_catalogue(key, movielens.load(folder))
    person = recommender.learn(recommender.new(key, films), ["Alien (1979)", "Big (1988)"], [5, 2])
    print(recommender.recommend(person, top=8))
    person = recommender.forget(person, ["Alien (1979)"])

Forgetting is exact to the last bit. Without data, `synthetic.world` stands in for MovieLens. Below the face:
`agent` (a person's memory; `reading` is how it answers), `fields` (films to bits), `factors` and `baselines`,
`session` (a dialogue that rates films), `protocol` and `trials` (how recommenders are tried), and the studies
`cold_start`, `drift`, `forgetting`, `categories` and `latency`.
"""

from wnn_jax.recommender import (
    agent,
    baselines,
    categories,
    cold_start,
    drift,
    factors,
    fields,
    forgetting,
    latency,
    protocol,
    session,
    synthetic,
    trials,
)
from wnn_jax.recommender.agent import AgentConfig
from wnn_jax.recommender.catalogue import Catalogue, CatalogueConfig
from wnn_jax.recommender.catalogue import build as build_catalogue
from wnn_jax.recommender.person import (
    Person,
    Recommendation,
    expected_stars,
    forget,
    learn,
    new,
    question,
    ratings,
    recommend,
)

__all__ = [
    "AgentConfig",
    "Catalogue",
    "CatalogueConfig",
    "Person",
    "Recommendation",
    "agent",
    "baselines",
    "build_catalogue",
    "categories",
    "cold_start",
    "drift",
    "expected_stars",
    "factors",
    "fields",
    "forget",
    "forgetting",
    "latency",
    "learn",
    "new",
    "protocol",
    "question",
    "ratings",
    "recommend",
    "session",
    "synthetic",
    "trials",
]
