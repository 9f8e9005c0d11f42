"""Closed lists of words that instructions refer to."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """The words of a text, in order: how a long list is written here."""
    return tuple(text.split())


PERSON_NAMES = frozenset(
    listed(
        "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte"
        " Alexander Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen"
        " Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David"
        " Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"
    )
)
"""The names that the instruction `count:person_names` gives to choose from."""

CONJUNCTIONS = frozenset(listed("and but for nor or so yet"))

PRONOUNS = frozenset(
    listed(
        "i me we us you he him she her it they them my mine our ours your yours his hers its their"
        " theirs myself ourselves yourself yourselves himself herself itself themselves this that"
        " these those who whom whose which what whoever whomever whatever whichever anybody anyone"
        " anything everybody everyone everything nobody nothing somebody someone something each"
        " either neither both all some any none"
    )
)

STOP_WORDS = frozenset(
    listed(
        "i me my myself we our ours ourselves you your yours yourself yourselves he him his"
        " himself she her hers herself it its itself they them their theirs themselves what which"
        " who whom this that these those am is are was were be been being have has had having do"
        " does did doing a an the and but if or because as until while of at by for with about"
        " against between into through during before after above below to from up down in out on"
        " off over under again further then once here there when where why how all any both each"
        " few more most other some such no nor not only own same so than too very s t can will just"
        " don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn"
        " mustn needn shan shouldn wasn weren won wouldn"
    )
)
"""The words of English that carry no content of their own; `don't` counts as `don` and `t`."""

VERBS = frozenset(
    listed(
        "is are was were be am do does did have has had can could will would shall should must let"
        " imagine consider create write make take give go come get keep begin find think know"
        " understand explain describe discuss analyze analyse evaluate explore ensure include"
        " remember choose learn become bring carry eat enjoy examine identify introduce investigate"
        " join listen maintain meet prepare provide read recommend remove say see select sell send"
        " sing speak suggest teach tell utilize utilise solve implement apply achieve allow avoid"
        " believe compute calculate determine define embrace encourage establish generate gather"
        " grow follow implementing creating using considering exploring making imagining developing"
        " determining finding solving analyzing"
    )
)
"""First words that are verbs, whatever follows."""

NOT_VERBS = frozenset(
    listed(
        "a an the this that these those i you he she it we they my your his her its our their in"
        " on at of for with from by about into over under after before between during without"
        " within and but or nor so yet if because although though while when where who whom whose"
        " which what why how yes no not there here as than then also however therefore moreover"
        " furthermore once each every all some any both few many most several such one two three"
        " four five six seven eight nine ten certainly absolutely definitely unfortunately hello hi"
        " hey dear oh ah well"
    )
)
"""First words that are no verbs, whatever follows."""

AFRICA: tuple[tuple[str, ...], ...] = (
    ("Algeria",), ("Angola",), ("Benin",), ("Botswana",), ("Burkina Faso",), ("Burundi",),
    ("Cabo Verde", "Cape Verde"), ("Cameroon",), ("Central African Republic",), ("Chad",),
    ("Comoros",),
    ("Democratic Republic of the Congo", "Congo, Democratic Republic of the", "DR Congo", "DRC"),
    ("Republic of the Congo", "Congo, Republic of the", "Congo-Brazzaville", "Congo"),
    ("Djibouti",), ("Egypt",), ("Equatorial Guinea",), ("Eritrea",), ("Eswatini", "Swaziland"),
    ("Ethiopia",), ("Gabon",), ("Gambia",), ("Ghana",), ("Guinea",), ("Guinea-Bissau",),
    ("Ivory Coast", "Cote d'Ivoire"), ("Kenya",), ("Lesotho",), ("Liberia",), ("Libya",),
    ("Madagascar",), ("Malawi",), ("Mali",), ("Mauritania",), ("Mauritius",), ("Morocco",),
    ("Mozambique",), ("Namibia",), ("Niger",), ("Nigeria",), ("Rwanda",),
    ("Sao Tome and Principe",), ("Senegal",), ("Seychelles",), ("Sierra Leone",), ("Somalia",),
    ("South Africa",), ("South Sudan",), ("Sudan",), ("Tanzania",), ("Togo",), ("Tunisia",),
    ("Uganda",), ("Zambia",), ("Zimbabwe",),
)  # fmt: skip
"""The 54 countries, each with its names without accents."""

CAPITALS_NORTH_OF_45 = listed(
    "Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin"
    " Amsterdam Warsaw London Brussels Kyiv Prague Luxembourg Paris Vienna Bratislava Budapest"
    " Vaduz Chisinau Bern Ljubljana Zagreb"
)
"""Capitals of European countries from 45 degrees north, from north to south."""
