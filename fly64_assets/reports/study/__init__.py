"""The study report: one page of a whole study, whole in itself.

``inputs.py`` says what a report is made from, ``content.py`` what is shown of it, ``scores.py``
gives every number with the row that it is from, ``pictures.py`` and ``plots.py`` draw, ``page.py``
fills the templates. Nothing here knows Dagster or where files lie: the asset reads, this room
shows.
"""
