"""The words and signs that the strict engine knows."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp")
GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "pi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi "
    "Psi Omega"
)
NO_UNIT = _words(
    "a an and any are at between but else for if is least less many more most no not of only or "
    "other otherwise per than to up when where with"
)
"""Words that say more than a unit."""
SAME = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "frac"),
    **dict.fromkeys(("dbinom", "tbinom"), "binom"),
    **dict.fromkeys(("leq", "leqslant"), "le"),
    **dict.fromkeys(("geq", "geqslant"), "ge"),
    "neq": "ne", "lt": "<", "gt": ">", "varnothing": "emptyset", "degree": "°", "lbrace": "\\{",
    "rbrace": "\\}", "lvert": "lvert", "ast": "*", "mid": "|", "vert": "|",
    "mp": "pm", "inf": "infty",
}  # fmt: skip
SAME_MARKS = {
    "\\{": "\\{", "\\}": "\\}", "\\%": "%", "\\$": "$", "<=": "le", ">=": "ge", "!=": "ne",
    "**": "^", "\\\\": "newline",
}  # fmt: skip
SIGNS = {
    "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "\\div ", "±": "\\pm ", "∓": "\\pm ",
    "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "∞": "\\infty ", "∪": "\\cup ",
    "∈": "\\in ", "√": "\\sqrt ", "°": "^\\circ ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}",
    "−": "-", "–": "-", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ",
    "θ": "\\theta ", "λ": "\\lambda ", "μ": "\\mu ", "π": "\\pi ", "ρ": "\\rho ",
    "σ": "\\sigma ", "τ": "\\tau ", "φ": "\\phi ", "ϕ": "\\phi ", "ω": "\\omega ",
    "ε": "\\epsilon ", "ζ": "\\zeta ", "η": "\\eta ", "κ": "\\kappa ", "ν": "\\nu ",
    "ξ": "\\xi ", "χ": "\\chi ", "ψ": "\\psi ", "Γ": "\\Gamma ", "Δ": "\\Delta ",
    "Θ": "\\Theta ", "Λ": "\\Lambda ", "Π": "\\Pi ", "Σ": "\\Sigma ", "Φ": "\\Phi ",
    "Ψ": "\\Psi ", "Ω": "\\Omega ",
}  # fmt: skip
