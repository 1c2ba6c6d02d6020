"""`parity.certify` on networks with one wrong convention each, and on right ports."""
