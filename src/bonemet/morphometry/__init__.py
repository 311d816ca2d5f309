"""Morphometry: bone's standard measures from masks and grey values, by their ASBMR names.

``nomenclature`` is the table of names, units and formulae; ``measuring`` takes a list of names and returns
the measures; the other modules hold one concept each.
"""
