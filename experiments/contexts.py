"""Search for the context neurons of an online chain model, and measure them on text that chose nothing.

python -m experiments.contexts --corpus=wiki.train.raw --eval_corpus=wiki.test.raw --tokenizer=gpt2

The search begins with the neurons of the model. It reads the training text without its end. The end is read
once, online after all text before it, with the neurons of the start and with those that were found. The test
text is never read.
"""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np

from experiments.shared import bars, plots, searching, tables
from experiments.shared.commandline import Command, Group, plain
from wnn_jax import chain
from wnn_jax.data import text


@dataclasses.dataclass(frozen=True)
class Run:
    """The work of this command besides the search.

    Attributes:
      resume: folder to save the progress to, and to continue from.
    """

    resume: str | None = None


def main(options: Any) -> None:
    settings, seed = options.contexts(), options.common.seed
    workdir = tables.make_workdir(options.common.workdir)
    corpus = text.load(options.text)
    corpus = corpus._replace(test=corpus.test[:0])
    config = options.chain(mode="online")
    about = plain(options, "text")
    about |= {"chain": dataclasses.asdict(config), "contexts": dataclasses.asdict(settings)}
    results = tables.begin("contexts", workdir, corpus, about, seed)
    with bars.bar(unit="step") as on_step:
        show = searching.shown(on_step, settings.run)
        key, resume = jax.random.key(seed), options.run.resume
        found = chain.search_contexts(key, config, corpus, settings, resume=resume, on_step=show)
    result = found.result
    for name, loss, neurons in (
        ("contexts by hand", found.start_loss, found.start),
        ("contexts searched", found.loss, found.neurons),
    ):
        results.add(name, ce=loss, ppl=float(np.exp(loss)), seconds=result.seconds, contexts=list(neurons))
        print(f"{name}: {len(neurons)} neurons, {loss:.4f} nats a token of the text held out")
    gain = found.start_loss - found.loss
    print(f"gain {gain:.4f} +- {found.error:.4f}; {result.seconds:,.0f} s of search")
    print("\n".join(found.neurons))
    results.add(
        "contexts, the search",
        gain=gain,
        error=found.error,
        validation=[result.start_loss, result.loss],
        candidates=sum(line.candidates for line in result.history),
        seconds=result.seconds,
    )
    plots.search_curve(workdir / "contexts.png", result.history)
    print(f"results in {workdir}")


COMMAND = Command(
    "contexts",
    __doc__,
    main,
    text=Group(text.TextConfig),
    chain=Group(chain.ChainConfig, given=("mode", "readout", "without")),
    contexts=Group(
        chain.ContextSearchConfig,
        given=("adapt_every", "adaptation", "cache_mib", "starts", "share"),
    ),
    run=Group(Run),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
