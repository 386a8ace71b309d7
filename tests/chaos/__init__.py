"""Kills, faults, signals, many operators and flipped bits: nothing may be lost or half published."""
