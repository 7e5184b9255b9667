"""YAML files of a training, as hands write them: each fault is said with the file and what to do.

Kinds: tabs, brackets that do not end, another encoding; unknown keys at every level; a key twice,
of which YAML takes the last; a value where a group is expected; an empty file.
"""

import pytest

from lrsa_geo.train import find_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:\n\tpath: s.h5\n", "line 2: no valid YAML .*spaces, never tabs"),
        ("data: {path: s.h5\n", "no valid YAML"),
        ("data: !!python/object:os.x 3\n", "no valid YAML"),
        ("? [a]\n: 3\n", "no valid YAML"),
        ("", "is empty"),
        ("- 1\n", "the whole is .*expected name, seed, data"),
        ("data: s.h5\n", "data is 's.h5', expected path, recipe"),
        ("seeds: 1\n", "no value 'seeds'; did you mean 'seed'"),
        ("model:\n  num_latent: 3\n", "'model.num_latent'; did you mean 'model.num_latents'"),
        ("data:\n  split:\n    tst: 1\n", "'data.split.tst'; did you mean 'data.split.test'"),
        ("seed: 1\ndata:\n  path: s.h5\nseed: 2\n", "line 1: .*'seed' is there twice"),
        ("data:\n  batch_size: 1\n  batch_size: 2\n", "'batch_size' is there twice"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.yaml: .*{message}") as refusal:
        find_config(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(refusal.value)


def test_another_encoding_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("name: größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine\.yaml: is no text in UTF-8"):
        find_config(str(tmp_path / "mine.yaml"))


def test_what_is_valid_passes(tmp_path):
    text = "seed: 1\nmodel:\ndata: {path: a.h5}\nobjective: {field_weights: {p: 1, q: 2}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    assert find_config(str(tmp_path / "mine.yaml"))[0] == "--config"
