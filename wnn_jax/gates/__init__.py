"""Gates on language models."""
