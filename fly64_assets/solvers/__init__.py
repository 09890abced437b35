"""Diffraction to object: one module per solver. TensorFlow and torch are imported only inside.

A solver sees a `interface.Measurement` (never the truth, except what the supervised Baseline is
given to train on) and its own section of the study. Nothing here knows of Dagster or of the store.
"""
