"""Import: a foreign NPZ or HDF5 file, measured or simulated, becomes a DATA-001 NPZ file.

What belongs here is every decision that such a conversion needs, and its record. What is converted
without asking is either stated by the file or settled by its values; all else is a question, a row
of ``questions.py``. The rules of DATA-001 themselves are in ``dataset_rules.py``; the command line
and Dagster do not belong here.
"""
