"""Weightless recommenders: each person has a memory that learns ratings and forgets them exactly.

    films = recommender.build_catalogue(key, movielens.load(folder))
    person = recommender.learn(recommender.new(key, films), ["Alien (1979)", "Big (1988)"], [5, 2])
    print(recommender.recommend(person, top=8))
    person = recommender.forget(person, ["Alien (1979)"])

After `forget` the person gives the same answers, to the last bit, as one who never gave the rating. On a
machine without MovieLens, `synthetic.world` makes up films and ratings.

The modules: `agent` is a person's memory and `reading` is how it answers; `fields` turns films into bits;
`company` makes lists from what people use together; `factors`, `baselines` and `implicit` are the models to
compare with; `session` is a dialogue that rates films; `protocol`, `trials` and `ranking` test recommenders;
`cold_start`, `drift`, `forgetting`, `categories`, `latency` and `lists` are studies.

Source: docs/semantics/recommender.md.
"""

from wnn_jax.recommender import (
    agent,
    baselines,
    categories,
    cold_start,
    company,
    drift,
    factors,
    fields,
    forgetting,
    implicit,
    latency,
    lists,
    protocol,
    ranking,
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
    "company",
    "drift",
    "expected_stars",
    "factors",
    "fields",
    "forget",
    "forgetting",
    "implicit",
    "latency",
    "learn",
    "lists",
    "new",
    "protocol",
    "question",
    "ranking",
    "ratings",
    "recommend",
    "session",
    "synthetic",
    "trials",
]
