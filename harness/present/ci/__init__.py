"""What a gate leaves for CI: JUnit XML, Markdown, GitHub's error and warning lines, and what `--json` looks like.

All of them show the same rules in the same words, and agree with the exit code: something fails here if and only if
the gate does.
"""

from harness.present.ci.gated import Gated, gated_of
from harness.present.ci.github import github_lines
from harness.present.ci.junit import junit_xml
from harness.present.ci.markdown import gate_markdown
from harness.present.ci.schema import GATE_SCHEMA

__all__ = ["GATE_SCHEMA", "Gated", "gate_markdown", "gated_of", "github_lines", "junit_xml"]
