"""Tables: CSV files with every kind of bad cell, the published split, and the well-known data sets."""

import gzip

import numpy as np
import pytest

from wnn_jax.data import spreadsheet, tables
from wnn_jax.data.tables import TableConfig

CSV = """size, colour ,"a name, with comma",kind
1,red,?,yes
2.5,blue,-1e3,no
,red,7,yes
4,,8,no
5,green,9,yes
6,red,0,no
"""


def write(tmp_path, text=CSV, name="some.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"csv:{path}"


def load(tmp_path, text=CSV, **settings):
    return tables.load(TableConfig(write(tmp_path, text), **settings))


def test_a_csv_file(tmp_path):
    data = load(tmp_path)
    assert data.names == ("size", "colour", "a name, with comma")
    assert data.categories == {1: ("blue", "green", "red")}
    assert data.labels == ("no", "yes")
    assert (data.X.dtype, data.y.dtype) == (np.float32, np.int32)
    assert (data.X.shape, data.X_test.shape) == ((4, 3), (2, 3))
    assert data.image is None
    assert data.description == (
        "some.csv: 4 training and 2 test rows (a third, shuffled, is the test), 3 features, 2 classes"
    )
    train, test = tables.third(6)
    X, y = np.empty((6, 3), np.float32), np.empty(6, np.int32)
    X[train], X[test], y[train], y[test] = data.X, data.X_test, data.y, data.y_test
    nan = np.nan
    expected = [[1, 2, nan], [2.5, 0, -1000], [nan, 2, 7], [4, nan, 8], [5, 1, 9], [6, 2, 0]]
    assert np.array_equal(X, np.array(expected, np.float32), equal_nan=True)
    assert y.tolist() == [1, 0, 1, 0, 1, 0]


def test_targets_categories_and_compressed_files(tmp_path):
    path = write(tmp_path, gzip.compress(CSV.replace(",", ";").encode("utf-8-sig")), "some.csv.gz")
    text = "a;b;c\r\n10;1;2\r\n9;2;2\r\n10;1;3\r\n"
    data = load(tmp_path, text, target="a", categories=("c",))
    assert data.labels == ("9", "10")  # numbers in the order of their values
    assert data.categories == {1: ("2", "3")}
    data = load(tmp_path, text, target="c", regression=True)
    assert data.y.dtype == np.float32
    assert data.labels == ()
    assert "a number" in data.description
    assert np.array_equal(tables.load(TableConfig(path)).X, load(tmp_path).X, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("", {}, "is empty: give a CSV file"),
        ("a,b\n", {}, "has names of columns, but no rows"),
        ("a,a\n1,2\n", {}, "has two columns 'a'"),
        ("a,b\n1,2\n\n1,2,3\n", {}, "line 4 has 3 cells, but the first line names 2 columns"),
        ('a,b\n"1,2\n', {}, "has wrong quotes"),
        (b"a,b\n\xff,2\n", {}, "line 2 is not UTF-8"),
        ("a,b\n1,x\nred,y\n1,x\n", {}, "line 3, column 'a': 'red' is no finite number; mend"),
        ("a,b\n1,x\ninf,y\n1,x\n", {}, "line 3, column 'a': 'inf' is no finite number"),
        ("a,b\n1,x\n1_0,y\n1,x\n", {}, "line 3, column 'a': '1_0' is no finite number"),
        (
            CSV,
            {"target": "sort"},
            "has no column 'sort': choose one of size, colour, a name, with comma, kind",
        ),
        (CSV, {"categories": ("sort",)}, "has no column 'sort'"),
        (CSV, {"target": "size"}, "line 4 has no value in the target column 'size'"),
        (CSV, {"target": "colour", "regression": True}, "line 2, column 'colour': 'red' is no finite number"),
        ("a,b\n1,x\n2,x\n3,x\n", {}, "has 'x' in the target column 'b': choose"),
        ("a\nx\ny\nz\n", {}, "has no column but the target 'a'"),
        ("a,b\n1,x\n2,y\n", {}, "the table has 2 rows"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, settings, said):
    with pytest.raises(ValueError, match=said) as error:
        load(tmp_path, text, **settings)
    assert "\n" not in str(error.value)


def test_unknown_names_and_missing_files(tmp_path, monkeypatch):
    monkeypatch.delenv("WNN_JAX_DATA", raising=False)
    for config, said in [
        (TableConfig("uci:other"), "unknown data 'uci:other': choose one of digits, mnist"),
        (TableConfig("csv:"), "unknown data 'csv:'"),
        (TableConfig(f"csv:{tmp_path}/none.csv"), "cannot read"),
        (TableConfig("mnist"), "mnist needs the file mnist/train-images-idx3-ubyte.gz: give the folder"),
        (
            TableConfig("uci:letter", data_dir=str(tmp_path)),
            "has no uci/letter.csv.gz, which uci:letter needs",
        ),
        (TableConfig("digits", target="x"), "digits has its own target"),
        (TableConfig("nsl-kdd", target="x"), "nsl-kdd has no target 'x'"),
    ]:
        with pytest.raises(ValueError, match=said):
            tables.load(config)
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + bytes(12) + b"x"))
    with pytest.raises(ValueError, match="is no IDX file of 3 axes"):
        tables.load(TableConfig("mnist", data_dir=str(tmp_path)))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="is damaged"):
        tables.load(TableConfig("mnist", data_dir=str(tmp_path)))


