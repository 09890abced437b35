"""The texts about one finished condition: plain dictionaries in, text out.

Words and layout are in ``templates/``.
"""
