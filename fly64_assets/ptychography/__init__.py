"""The science: files, specimens, simulation, overlap and scores, in numpy and scipy alone.

Nothing here knows a network library, Dagster or where results are stored.
"""
