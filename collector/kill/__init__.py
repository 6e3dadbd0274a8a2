"""Words of the person on call in, everything stopped and a count of who heard it out."""
