"""Rows behind published numbers, and the pages that are made from them."""
