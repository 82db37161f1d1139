"""Classification and regression on tables: encoders, mappings, cells, training, search, and estimators.

Source: docs/semantics/classify.md
"""
