"""Kills, faults, signals, many operators and flipped bits, again and again: nothing may be lost or half published."""
