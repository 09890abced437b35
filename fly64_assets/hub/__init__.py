"""The JSON contracts of a finished condition. Plain dictionaries in, plain dictionaries out.

Paths inside these files are relative to the condition's hub, POSIX; times are UTC.
"""
