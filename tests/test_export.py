"""Exported models: every score that a compiled or simulated model gives is the one of Python."""

import shutil

import numpy as np
import pytest
import tables

from wnn_jax import export
