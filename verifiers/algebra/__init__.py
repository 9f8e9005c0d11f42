"""The strict engine: a small LaTeX subset → exact normal forms, with every cost bounded.

It reads what people and models write as final answers, and refuses the rest: it never guesses a
meaning, calls no library, and evaluates nothing that its caps do not allow. It does no calculus and
proves no identity beyond polynomials, radicals and the table of standard angles; what it cannot
decide is `unknown`.

    text → syntax.read_tree → tree → values.evaluate → value → compare.same / value.key
"""
