"""Parts that commands share: the command line made from configs, tables of results, rows of baselines, pictures."""
