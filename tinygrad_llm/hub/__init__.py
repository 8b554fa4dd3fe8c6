"""Models and corpora that other people made: fetching them, and reading the formats that they come in.

`assets.py` downloads and checks; the readers of formats stand beside it. Nothing is fetched by an import.
"""
