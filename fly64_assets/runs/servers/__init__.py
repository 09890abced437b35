"""The web UI's servers: supervised, guarded, and handing out the study's files."""
