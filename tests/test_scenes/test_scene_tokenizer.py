from itertools import product

import pytest
from transformers import AutoTokenizer

from lira_plugin.scenes.scene_files import SceneFiles, write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.tokens import SpecialTokens, load_tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "data", 16, 2, size=64, progress=False)


def read(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_it_holds_the_special_tokens_after_all_others(files):
    tokenizer, ids, _ = load_tokenizer(read(write_scene_tokenizer(files)), SpecialTokens(add_missing=False))
    assert sorted(ids) == list(range(len(tokenizer) - 4, len(tokenizer)))


def test_it_writes_any_text(files):
    tokenizer = read(write_scene_tokenizer(files))
    for text in ("There is no red circle.", "Größe 漢字 <seg> ok", "<|im_start|>user\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_every_word_of_the_scenes_is_one_token(files):
    tokenizer = read(write_scene_tokenizer(files))
    words = {word.strip(".,?") for text in files.texts() for word in text.split()}
    split = {word for word in words if len(tokenizer(f" {word}")["input_ids"]) > 1}
    assert len(words) > 30 and not split


def test_a_tokenizer_without_the_special_tokens_is_completed_with_the_same_ids(files):
    """As an earlier version wrote it; training then added them, after all others."""
    folder = write_scene_tokenizer(files)
    whole = read(folder)
    text = (folder / "tokenizer.json").read_text()
    assert write_scene_tokenizer(files) == folder and (folder / "tokenizer.json").read_text() == text
    lacking = text.replace('"<image_id>"', '"<other>"')
    assert lacking != text
    (folder / "tokenizer.json").write_text(lacking)
    write_scene_tokenizer(files)
    assert read(folder).get_vocab() == whole.get_vocab()


def test_words_are_one_token_however_many_scenes_there_are(files, monkeypatch, tmp_path):
    """Words that come last among many texts, such as those of questions about told scenes, count as well."""
    texts = [" ".join(words) for words in product(("red", "blue", "star", "ring"), repeat=8)] + ["Is there one?", "yes"]
    assert len(texts) > 50_000
    monkeypatch.setattr(SceneFiles, "texts", lambda self: iter(texts))
    tokenizer = read(write_scene_tokenizer(SceneFiles(tmp_path)))
    assert all(len(tokenizer(word)["input_ids"]) == 1 for word in ("Is", " there", "yes"))
