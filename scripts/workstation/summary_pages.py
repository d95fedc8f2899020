"""A summary as text for a terminal, and as Markdown for the comment on a pull request."""

import re

from scripts.workstation.summary import Section, Summary

# By this line a workflow finds the comment that it has made before (scripts/ci/comment.sh).
MARK = "<!-- central-data-platform: preview -->"
# A comment holds 65,536; the rest is left for what a workflow writes around it.
MOST_BYTES = 64_000
MOST_OF_SUMMARY = 40_000
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def as_text(summary: Summary) -> str:
    """For a terminal."""
    lines = [summary.headline]
    for section in summary.sections:
        lines.append(f"  {_title(section)}")
        lines += [f"    {'! ' if section.loud else '- '}{line}" for line in section.lines]
    return "\n".join(lines)


def _title(section: Section) -> str:
    return f"{section.title}!" if section.loud else section.title


def as_markdown(summary: Summary, *, stack: str, printed: str) -> str:
    """For a comment: `printed` is what pulumi has printed, the difference above all."""
    lines = [f"**{_escaped(summary.headline)}**", ""]
    for section in summary.sections:
        lines += [f"### {_escaped(_title(section))}", ""]
        lines += [
            f"- {'**' if section.loud else ''}{_escaped(line)}{'**' if section.loud else ''}"
            for line in section.lines
        ]
        lines.append("")
    head = f"{MARK}\n## Preview of stack {_escaped(stack)}\n\n"
    told = _cut("\n".join(lines), MOST_OF_SUMMARY, stack)
    fence = "`" * max(3, 1 + max((len(row) for row in re.findall("`+", printed)), default=0))
    begin = f"\n<details><summary>What pulumi printed</summary>\n\n{fence}text\n"
    end = f"\n{fence}\n\n</details>\n"
    room = MOST_BYTES - len(f"{head}{told}{begin}{end}".encode())
    return f"{head}{told}{begin}{_cut(printed.strip(), room, stack)}{end}"


def _escaped(text: str) -> str:
    """Text that stays what it is in Markdown, and that calls nobody by an @."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("@", "@<!-- -->")


def _cut(text: str, most: int, stack: str) -> str:
    """At most so many bytes, ending with a whole line, and with a sentence where that is not all."""
    whole = text.encode()
    if len(whole) <= most:
        return text
    sentence = f"\n(cut off here: a comment holds no more than 65,536 characters; all of it: make preview STACK={stack} ARGS=--diff)\n"
    kept = whole[: most - len(sentence.encode())]
    return kept[: kept.rfind(b"\n") + 1].decode(errors="ignore").rstrip("\n") + sentence
