"""Attacks by somebody who can write to the registry: nothing of a changed version is run, no key is given away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.builders import make_requests
from support.tracked import NAME, mlflow_client, registered
from support.verified import URI, proof_of, refused, sign_again

from mlops import config
from mlops.errors import ConfigError, MlopsError, UntrustedError
from mlops.registry import signature, trust, version_files, versions
from mlops.registry.verification import Expected

Attack = Callable[[Path, str], None]


def payload_in_the_model(version: Path, payload: str) -> None:
    with next(version.glob("code/*/model/duration_model.py")).open("a") as code:
        code.write(payload)


def payload_in_the_loader(version: Path, payload: str) -> None:
    with next(version.glob("code/*/model/__init__.py")).open("a") as code:
        code.write(f"\n{payload}\n")


def another_loader(version: Path, payload: str) -> None:
    (version / "code" / "loader.py").write_text(f"{payload}\nfrom mlops.model import *\n")
    described = (version / "MLmodel").read_text().splitlines()
    changed = ["    loader_module: loader" if "loader_module" in line else line for line in described]
    (version / "MLmodel").write_text("\n".join(changed))


def a_module_that_hides_another(version: Path, payload: str) -> None:
    (version / "code" / "sitecustomize.py").write_text(payload)
    (version / "code" / "holidays.py").write_text(payload)


def a_pickle(version: Path, payload: str) -> None:
    (version / "python_model.pkl").write_bytes(f"cbuiltins\nexec\n(V{payload}\ntR.".encode())
    described = (version / "MLmodel").read_text()
    flavour = "    python_model: python_model.pkl\n    loader_module: mlflow.pyfunc.model"
    (version / "MLmodel").write_text(
        "\n".join(flavour if "loader_module" in line else line for line in described.splitlines())
    )


def bytecode_beside_the_source(version: Path, payload: str) -> None:
    import py_compile

    loader = next(version.glob("code/*/__init__.py"))
    (version / "evil.py").write_text(payload)
    cached = loader.parent / "__pycache__" / "__init__.cpython-311.pyc"
    py_compile.compile(
        str(version / "evil.py"), str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    (version / "evil.py").unlink()


ATTACKS: dict[str, Attack] = {
    f.__name__: f
    for f in (
        payload_in_the_model,
        payload_in_the_loader,
        another_loader,
        a_module_that_hides_another,
        a_pickle,
    )
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_changed_version_runs_nothing(
    attack: str, version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    ATTACKS[attack](version, f"import pathlib; pathlib.Path({str(ran)!r}).touch()")
    assert "since it was signed, " in refused(
        sample_only, tmp_path
    )  # promote, rollback, the end of a training
    known = versions.get(NAME, "1")
    with pytest.raises(MlopsError, match=r"since it was signed, .*; nothing of it was executed"):
        versions.predict(ours(known), make_requests(3), tmp_path / "scored")  # the next training
    assert "gone or changed" in version_files.find_damage(known, tmp_path / "looked at")  # the doctor
    assert not ran.exists()


def ours(version: versions.Version) -> versions.Version:
    return versions.Version(version.name, version.number, version.run_id, {**version.tags, "run_key": "key"})


def test_bytecode_that_python_left_is_neither_refused_nor_run(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    """Whoever loads a version from a store on this machine leaves bytecode in it."""
    ran = tmp_path / "ran"
    bytecode_beside_the_source(version, f"import pathlib; pathlib.Path({str(ran)!r}).touch()")
    assert proof_of(sample_only, tmp_path).passed
    assert not ran.exists()


def test_a_changed_file_with_new_digests_in_the_tags_is_refused(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    (version / "data" / "model" / "model.json").write_text("{}")
    known = versions.get(NAME, "1")
    tag = json.loads(known.tags["signature"])
    forged = json.dumps({**tag, "files": signature.files_in(version)})
    versions.tag(known, {"signature": forged, "artefact_sha256": "ab" * 32})
    try:
        with pytest.raises(UntrustedError, match="its signature is none of this machine's key"):
            proof_of(sample_only, tmp_path)
    finally:
        versions.tag(known, known.tags)


def test_a_signature_is_of_one_version_only(store: Path, artefact: Path, tmp_path: Path) -> None:
    one, other = registered(artefact), registered(artefact, "cd" * 32)
    stolen = versions.tag(other, {"signature": one.tags["signature"]})
    with pytest.raises(
        UntrustedError, match=f"^models:/{NAME}/2: its signature is none of this machine's key"
    ):
        versions.predict(stolen, make_requests(3), tmp_path / "scratch")


def test_a_signature_fits_into_a_tag(store: Path, artefact: Path) -> None:
    assert len(registered(artefact).tags["signature"]) < 4000  # `versions.tag` cuts at 4900


@pytest.mark.parametrize(
    "tag", ["[]", "{", "[" * 4000, '{"files": 1, "hmac": 2}', '{"files": {}, "hmac": "\\ud800"}', "1"]
)
def test_a_damaged_signature_is_named(tag: str, store: Path, artefact: Path) -> None:
    version = versions.tag(registered(artefact), {"signature": tag})
    with pytest.raises(UntrustedError, match=f"If you trust it: .*python -m mlops trust 1 --model {NAME}"):
        version_files.signed_files(version)


# --- The key ------------------------------------------------------------------------------------------------


def test_a_key_that_others_can_read_signs_nothing(store: Path, artefact: Path) -> None:
    registered(artefact)
    key = config.state().registry_key
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"registry\.key: expected a file that only its owner can read"):
        version_files.signed_files(versions.get(NAME, "1"))
    key.chmod(0o600)
    shutil.move(key, store / "elsewhere")
    key.symlink_to(store / "elsewhere")
    with pytest.raises(ConfigError, match=r"registry\.key: this key cannot be read"):
        version_files.signed_files(versions.get(NAME, "1"))


# --- Trust --------------------------------------------------------------------------------------------------


def test_a_version_of_before_is_signed_by_a_person_who_read_what_it_means(
    store: Path, artefact: Path, tmp_path: Path
) -> None:
    version = registered(artefact)
    mlflow_client().delete_model_version_tag(NAME, "1", "signature")
    unsigned = versions.get(NAME, "1")
    with pytest.raises(
        UntrustedError, match="/1: it is not signed: an older release registered it, or somebody"
    ):
        versions.predict(unsigned, make_requests(3), tmp_path / "before")

    said: list[str] = []
    (signed,) = trust.sign(NAME, "all", said.append)
    assert signed.tags["signature"] == version.tags["signature"]
    assert len(versions.predict(signed, make_requests(3), tmp_path / "after")) == 3
    assert "version 1, tested on 2023-06, registered 20" in said[0]
    assert "the code of this checkout" in said[0]
    assert "WARNING: it is newer than the key" in said[0]
    assert "which will run on this machine with your rights" in said[0]
    assert trust.sign(NAME, "all", said.append) == trust.sign(NAME, "1", said.append) == []
    assert len(said) == 1


def test_nothing_is_signed_unless_a_person_agrees(store: Path, artefact: Path) -> None:
    registered(artefact)
    mlflow_client().delete_model_version_tag(NAME, "1", "signature")

    def no(meaning: str) -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match=r"^no$"):
        trust.sign(NAME, "1", no)
    assert "signature" not in versions.get(NAME, "1").tags
    with pytest.raises(ConfigError, match="expected the number of a version"):
        trust.sign(NAME, "everything", no)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("another_loader", "MLmodel names another loader"),
        ("a_module_that_hides_another", r"it has a file code/holidays\.py"),
        ("a_pickle", "MLmodel names another loader"),
    ],
)
def test_nobody_can_sign_what_this_project_does_not_write(
    attack: str, said: str, store: Path, artefact: Path, tmp_path: Path
) -> None:
    registered(artefact)
    mlflow_client().delete_model_version_tag(NAME, "1", "signature")
    (described,) = (store / "artifacts").rglob("MLmodel")
    ATTACKS[attack](described.parent, f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    with pytest.raises(UntrustedError, match=f"^{URI} cannot be signed: .*{said}"):
        trust.sign(NAME, "1", print)
    assert trust.sign(NAME, "all", print) == []
    assert not (tmp_path / "ran").exists()
    assert sign_again(versions.get(NAME, "1"), described.parent).tags["signature"]
