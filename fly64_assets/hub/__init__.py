"""A finished condition outside its store: export, RO-Crate, the process that verifies it, lineage.

What does not belong here: rules and reports.
"""
