"""Texts, tokenizers, windows of a stream, ratings."""
