"""What is asked: the study file, its settings and rules, conditions, arms, products, folders.

What does not belong here: Dagster, and reading or writing any data file.
"""
