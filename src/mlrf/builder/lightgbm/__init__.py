"""LightGBM's text format (v2 to v4), read by ourselves: no LightGBM is needed to read a model file.

text (sections, whole or refused) → tree (one block of fields) → forest (the IR), objective (task and link), features
(names, kinds, categories); `reader` puts them together and `source` finds the text in a path, a Booster or a wrapper.
"""
