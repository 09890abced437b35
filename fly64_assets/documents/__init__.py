"""Every JSON and CSV file of a finished condition: what it holds, its schema, formats of numbers.

Paths inside these files are relative to the condition's hub, POSIX; times are UTC. What does not
belong here: deciding what a number is.
"""
