"""The study report: one page of a whole study, whole in itself.

``content.py`` says what is shown and takes every number from the study's tables and records,
``pictures.py`` and ``plots.py`` draw, ``page.py`` fills the templates. Nothing here knows Dagster
or where files lie: the asset reads, this room shows.
"""
