"""The documents say what the product has: its codes, its calls, the keys of /etc/sriov.conf; and their links
lead somewhere."""

import ast
import glob
import importlib.machinery
import importlib.util
import os
import re
from typing import Dict, Iterator, List, Optional, Set, Tuple

import pytest
from sriovlib.calls.table import FUNCTIONS
from sriovlib.config import ini, sriov_conf, vf_settings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = sorted(glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "docs/*.md")))
CODE = re.compile(r"[A-Z][A-Z0-9_]{3,}")
# Words in capitals that are no codes of ours: xapi's errors, and keys of files and records.
OTHERS = set(
    "HANDLE_INVALID HOST_DISABLED MAP_DUPLICATE_KEY SESSION_INVALID UUID_INVALID XENAPI_MISSING_PLUGIN "
    "OPERATION_BLOCKED VM_HAS_PCI_ATTACHED VM_IS_IMMOBILE XAPI_HOOK_FAILED "
    "XENAPI_PLUGIN_FAILURE ENOENT DEVICE_DETACH_REJECTED EVENT_FROM_TOKEN_PARSE_FAILURE VM_NON_SUSPENDABLE "
    "DRIVER GUID ID_FS_TYPE INSTALLATION_UUID MANAGEMENT_INTERFACE PCI_CLASS PCI_ID PRODUCT_BRAND "
    "PATH PRODUCT_VERSION SRIOV_ SRIOV_DEBUG VLAN".split()
)
INNER = {"NOT_FOUND"}  # of problems that only become part of an error's sentence
SHORTENED = {"BOOT_CONFIG"}  # the error SRIOV_BOOT_CONFIG as `status` shows it


def read(*path: str) -> str:
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def rows(text: str) -> Iterator[List[str]]:
    """The cells of all tables."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def sections(text: str) -> Dict[str, str]:
    """What follows each `## ` heading."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


# -- links -------------------------------------------------------------------------------------------------


def anchors(text: str) -> Set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=[os.path.relpath(path, ROOT) for path in DOCUMENTS])
def test_relative_links_lead_to_a_file_and_a_heading_in_it(path: str) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", read(path)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = os.path.join(os.path.dirname(path), name) if name else path
        if not os.path.exists(target) or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=[os.path.relpath(path, ROOT) for path in DOCUMENTS])
