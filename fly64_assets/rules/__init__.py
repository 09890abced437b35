"""What must hold of a condition's files, in the store and in an exported hub.

What does not belong here: Dagster, who calls a rule, and the code that writes what it judges.
"""
