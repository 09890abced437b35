"""DATA-001: the format of a ptychography dataset, its rules, and NPZ files read without pickle."""
