"""Carrying runs out: the runner, the nightly schedule, the executor, dead runs, the servers.

What does not belong here: what is fresh (``pipeline/freshness.py``).
"""
