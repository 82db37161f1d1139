"""Weightless recommenders: one memory a person, which learns and forgets as it is used."""
