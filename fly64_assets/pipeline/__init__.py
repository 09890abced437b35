"""The Dagster side of making: products as assets and checks, their store, records and freshness.

What does not belong here: starting runs.
"""
