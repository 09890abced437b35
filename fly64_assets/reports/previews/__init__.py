"""Exhibits: what the web UI shows of a product beside its provenance: pictures, tables, numbers.

``preview.py`` says what an exhibit is, ``drawing.py`` how pictures look, one module a phase what
there is to see, and ``by_product.py`` which function shows which product. Plain arrays, files and
matplotlib: nothing here knows of Dagster (``previews.py`` hands exhibits to it), and nothing here
enters a code version, a fingerprint or a data version. What belongs to the hub (comparison plot,
heat maps, dose response) is drawn elsewhere; here it is only shown.
"""
