"""Everything for people: texts, tables, figures, the study report, previews in the web UI.

What does not belong here: Dagster, numbers of its own, and where files lie.
"""
