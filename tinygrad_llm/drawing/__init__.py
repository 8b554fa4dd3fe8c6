"""The toolkit of all pictures: colours for light and dark pages, shapes in SVG, tables in HTML, lines with axes.

It stands below everything else, so that a Tensor, a graph and a model are all drawn with it.
"""
