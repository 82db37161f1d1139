"""Turn documents into a folder of shards: a corpus that other commands read from the disk.

python -m experiments.shards --source=dumps --tokenizer=gpt2 --folder=wiki
python -m experiments.shards --source=stdlib --folder=python
python -m experiments.shards --source='more/*.jsonl' --source=more.parquet --field=body --folder=more
python -m experiments.chain --corpus=wiki --tokenizer=gpt2 --preset=fast --nokneser_ney

The same command goes on where a killed one stopped, and ends with the same files.
"""

import dataclasses
import sys

from experiments.shared import bars
from experiments.shared.commandline import Command, Group
from wnn_jax.data import sharding, shards
from wnn_jax.data.documents import SPLITS, SourceConfig
from wnn_jax.data.shards import ShardConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """The folder to write.

    Attributes:
      folder: the folder of the shards, which --corpus of other commands names; it is made if it is missing.
    """

    folder: str | None = None

    def __post_init__(self):
        if not self.folder:
            raise ValueError("--folder is needed: name the folder of the shards")


def main(options) -> None:
    config, folder = options.shards(source=options.source), options.run.folder
    with bars.bar(folder, unit="source") as show:
        sharding.write(folder, config, lambda step: show(step.stage, step.done, step.total))
    index = shards.about(folder)
    totals = index["totals"]
    print(f"{'':12}{'documents':>12}{'words':>15}{'bytes':>15}{'tokens':>15}")
    for name in SPLITS:
        sizes = (totals[name][key] for key in ("words", "bytes", "tokens"))
        print(f"{name:12}{totals[name]['documents']:>12,}" + "".join(f"{size:>15,}" for size in sizes))
    dropped = totals["dropped"]
    print(
        f"{dropped['lines']:,} lines and {dropped['documents']:,} whole documents of training text were "
        f"dropped, because held-out documents have them too; {dropped['empty']:,} documents were empty"
    )
    print(f"{len(index['shards'])} shards of {len(index['sources'])} sources in {folder}")


COMMAND = Command(
    "shards",
    __doc__,
    main,
    run=Group(Options),
    source=Group(SourceConfig, repeats=("source",)),
    shards=Group(ShardConfig, given=("source",)),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
