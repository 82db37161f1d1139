"""Elastic associative memory: locations found by content, hidden states laid over each other."""
