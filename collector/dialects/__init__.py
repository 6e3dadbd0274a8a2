"""Span attributes → the columns of a call. One table a dialect; the order is the precedence.

A span that carries marks of several dialects is read with the first that claims it: OpenInference
and OpenLLMetry set marks of their own, the GenAI conventions are what remains.
"""

from collector.dialects import genai, openinference, openllmetry
from collector.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (openinference.DIALECT, openllmetry.DIALECT, genai.DIALECT)
