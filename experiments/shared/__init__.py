"""Parts that commands share: command lines made from configs, tables of results, baselines, pictures."""
