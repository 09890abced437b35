"""Figures that are files of a condition or of the study."""
