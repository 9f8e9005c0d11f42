"""In which language a text is, as far as its letters and small words tell.

No model and no dependency: a script that only one language uses decides at once, otherwise words
and letters that are typical of a language do. Where they do not tell, the answer is None.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from verifiers.kinds.constraint_checks.instruction import Holds, instruction
from verifiers.kinds.constraint_checks.lists import listed

MAX_CHARS = 20_000
"""Beginning of a text that is looked at."""
ENOUGH_LETTERS = 12
DOMINANT = 0.8
"""Share of the letters that the language's script must have."""


def language_code(value: object) -> str:
    code = str(value).lower().split("-")[0] if isinstance(value, str) else ""
    if code not in _SCRIPT_OF:
        raise ValueError(f"must be one of {', '.join(sorted(_SCRIPT_OF))}")
    return code


@instruction("language:response_language", language=language_code)
def response_language(text: str, language: str) -> Holds:
    return is_in_language(text, language)


def is_in_language(text: str, language: str) -> Holds:
    """Whether the text is in the language; None when there is too little to tell."""
    text = text[:MAX_CHARS].lower()
    scripts = Counter(filter(None, map(_script_of, text)))
    total = scripts.total()
    if total < ENOUGH_LETTERS:
        return None
    wanted = _SCRIPT_OF[language]
    if sum(scripts[script] for script in wanted) < DOMINANT * total:
        return False
    if language == "ja" and not scripts["HIRAGANA"] + scripts["KATAKANA"]:
        return None
    if language == "zh" and scripts["HIRAGANA"] + scripts["KATAKANA"] > total * 0.05:
        return False
    rivals = [other for other, script in _SCRIPT_OF.items() if script == wanted]
    return True if rivals == [language] else _by_words(text, language, rivals)


def _by_words(text: str, language: str, rivals: list[str]) -> Holds:
    """The language whose typical words are clearly the most, if any is."""
    found = Counter(_WORD.findall(text))
    scores = {code: sum(found[word] for word in _TYPICAL[code]) for code in rivals}
    for code in rivals:
        scores[code] += sum(text.count(char) for char in _LETTERS.get(code, ""))
    best = max(scores.values())
    if best < 2:
        return None
    others = max((scores[code] for code in rivals if code != language), default=0)
    if scores[language] > 1.2 * others:
        return True
    return False if others > 1.5 * scores[language] else None


def _script_of(char: str) -> str | None:
    if not char.isalpha():
        return None
    if char.isascii():
        return "LATIN"
    return unicodedata.name(char, "?").split()[0]


_SCRIPT_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(listed("en de fr es it pt nl sv da no fi pl cs tr vi id sw ro hu"), ("LATIN",)),
    **dict.fromkeys(("ru", "uk", "bg"), ("CYRILLIC",)),
    **dict.fromkeys(("ar", "fa", "ur"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("DEVANAGARI",)),
    "bn": ("BENGALI",),
    "pa": ("GURMUKHI",),
    "gu": ("GUJARATI",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "kn": ("KANNADA",),
    "ml": ("MALAYALAM",),
    "th": ("THAI",),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    "ko": ("HANGUL",),
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "zh": ("CJK",),
}
"""Languages that can be checked, with the scripts in which they are written."""

_WORD = re.compile(r"[^\W\d_]+")
_TYPICAL: dict[str, list[str]] = {
    code: text.split()
    for code, text in {
        "en": "the of and to is that it for with as was are this be have not but from you",
        "de": "der die das und ist nicht ein eine zu mit den von für auf im dem sich auch es ich",
        "fr": "le la les des est et une un dans que pour pas qui sur avec ce il du au vous nous",
        "es": "el los las y es una un en que por con para del no se su como más lo está",
        "it": "il di che è la per un una non sono con del della gli le nel più anche si come",
        "pt": "o os as e é um uma não que para com do da em no na por mais se como você",
        "nl": "de het een en is van dat niet te op voor met zijn er aan ook maar bij je ik",
        "sv": "och att det är en som för på inte med av den jag till har om ett vi så men",
        "da": "og at det er en som for på ikke med af den jeg til har om et vi så men hvad",
        "no": "og å det er en som for på ikke med av den jeg til har om et vi så men hva",
        "fi": "ja on ei se että en oli mutta ovat hän joka kuin niin mitä tämä kun myös olla sen",
        "pl": "i w nie na się jest z że to do co jak ale o od po przez dla są tak",
        "cs": "a se v je na že to s z do o k i jsem ale jak pro tak po by není",
        "tr": "ve bir bu için da de ile çok ne daha olarak gibi ama değil var ben kadar sen",
        "vi": "và của là có không được cho một các người này trong với những đã để tôi khi",
        "id": "yang dan di ini itu dengan untuk tidak dari dalam adalah pada akan ke saya juga",
        "sw": "ya na wa kwa ni za katika la kama cha hii yake lakini sana hakuna watu kuwa au",
        "ro": "și în de la cu nu este un o care pe pentru din mai sunt ce să al lui",
        "hu": "a az és hogy nem egy is van meg de volt csak ez el már mint ha kell",
        "ru": "и в не на что он как это по но из за то все так его для был мы вы",
        "uk": "і в не на що він як це та але із до за то все так його для був ми ви є",
        "bg": "и в не на че той как това по но от за се са да си ще е съм още като",
        "ar": "في من على إلى أن هذا هذه التي الذي لا ما كان مع عن هو هي كل أو قد",
        "fa": "در از به که این را با است برای آن یک می خود تا بر هم نیز ما شما",
        "ur": "کے کی میں ہے کا اور سے نے کو پر یہ ہیں کہ اس ایک بھی نہیں ہو تھا",
        "hi": "है के की में का और से को पर यह हैं कि एक नहीं भी हो था ने",
        "mr": "आहे आणि या ते च्या हे मध्ये एक तो ती नाही होते आहेत पण काय मी",
        "ne": "छ र को मा का छन् यो हो गर्न लागि एक पनि भएको तर हुन्छ थियो",
        "ja": "",
        "zh": "",
    }.items()
}
_LETTERS = {
    "de": "ß",
    "vi": "ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđ",
    "pl": "łąęśżź",
    "cs": "ěřů",
    "tr": "ğış",
    "ro": "țșă",
    "hu": "őű",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "uk": "іїєґ",
    "ru": "ыэё",
    "fa": "پچژگ",
    "ur": "ٹڈڑےںہ",
    "mr": "ळ",
}
"""Letters that among the languages of a script are typical of one."""
