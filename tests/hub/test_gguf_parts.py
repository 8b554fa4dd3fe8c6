"""A model split over several GGUF files: any part loads all, and what does not fit together is named."""

import re

import gguf
import pytest
from tiny_models import same_bytes, tiny_network

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import mapping
from tinygrad_llm.hub.gguf import GGUFFile
from tinygrad_llm.hub.gguf_config import config_to_gguf
from tinygrad_llm.hub.gguf_model import _arrays, _text_metadata
from tinygrad_llm.hub.gguf_parts import open_gguf
from tinygrad_llm.hub.pretrained import Pretrained


@pytest.fixture
def split(tmp_path, words):
    """A function that writes a model in parts, with changed `split` entries of some; returns their paths."""
    network = tiny_network("llama", words.vocab_size)
    metadata = config_to_gguf(network.config) | _text_metadata(Pretrained(network, words, None, (), None))
    arrays = list(_arrays(network, mapping(network.config, "gguf")))

    def write(count=3, name="tiny-{no:05d}-of-{count:05d}.gguf", **changes):
        paths = []
        for no in range(count):
            path = tmp_path / name.format(no=no + 1, count=count)
            writer = gguf.GGUFWriter(path, "llama")
            if no == 0:
                for key, value in metadata.items():
                    if isinstance(value, list):
                        writer.add_array(key, value)
                    elif key != "general.architecture":
                        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
            entries = {"no": no, "count": count, "tensors.count": len(arrays)} | changes.get(f"part_{no}", {})
            for key, value in entries.items():
                if value is not None:
                    writer.add_key_value(f"split.{key}", value, gguf.GGUFValueType.UINT16)
            for tensor, array in changes.get(f"arrays_{no}", arrays[no::count]):
                writer.add_tensor(tensor, array)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            paths.append(path)
        return paths

    write.network, write.arrays = network, arrays
    return write


def test_any_part_and_the_folder_load_the_whole_model(split, tmp_path):
    paths = split()
    assert all(len(GGUFFile(path).tensors) < len(split.arrays) for path in paths)
    for place in (*paths, tmp_path):
        assert same_bytes(tg.load(place).network, split.network)


def test_a_model_in_one_part_needs_no_name(split):
    (path,) = split(1, "tiny.gguf")
    assert same_bytes(tg.load(path).network, split.network)


def test_a_missing_part_is_named(split):
    paths = split()
    paths[1].unlink()
    with pytest.raises(InputError, match=r"one of 3 parts of a model, and tiny-00002-of-00003.gguf is not beside it"):
        tg.load(paths[0])
    paths[0].unlink()
    with pytest.raises(InputError, match=r"tiny-00001-of-00003.gguf and 1 more are not beside it. Fetch all parts"):
        tg.load(paths[2])


def test_a_second_model_in_the_folder_is_not_taken_for_a_part(split, tmp_path):
    paths = split()
    (tmp_path / "other.gguf").write_bytes(paths[0].read_bytes())
    with pytest.raises(InputError, match="has 4 GGUF files"):
        tg.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "tiny{no}-{count}.gguf"}, "is one of 3 parts of a model, and is not named like one"),
        ({"part_1": {"no": 2}}, "should be part 2 of 3, and has split.no 2 and split.count 3"),
        ({"part_2": {"count": 4}}, "should be part 3 of 3, and has split.no 2 and split.count 4"),
        ({"part_2": {"count": None, "no": None}}, "should be part 3 of 3, and has split.no null and split.count null"),
        ({"part_0": {"tensors.count": 99}}, "the parts should have 99 tensors, and have 21"),
        ({"arrays_1": []}, "the parts should have 21 tensors, and have 14"),
        ({"part_0": {"count": 2}}, "is one of 2 parts of a model, and is not named like one"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(split, changes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        open_gguf(split(**changes)[0])


def test_a_tensor_in_two_parts_is_refused(split):
    with pytest.raises(InputError, match="is in another part as well"):
        open_gguf(split(arrays_1=split.arrays[:1])[0])


def test_a_number_of_parts_that_is_none_is_refused(split):
    path = split(1, "tiny.gguf")[0]
    for count in (-1, 2**40, "three", [3]):
        file = GGUFFile(path)
        file.metadata["split.count"] = count
        with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match="split.count must be an integer"):
            patch.setattr("tinygrad_llm.hub.gguf_parts.GGUFFile", lambda _, file=file: file)
            open_gguf(path)
