"""Elastic associative memory: values are added up at the locations whose addresses are nearest to their keys.

    memory = eam.create(key, eam.MemoryConfig(), keys, locations=500, width=values.shape[1])
    memory = eam.write(memory, keys, values)
    read = eam.read(memory, queries)

The same memory can be a language model. The states of a teacher, a transformer, are written; a student finds
and reads them; then the teacher is dropped.

    config = dataclasses.replace(eam.SMALL, vocabulary=1024)
    model = eam.fit(key, config, streams.cut(tokens, config.window))
    scores = eam.score(eam.predictor(model), streams.cut(text, config.window))

`compare` scores all parts of the model on the `cut_texts` of a corpus, each also mixed with its nearest
neighbours in the text.

The modules below: `memory` (functions of the memory's arrays), `distill` (teacher and student), `fitted` (the
face of the language model), `stages` (the steps of its `fit`), `knn` and `scoring` (nearest neighbours in the
text itself), `comparison`, `studies` (measurements of the memory alone), `artifact` (a student in few bytes).

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

from wnn_jax.eam.artifact import pack, unpack
from wnn_jax.eam.associative import AssociativeMemory, create, merge, read, write
from wnn_jax.eam.comparison import (
    Difference,
    ScoredPart,
    Transfer,
    compare,
    difference,
    predictor,
    student_predictor,
    transfer,
)
from wnn_jax.eam.config import PRESETS, PUBLISHED, SMALL, EamConfig, LearningConfig, TrunkConfig
from wnn_jax.eam.distill import Predictions, Student, StudentConfig
from wnn_jax.eam.fitted import Eam, fit
from wnn_jax.eam.knn import KnnConfig, MixtureGate
from wnn_jax.eam.memory import MemoryConfig
from wnn_jax.eam.scoring import (
    NeighbourScores,
    TokenScores,
    fit_mixture,
    score,
    score_with_neighbours,
)
from wnn_jax.eam.stages import Patterns, StageStep
from wnn_jax.eam.texts import AMOUNTS, Amounts, EamTexts, cut_texts, memory_bytes

__all__ = [
    "AMOUNTS",
    "PRESETS",
    "PUBLISHED",
    "SMALL",
    "Amounts",
    "AssociativeMemory",
    "Difference",
    "Eam",
    "EamConfig",
    "EamTexts",
    "KnnConfig",
    "LearningConfig",
    "MemoryConfig",
    "MixtureGate",
    "NeighbourScores",
    "Patterns",
    "Predictions",
    "ScoredPart",
    "StageStep",
    "Student",
    "StudentConfig",
    "TokenScores",
    "Transfer",
    "TrunkConfig",
    "compare",
    "create",
    "cut_texts",
    "difference",
    "fit",
    "fit_mixture",
    "memory_bytes",
    "merge",
    "pack",
    "predictor",
    "read",
    "score",
    "score_with_neighbours",
    "student_predictor",
    "transfer",
    "unpack",
    "write",
]
