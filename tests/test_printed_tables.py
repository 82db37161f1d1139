"""The tables that commands print."""

from experiments.shared import tables


def test_a_number_too_long_for_its_column_does_not_touch_its_neighbour(tmp_path, capsys):
    results = tables.Results(tmp_path, {"experiment": "test"})
    results.add("uniform", ce=5.5452, ppl=256.0, bits_per_byte=8.0, word_ppl=571_825_048_676_264_256.0)
    results.add("best", ce=1.3448, ppl=3.8, accuracy=0.6401, bits_per_byte=1.9401, word_ppl=20_243.8)
    results.print()
    _, uniform, best = capsys.readouterr().out.splitlines()
    assert uniform.split() == ["uniform", "5.5452", "256.0", "-", "8.0000", "5.72e+17", "-"]
    assert best.split() == ["best", "1.3448", "3.8", "64.01%", "1.9401", "20,243.8", "-"]
