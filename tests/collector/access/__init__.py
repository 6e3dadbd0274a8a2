"""Hostile names, random keys and cut-off starts in, precise refusals out."""
