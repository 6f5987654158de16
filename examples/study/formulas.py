"""The formulas of the docstrings, typeset: their plain text to LaTeX, and that to MathML.

The notation is the one the docstrings share: names as in the code, `x_hat`, `beta1^t`, `<x>` for a
mean over the batch, `a / b`, `sqrt(...)`, `<-` for an assignment, words in between. Browsers draw
MathML by themselves, without a script or a font from elsewhere. The code's names stay whole, so a
reader finds them again in the columns below.
"""

from __future__ import annotations

import re
from html import escape

from latex2mathml.converter import convert

GREEK = "alpha beta gamma delta epsilon eta kappa lambda mu nu pi rho sigma tau phi theta omega"
GREEK_NAMES = frozenset(GREEK.split())
FUNCTIONS = frozenset("exp log max min tanh cos sin det".split())
WORDS = frozenset(
    "after all and at before by each else first for from here if in is its of on one or other "
    "otherwise outside over per than that the then these to under when where which with "
    "without".split()
)
RELATIONS = {
    "<-": r"\leftarrow",
    "->": r"\rightarrow",
    "<=": r"\le",
    ">=": r"\ge",
    "!=": r"\ne",
    "==": "=",
    "+=": r"\text{ += }",
    "-=": r"\text{ -= }",
    "~": r"\sim",
    "<": "<",
    ">": ">",
    "=": "=",
}
TOKEN = re.compile(
    r"(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z]\w*)*(?:'s\b)?)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<text>\"[^\"]*\")|(?P<op><-|->|<=|>=|!=|==|\+=|-=|\.\.\.|\S)"
)


def mathml(line: str) -> str:
    """One line of a formula as MathML, its parts set apart where the line has gaps."""
    parts = [f"<span>{_part(part)}</span>" for part in _parts(line)]
    return f'<div class="formula" role="math" aria-label="{escape(line.strip())}">' + (
        "".join(parts) + "</div>"
    )


def _parts(line: str) -> list[str]:
    """What stands between gaps of two spaces; gaps that only align signs are none."""
    line = re.sub(r" +(?=(=|<-|\+=|[-+*/]) )", " ", line.strip())
    line = re.sub(r"(?<= [-+*/=]) +", " ", line)
    return [part for part in re.split(r" {2,}", line) if part]


def _part(part: str) -> str:
    if _is_prose(part):
        return escape(part)
    typeset = convert(latex(part))
    return typeset.replace('display="inline"', 'displaystyle="true" aria-hidden="true"')


