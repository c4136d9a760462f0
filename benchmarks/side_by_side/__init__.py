"""The questions of peers.py; in peers/ lies the other side: plain scripts that know nothing of streetlab."""
