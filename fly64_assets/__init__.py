"""fly64_assets: the fly64 dose/overlap study in ptychography as Dagster assets.

Imports run one way: ``cli`` -> ``definitions`` -> ``assets``, ``checks`` -> ``solvers`` ->
``ptychography``. Only the modules that run a network or pty-chi import TensorFlow or torch, inside
the functions that need them, and never both in one process.
"""
