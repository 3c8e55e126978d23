"""A step refuses to run with code that is no longer the one on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops import config
from mlops.errors import ConfigError
from mlops.pipeline import code_checks, run_key
from mlops.training import own_feature_checks, search_space

FILE = "mlops/model/own_features.py"
TEXT = '"""Own features."""\n\nOWN_FEATURES = ()\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a small project that this process has loaded."""
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    (tmp_path / "mlops" / "config.py").write_text("pass\n")  # changes no result by itself
    for module in (run_key, code_checks):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    monkeypatch.setattr(run_key, "CODE", ("mlops/model",))
    monkeypatch.setattr(code_checks, "LOADED", code_checks.stamps())
    return path


def refusal() -> str:
    with pytest.raises(ConfigError) as refused:
        code_checks.require_usable()
    return str(refused.value)


def test_changed_code_is_refused_with_the_way_on(file: Path) -> None:
    code_checks.require_usable()
    file.write_text(TEXT.replace("()", "(1,)"))
    assert refusal() == (
        "mlops/model/own_features.py changed after this process had loaded it, so this step would use the old "
        "code. In Mage's editor choose Run, Restart kernel, then run the blocks again from the first one. "
        "Elsewhere start the program again"
    )
    file.write_text(TEXT)  # changed back
    code_checks.require_usable()


def test_a_file_that_is_gone_is_a_change(file: Path) -> None:
    file.unlink()
    assert refusal().startswith(f"{FILE} changed")


def test_all_changed_files_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = file.with_name("features.py")
    other.write_text(TEXT)
    monkeypatch.setattr(code_checks, "LOADED", code_checks.stamps())
    for path in (file, other):
        path.write_text("changed = True\n")
    assert refusal().startswith("mlops/model/features.py, mlops/model/own_features.py changed after")


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.replace("Own", "My own"), f"# mine\n{TEXT}", TEXT.replace("\n", "\r\n")]
)
def test_a_file_that_does_the_same_is_no_change(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    later = time.time() + 100
    os.utime(file, (later, later))
    code_checks.require_usable()


def test_code_that_decides_nothing_may_change(file: Path) -> None:
    (file.parents[1] / "config.py").write_text("raise SystemExit\n")
    code_checks.require_usable()


def test_unchanged_files_are_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    code_checks.require_usable()


def test_this_process_knows_the_files_that_decide() -> None:
    loaded = {path.relative_to(config.PROJECT).as_posix() for path in code_checks.stamps()}
    assert {FILE, "mlops/training/search_space.py", "mlops/pipeline/steps.py"} <= loaded
    assert all(name.startswith("mlops/") for name in loaded)
    assert "mlops/pipeline/code_checks.py" not in loaded


def test_features_of_other_code_are_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {name: tmp_path / f"{name}.parquet" for name in ("before", "now", "unknown")}
    codes = {"before": code_checks.feature_code(), "unknown": ""}
    file.write_text(TEXT.replace("()", "(1,)"))
    codes["now"] = code_checks.feature_code()
    for name, path in written.items():
        pq.write_table(pa.table({}, schema=pa.schema([], {"code": codes[name]})), path)

    code_checks.require_features_of_this_code([written["now"], written["unknown"]])
    with pytest.raises(ConfigError) as refused:
        code_checks.require_features_of_this_code(list(written.values()))
    assert str(refused.value) == (
        "before.parquet: expected features that the present code computed; got features of other code. Run "
        "build_features again, then this step"
    )


def test_own_features_and_the_search_space_are_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (own_feature_checks, search_space):
        with monkeypatch.context() as patch:
            patch.setattr(module, "require_usable", lambda: (_ for _ in ()).throw(ConfigError("not usable")))
            assert refusal() == "not usable"
