"""Scores of reconstructions: metrics, registration, areas, intervals."""
