"""Commands: flags and clocks in, tables and pictures out. Run as ``python -m experiments.NAME``."""