def _is_prose(part: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", part)
    signs = re.findall(r"[=^]|<-|[-+*/] |sqrt|\d/\d|\w\(", part)
    return len(words) > 8 * len(signs) if "=" not in part else False


def latex(formula: str) -> str:
    """A formula in the docstrings' notation as LaTeX."""
    tokens = [(m.lastgroup or "", m.group(), m.start()) for m in TOKEN.finditer(formula)]
    return _Parser(tokens).line()


class _Parser:
    """By recursive descent; what it does not know it sets as it stands."""

    def __init__(self, tokens: list[tuple[str, str, int]]) -> None:
        self.tokens, self.i = tokens, 0

    # ---- looking ahead ---------------------------------------------------------------------

    def peek(self, k: int = 0) -> str:
        at = self.i + k
        return self.tokens[at][1] if 0 <= at < len(self.tokens) else ""

    def take(self) -> tuple[str, str]:
        kind, text, _ = self.tokens[self.i]
        self.i += 1
        return kind, text

    def touches(self) -> bool:
        """Whether the next token stands right behind the last one."""
        _, text, start = self.tokens[self.i - 1]
        return self.i < len(self.tokens) and self.tokens[self.i][2] == start + len(text)

    # ---- from whole lines down to single signs ------------------------------------------------

    def line(self) -> str:
        found = []
        while self.i < len(self.tokens):
            found.append(self.expression(""))
            if self.i < len(self.tokens):  # a bracket that nothing opened
                found.append(_plain(self.take()[1]))
        return " ".join(found)

    def expression(self, closer: str) -> str:
        """Terms and the signs between them, up to `closer`."""
        found: list[str] = []
        while self.i < len(self.tokens) and self.peek() != closer and self.peek() not in ")]":
            text = self.peek()
            if text in RELATIONS and not (text == "<" and self._opens_mean(found)):
                found.append(RELATIONS[self.take()[1]])
            elif text in ("+", "-"):
                found.append(self.take()[1])
            elif text in (",", ";"):
                found.append(self.take()[1] + r"\;")
            elif text == ":":
                self.take()
                found.append(r"\text{: }")
            else:
                found.append(self.term(closer))
        return " ".join(found)

    def _opens_mean(self, before: list[str]) -> bool:
        """A `<` where a value is wanted opens a mean; behind a value it says "less than"."""
        after_value = before and before[-1] not in ("+", "-", "=", *RELATIONS.values())
        return not after_value and any(t[1] == ">" for t in self.tokens[self.i :])

    def term(self, closer: str) -> str:
        """Factors; a slash makes a fraction of all that stands before it, back to a word."""
        above = [self.factor()]
        while self.i < len(self.tokens) and self.peek() != closer:
            text = self.peek()
            if text == "/":
                self.take()
                below = self.factor(whole=False)
                start = max((k + 1 for k, f in enumerate(above) if _is_word(f)), default=0)
                top = _product(above[start:]) if above[start:] else ""
                above[start:] = [rf"\frac{{{_bare(top)}}}{{{_bare(below)}}}"]
            elif text in ("*", "@"):
                self.take()
                above.append(self.factor(whole=False))
            elif text in RELATIONS or text in "+-,;:)]" or text == "|" and closer == "|":
                break
            else:
                above.append(self.factor())
        return _product(above)

    def factor(self, whole: bool = True) -> str:
        if self.peek() in ("-", "+") and not whole:
            return self.take()[1] + self.factor(whole=False)
        base = self.atom(whole)
        if self.peek() == "^":
            self.take()
            base = rf"{{{base}}}^{{{_bare(self.factor(whole=False))}}}"
        return base

    def atom(self, whole: bool) -> str:
        if self.i >= len(self.tokens):
            return ""
        kind, text = self.take()
        if kind == "name":
            return self.name(text)
        if kind == "text":
            return _plain(text)
        if text in ("(", "[", "<"):
            closer = {"(": ")", "[": "]", "<": ">"}[text]
            inner = self.expression(closer)
            if self.peek() == closer:
                self.take()
            left, right = {"(": "()", "[": "[]", "<": (r"\langle ", r"\rangle ")}[text]
            return rf"\left{left}{inner}\right{right}"
        if text == "|":
            inner = self.expression("|")
            if self.peek() == "|":
                self.take()
            return rf"\left|{inner}\right|"
        if text == "...":
            return r"\dots"
        if kind == "number":
            return re.sub(r"^1e(.*)", r"10^{\1}", text)
        return _plain(text)

    def name(self, text: str) -> str:
        following = self.peek()
        if text in ("sum", "prod") or text.startswith("sum_") and len(text) <= 6:
            if following == "of":
                self.take()
            sign = r"\prod" if text == "prod" else r"\sum"
            return sign + (rf"_{{{text[4:]}}}" if text.startswith("sum_") else "") + self.rest()
        if text == "sqrt" and following == "(":
            return rf"\sqrt{{{_bare(self.atom(False))}}}"
        if text in FUNCTIONS:
            applied = self.factor() if following and following not in "^*/+-,:)" else ""
            return rf"\{text} {applied}"
        article = text == "a" and len(following) > 1 and following.isalpha()
        if article or text in WORDS or text.endswith("'s") or self.in_prose(text):
            return rf"\text{{ {text} }}"
        if following in ("(", "["):
            if self.touches():
                return symbol(text) + self.atom(False)
            if len(text) > 1 and text.isalpha():  # "mean (a + b) / 2": no call, a word
                return rf"\text{{ {text} }}"
        return symbol(text)

    def in_prose(self, text: str) -> bool:
        """Whether it is a word beside another word, with no sign between them."""
        if len(text) < 2 or not text.isalpha() or not text.islower():
            return False
        near = self.tokens[max(self.i - 2, 0) : self.i - 1] + self.tokens[self.i : self.i + 1]
        return any(kind == "name" and len(word) > 1 for kind, word, _ in near) and not (
            self.peek(-2) in FUNCTIONS or self.peek(-2).startswith("sum_")
        )

    def rest(self) -> str:
        """What a sum goes over: the product behind it."""
        found = [self.factor(whole=False)]
        while self.peek() == "*":
            self.take()
            found.append(self.factor(whole=False))
        return " " + _product(found)


def symbol(name: str) -> str:
    """A name of the code: Greek letters and one-letter subscripts set as such, words upright."""
    if name.endswith(".T"):
        return rf"{{{symbol(name[:-2])}}}^{{\top}}"
    if name.endswith("_hat"):
        return rf"\hat{{{symbol(name[:-4])}}}"
    base, _, below = name.partition("_")
    if digits := re.fullmatch(r"([A-Za-z]+?)(\d+)", name):
        return rf"{{{symbol(digits[1])}}}_{{{digits[2]}}}"
    if below and (len(base) == 1 or base in GREEK_NAMES or len(below) == 1 or below == "ic"):
        return rf"{{{symbol(base)}}}_{{{below if len(below) <= 2 else _upright(below)}}}"
    if name in GREEK_NAMES:
        return rf"\{name}"
    return name if len(name) == 1 else _upright(name)


def _upright(name: str) -> str:
    return rf"\mathrm{{{name}}}".replace("_", r"\_")


def _plain(text: str) -> str:
    return rf"\text{{{text}}}".replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")


def _product(factors: list[str]) -> str:
    """Factors side by side, a dot between them, none around words."""
    found = factors[0]
    for before, factor in zip(factors, factors[1:], strict=False):
        worded = _is_word(before) or _is_word(factor)
        found += (" " if worded else r" \cdot ") + factor
    return found


def _is_word(factor: str) -> bool:
    return factor.startswith(r"\text{")


def _bare(latex_text: str) -> str:
    """Without the parentheses around all of it, which a fraction or a root makes needless."""
    if latex_text.startswith(r"\left(") and latex_text.endswith(r"\right)"):
        depth = 0
        for m in re.finditer(r"\\(left|right)([()\[\]|]|\\[lr]angle)", latex_text):
            depth += 1 if m[0].startswith(r"\left") else -1
            if depth == 0 and m.end() < len(latex_text):
                return latex_text
        return latex_text[6:-7]
    return latex_text
