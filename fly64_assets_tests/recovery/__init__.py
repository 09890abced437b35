"""Faults put into real runs: what they lose, what they claim falsely, and how long recovery takes.

``site.py`` is a study that may be damaged and what is read of it; ``scenes.py`` the phases to hit;
``kinds.py`` and ``daemon_kinds.py`` the kinds of fault; ``trial.py`` one fault from the injection
to the verdict; ``soak.py`` a long run with random kills; ``table.py`` the table in
``docs/recovery.md``. What is at fault is always the real thing: real processes, a real file system.
"""