def test_the_split_is_the_one_of_pandas():
    pandas = pytest.importorskip("pandas")
    for rows in (3, 150, 1001):
        order = pandas.DataFrame({"i": np.arange(rows)}).sample(frac=1, random_state=123)["i"].to_numpy()
        train, test = tables.third(rows)
        assert np.array_equal(test, order[: rows // 3])
        assert np.array_equal(train, order[rows // 3 :])


def test_tables_of_scikit_learn():
    pytest.importorskip("sklearn")
    digits = tables.load(TableConfig())
    assert (digits.X.shape, digits.X_test.shape, digits.image) == ((1198, 64), (599, 64), (8, 8))
    iris = tables.load(TableConfig("uci:iris"))
    assert iris.labels == ("setosa", "versicolor", "virginica")
    assert len(iris.X_test) == 50
    assert tables.load(TableConfig("uci:diabetes")).labels == ()


@pytest.mark.parametrize(
    ("name", "train", "test", "features", "classes"),
    [
        ("uci:letter", 13_334, 6_666, 16, 26),
        ("uci:satimage", 4_435, 2_000, 36, 6),
        ("uci:shuttle", 43_500, 14_500, 9, 7),
        ("uci:vehicle", 564, 282, 18, 4),
        ("uci:vowel", 660, 330, 10, 11),
        ("uci:ecoli", 224, 112, 7, 8),
        ("uci:abalone", 2_785, 1_392, 8, 0),
        ("uci:winequality_white", 3_266, 1_632, 11, 0),
    ],
)
def test_the_files_of_uci(data, name, train, test, features, classes):
    found = tables.load(TableConfig(name))
    assert (found.X.shape, found.X_test.shape) == ((train, features), (test, features))
    assert len(found.labels) == classes
    assert np.isfinite(found.X).all()


def test_mnist(data):
    found = tables.load(TableConfig("mnist"))
    assert (found.X.shape, found.X_test.shape, found.image) == ((60_000, 784), (10_000, 784), (28, 28))
    assert found.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert found.X.max() == 255


def test_nsl_kdd(data):
    found = tables.load(TableConfig("nsl-kdd"))
    assert (found.X.shape, found.X_test.shape) == ((25_192, 41), (22_544, 41))
    assert found.labels == ("normal", "attack")
    assert np.bincount(found.y_test).tolist() == [9_711, 12_833]
    assert found.categories[1] == ("icmp", "tcp", "udp")
    assert not {"attack", "level"} & set(found.names)
    family = tables.load(TableConfig("nsl-kdd", target="family"))
    # The numbers that are published for KDDTest+.
    assert np.bincount(family.y_test).tolist() == [9_711, 7_458, 2_421, 2_887, 67]


def test_codes_of_words():
    codes, words = spreadsheet.codes(["b", "a", "", "b"])
    assert words == ("a", "b")
    assert np.array_equal(codes, [1, 0, np.nan, 1], equal_nan=True)