def test_rows_of_a_table_have_as_many_cells_as_its_head(path: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", read(path), flags=re.MULTILINE)
    uneven = [
        row
        for head, *others in (table.splitlines() for table in tables)
        for row in others
        if len(re.findall(r"(?<!\\)\|", row)) != len(re.findall(r"(?<!\\)\|", head))
    ]
    assert uneven == []


def test_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 200


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_and_folders_in_the_text_exist(name: str) -> None:
    named = set(re.findall(r"`([a-z0-9_./-]+/[a-z0-9_.-]*|[a-z0-9_/-]+\.py)`", read(name)))
    places = [ROOT, os.path.join(ROOT, "plugins/sriovlib"), os.path.join(ROOT, "scripts/sriovctl")]
    gone = [
        one
        for one in named
        if not one.startswith(("/", "build/"))  # targets make what is in there
        and not any(os.path.exists(os.path.join(place, one)) for place in places)
    ]
    assert gone == []


# -- codes -------------------------------------------------------------------------------------------------


def capitals_in_code() -> Set[str]:
    """All text constants in capitals."""
    found = set()
    for path in glob.glob(os.path.join(ROOT, "plugins/**/*.py"), recursive=True):
        for node in ast.walk(ast.parse(read(path))):
            member = {"Constant": "value", "Str": "s"}.get(type(node).__name__, "")  # Str: before Python 3.8
            text: Optional[object] = getattr(node, member, None)
            if isinstance(text, str) and CODE.fullmatch(text):
                found.add(text)
    return found


def test_errors_document_has_each_code_of_the_source_and_no_other() -> None:
    documented = [
        code for row in rows(read("docs/errors.md")) for code in re.findall(r"`([A-Z0-9_]+)`", row[0])
    ]
    assert sorted(set(documented)) == sorted((capitals_in_code() - OTHERS - INNER) | SHORTENED)


def test_sentences_about_the_boot_configuration_are_those_of_the_source() -> None:
    quoted = re.findall(r'^\| "([^"]*)"', read("docs/operations.md"), re.MULTILINE)
    source = "".join(read(path) for path in glob.glob(os.path.join(ROOT, "plugins/sriovlib/boot/*.py")))
    assert len(quoted) == 6
    assert [phrase for phrase in quoted if phrase not in source] == []


# -- calls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_calls_document_has_each_call_with_its_arguments(name: str) -> None:
    (section,) = [text for heading, text in sections(read("docs/calls.md")).items() if f"`{name}`" in heading]
    settings = set(vf_settings.NAMES) if "configure_vf" in section else set()
    assert f"fn={name}" in section or name == "disable_iommu"
    assert [
        one for one in FUNCTIONS[name].arguments if one not in settings and f"`{one}" not in section
    ] == []


# -- sriov.conf --------------------------------------------------------------------------------------------

CONF = sections(read("docs/sriov.conf.md"))
HEADINGS = {"[host]": "host", "[boot]": "boot", "[pf ADDRESS]": "pf 07:00.0"}
VF_HEADING, VF = "[vf ADDRESS NUMBER]", "vf 07:00.0 1"


def errors(section: str, line: str) -> List[str]:
    return list(sriov_conf.interpret(ini.parse(f"[{section}]\n{line}\n")).errors)


def keys(heading: str) -> List[str]:
    return [row[0].strip("`") for row in rows(CONF[heading])]


@pytest.mark.parametrize("heading", sorted(HEADINGS))
def test_conf_document_has_each_key(heading: str) -> None:
    (error,) = errors(HEADINGS[heading], "unknown = 1")
    assert sorted(keys(heading)) == sorted(error.partition("it has ")[2].split(", "))


def test_conf_document_has_each_setting_of_a_vf() -> None:
    assert keys(VF_HEADING) == list(vf_settings.NAMES)


def values(row: List[str]) -> Tuple[List[str], List[str]]:
    """Values that the row's type and range accept, and some that they do not."""
    kind, accepted = row[1], row[2]
    numbers = re.fullmatch(r"(\d+) to (\d+)", accepted)
    if numbers:
        return [numbers.group(1), numbers.group(2)], [str(int(numbers.group(2)) + 1), "-1", "auto"]
    return {
        "boolean": ("yes true on 1 no false off 0".split(), ["auto", "2"]),
        "number": (["0", "1000"], ["-1", "many"]),
        "word": (re.findall("`([^`]*)`", accepted), ["1", "other"]),
        "MAC": (["02:1B:21:00:00:05"], ["02:1b:21:00:00", "0"]),
        "GUID": (["f4:52:14:03:00:7b:cb:a1"], ["02:1b:21:00:00:05"]),
        "text": (["1"], []),
    }[kind]


@pytest.mark.parametrize(
    ("section", "row"),
    [
        (section, row)
        for heading, section in [*HEADINGS.items(), (VF_HEADING, VF)]
        for row in rows(CONF[heading])
    ],
    ids=lambda one: one if isinstance(one, str) else one[0],
)
def test_conf_document_has_the_range_of_a_key(section: str, row: List[str]) -> None:
    key = row[0].strip("`")
    beside = "vlan = 5\n" if "needs `vlan`" in row[4] else ""
    accepted, refused = values(row)
    for value in accepted:
        assert errors(section, f"{beside}{key} = {value}") == []
    for value in refused:
        assert errors(section, f"{beside}{key} = {value}") != []


def test_man_page_has_each_section_and_key() -> None:
    loader = importlib.machinery.SourceFileLoader("man_page", os.path.join(ROOT, "scripts/man-page"))
    spec = importlib.util.spec_from_loader("man_page", loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    page: List[str] = script.page(read("docs/sriov.conf.md"), "2026-11-28", "0.1.0").splitlines()
    assert page[0] == '.TH SRIOV.CONF 5 "2026-11-28" "xapi-sriov 0.1.0"'
    assert [line[4:] for line in page if line.startswith(".SH ")][2:4] == ["[host]", "[pf ADDRESS]"]
    assert {f"\\fB{key}\\fR" for heading in HEADINGS for key in keys(heading)} <= set(page)
    assert not any("`" in line or "](" in line for line in page)
