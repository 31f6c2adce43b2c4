"""What stands around the code: hooks, workflows and forms say what the checkout says."""

import importlib.util
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def recipe(target):
    """The commands of a target of the Makefile, as somebody would type them."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1].splitlines()
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in lines]


def steps():
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            for step in job["steps"]:
                yield path, step


def test_hooks_run_what_make_check_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = {hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]}
    # A hook gets names of files, where make says a folder.
    plain = {entry.replace(" --force-exclude", "") for entry in entries}
    commands = recipe("check")
    assert len(commands) > 4
    for command in commands:
        assert command.removesuffix(" .") in plain, command


def test_actions_are_pinned_by_commit_with_their_version_beside():
    uses = [
        line
        for path in WORKFLOWS
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\buses:", line)
    ]
    assert len(uses) > 5
    for line in uses:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_a_checkout_keeps_no_credentials():
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout")]
    assert checkouts
    for step in checkouts:
        assert step["with"]["persist-credentials"] is False


def test_targets_of_make_that_workflows_call_are_there():
    targets = re.findall(
        r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    called = {name for _, s in steps() for name in re.findall(r"\bmake ([\w-]+)", s.get("run", ""))}
    assert called
    assert called <= set(targets)


def test_every_wheel_is_of_a_platform_whose_crates_are_checked():
    spec = importlib.util.spec_from_file_location("third_party", ROOT / "release/third_party.py")
    third_party = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(third_party)
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    wheels = release["jobs"]["wheel"]["strategy"]["matrix"]["include"]
    assert {wheel["target"] for wheel in wheels} == set(third_party.PLATFORMS)
    deny = (ROOT / "deny.toml").read_text(encoding="utf-8")
    listed = re.search(r"^targets = \[\n(.*?)^\]", deny, re.MULTILINE | re.DOTALL)[1]
    assert set(re.findall(r'"([\w-]+)"', listed)) == set(third_party.PLATFORMS)


def test_files_with_owners_are_there():
    lines = (ROOT / ".github/CODEOWNERS").read_text(encoding="utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert len(rules) > 1
    for pattern, *owners in rules:
        assert pattern == "*" or (ROOT / pattern.strip("/")).exists(), pattern
        assert owners
        assert all(owner.startswith("@") for owner in owners), owners


@pytest.mark.parametrize("name", ["bug.yml", "speed.yml", "wish.yml"])
def test_forms_ask_for_something(name):
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    asked = {field["id"] for field in form["body"] if field.get("validations", {}).get("required")}
    assert asked
    labels = [field["attributes"]["label"] for field in form["body"]]
    assert len(set(labels)) == len(labels)


def test_what_miri_interprets_is_there():
    # A filter that matches nothing would leave tests out without a word.
    makefile = (ROOT / "Makefile").read_text()
    filters = re.search(r"^MIRI_TESTS := (.*?)--skip", makefile, re.MULTILINE | re.DOTALL)
    names = filters[1].replace("\\\n", " ").split()
    assert len(names) > 5
    for name in names:
        module = pathlib.Path(ROOT, "rust/core/src", *name.partition("::tests")[0].split("::"))
        files = [module.with_suffix(".rs"), *module.glob("*.rs")]
        assert any("#[test]" in file.read_text() for file in files if file.is_file()), name
