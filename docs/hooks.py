"""What the site adds to the pages of this folder when ``mkdocs build`` reads them.

It shows pages that stand elsewhere in the repository, notebooks among them, sets links between the
pages right, and writes the tables of hyper-parameters from the settings classes.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.stem for path in (ROOT / "examples").glob("*.ipynb"))
# Where a file of the repository stands in the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "results/ml-100k.md": "results/ml-100k.md",
    "results/ml-1m.md": "results/ml-1m.md",
    "results/new_users.md": "results/new_users.md",
    **{f"examples/{name}.ipynb": f"examples/{name}.md" for name in NOTEBOOKS},
}
HYPER_PARAMETERS = re.compile(r"^<!-- hyper-parameters: (\w+) -->$", re.M)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)")
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside this folder."""
    for source, page in PAGES.items():
        if source.endswith(".ipynb"):
            for name, content in _converted(ROOT / source).items():
                files.append(File.generated(config, f"examples/{name}", content=content))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Set links right, and write the tables of hyper-parameters."""
    markdown = LINK.sub(lambda link: _in_site(link[1], page.file.src_uri, files), markdown)
    markdown = markdown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    return HYPER_PARAMETERS.sub(lambda found: _table(found[1]), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave the roles of docstrings out, such as ``:func:`` before a name."""
    return ROLE.sub("", html)


def _converted(notebook: Path) -> dict[str, str | bytes]:
    """A notebook as a page and its pictures, by their names."""
    name = notebook.stem
    exporter = MarkdownExporter()
    body, found = exporter.from_notebook_node(
        nbformat.read(notebook, as_version=4), {"unique_key": name, "output_files_dir": name}
    )
    return {f"{name}.md": body, **found["outputs"]}


def _in_site(link: str, page: str, files: Files) -> str:
    """A link as the site needs it: pages link to files of the repository, so that both work."""
    path, anchor, name = link.partition("#")
    folder = posixpath.dirname(page)
    if files.get_file_from_path(posixpath.normpath(posixpath.join(folder, path))):
        return link
    source = {shown: source for source, shown in PAGES.items()}.get(page, f"docs/{page}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    inside = PAGES.get(target, target.removeprefix("docs/"))
    if files.get_file_from_path(inside) is None:
        raise PluginError(f"{source} links to {link}, which is no page of the site")
    return posixpath.relpath(inside, folder or ".") + anchor + name


def _table(model: str) -> str:
    from recbole_ext.tools.hyperparameters import table

    return f'<div class="hyper-parameters" markdown>\n\n{table(model)}\n\n</div>'
