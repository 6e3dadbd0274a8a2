"""The same load in, figures and ratios against real peers out."""
