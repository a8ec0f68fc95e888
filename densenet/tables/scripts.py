"""How well bytes read as text in an encoding: by the letters of the languages that are written in it."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from typing import NamedTuple

_RUSSIAN = "оеаинтсрвлк мдпуяыьгзб чйхжшюцщэфъё"
_GREEK = "αοιετσνηυρπ κμλςωόίδγά χθύφβέξήζώψ"
_ARABIC = "ايلمونرت بةعدسفهكقأحج شصخطىإضذئغثءزظآؤ"
_HEBREW = "יוהלאתרמ בשנכםדקעחפ ןטגסזךץצף"
_THAI = "านรกอเงมยลวดทส ต่้ัิีะปบคห แจพขใไชุูโ์ถำณ็ื"
_CENTRAL = ("áéíěščřžýůúťďň", "óąęłżśćńź", "áéíóöőúüű", "čšžćđ", "ăâîşţ", "áäčďéíĺľňóôŕšťúýž")
_TURKISH = ("ığşüöçıâ",)
_WESTERN = ("äöüßé", "éèàêçâîôùëïûœÿ", "óáíéñúü", "ãçáéóêíõâúôà", "àèéìòù", "äöåé", "øåæéö", "áéíóúöæ ðýþ", "äöõü")
_ANY_WESTERN = f" {''.join(_WESTERN)}"
_JAPANESE = "男女東京大阪都府県市区町日本中人年月有無高低"
_CHINESE = "男女是否有无不中国北上海京广东市区省县年月人大小高低好"
_TAIWANESE = "男女是否有無不中國臺北市區縣年月人大小高低好"
_SYMBOLS = "°£€²³µ§©®±½¼¾\u2013—\u2018\u2019“”„…•·\u00d7÷«»¿¡ªº™\u00a0"
_APOSTROPHE = re.compile(r"(?<=[A-Za-z])\u2019(?=(?:s|t|d|m|ll|re|ve)\b)|(?<=\b[A-Za-z])\u2019(?=\w)")

_WEIGHTS = (1.0, 0.6, 0.3)
"""Of common, usual and rare letters, which a blank parts in an alphabet."""
_SAMPLE = 8000


class Script(NamedTuple):
    """An encoding; how much of a language a character is, in each of the languages written in it; whether Latin."""

    encoding: str
    languages: tuple[Callable[[str], float], ...]
    latin: bool = False


def _letters(alphabet: str) -> Callable[[str], float]:
    weights = {letter: w for part, w in zip(alphabet.split(" "), _WEIGHTS, strict=False) for letter in part}
    return lambda letter: weights.get(letter.lower(), 0.0)


def _script(encoding: str, *alphabets: str) -> Script:
    return Script(encoding, tuple(map(_letters, alphabets)), alphabets[0].islower() and alphabets[0][0] < "\u0250")


def _east_asian(encoding: str, common: str, *ranges: tuple[int, int, float]) -> Script:
    """Weights by the two bytes of a character; the second is no ASCII in what is common but in Shift-JIS and Big5."""
    trail = 0x40 if encoding in ("cp932", "big5") else 0xA1

    def weight(character: str) -> float:
        if character in common:
            return 1.0
        code = character.encode(encoding)
        if len(code) != 2 or code[1] < trail:
            return 0.2
        return next((w for low, high, w in ranges if low <= code[0] <= high), 0.2)

    return Script(encoding, (weight,))


SCRIPTS = (
    _script("cp1252", *_WESTERN, _ANY_WESTERN),
    _script("mac_roman", *_WESTERN, _ANY_WESTERN),
    _script("cp850", *_WESTERN, _ANY_WESTERN),
    _script("cp1250", *_CENTRAL),
    _script("iso8859-2", *_CENTRAL),
    _script("cp1254", *_TURKISH),
    _script("cp1251", _RUSSIAN),
    _script("koi8-r", _RUSSIAN),
    _script("cp866", _RUSSIAN),
    _script("mac_cyrillic", _RUSSIAN),
    _script("iso8859-5", _RUSSIAN),
    _script("cp1253", _GREEK),
    _script("cp1255", _HEBREW),
    _script("cp1256", _ARABIC),
    _script("cp874", _THAI),
    _east_asian("cp932", _JAPANESE, (0x82, 0x83, 0.95), (0x88, 0x97, 0.85)),  # kana, common signs
    _east_asian("euc_jp", _JAPANESE, (0xA4, 0xA5, 0.95), (0xB0, 0xCF, 0.8)),
    _east_asian("gb18030", _CHINESE, (0xB0, 0xD7, 0.85)),
    _east_asian("big5", _TAIWANESE, (0xA4, 0xC6, 0.85)),
    _east_asian("cp949", "", (0xB0, 0xC8, 0.95)),
)
"""Of encodings that suit equally well the first is taken."""


class Likely(NamedTuple):
    """An encoding, the share of a text that is words in it, from 0 to 1, and a word."""

    share: float
    encoding: str
    word: str


def likely_encodings(data: bytes) -> list[Likely]:
    """The encodings in which bytes above 127 are words, the likeliest first.

    Examples
    --------
    >>> from densenet.tables.scripts import likely_encodings
    >>> likely_encodings("Москва, Киев".encode("cp1251"))[0].encoding
    'cp1251'
    >>> likely_encodings("Köln, Düsseldorf".encode("mac_roman"))[0]
    Likely(share=1.0, encoding='mac_roman', word='Köln')
    """
    sample = _beyond_ascii(data)
    found = []
    for script in SCRIPTS:
        try:
            text = codecs.getincrementaldecoder(script.encoding)().decode(sample)  # a last character may be cut
        except UnicodeDecodeError:
            continue
        word = next((word for word in re.split(r"[\s,;|\"]+", text) if not word.isascii()), "")
        found.append(Likely(_share(text, script), script.encoding, word))
    return sorted((each for each in found if each.share > 0), key=lambda each: -each.share)


def _beyond_ascii(data: bytes) -> bytes:
    """The first lines with bytes above 127, as many as a sample takes."""
    sample = bytearray()
    for line in io.BytesIO(data):
        if not line.isascii():
            first = next(at for at, byte in enumerate(line) if byte > 127)
            sample += line[max(0, first - 80) :]
        if len(sample) > _SAMPLE:
            break
    return bytes(sample[:_SAMPLE])


def _share(text: str, script: Script) -> float:
    """How much of the characters above 127 is of one language of the script, or a symbol that stands by itself."""
    text = " " + _APOSTROPHE.sub("'", text) + " "
    placed = [(text[at - 1], text[at], text[at + 1]) for at, c in enumerate(text) if c > "\x7f"]
    if not placed:
        return 1.0
    symbols = sum(c in _SYMBOLS and a.isascii() and b.isascii() and not (a + b).isalpha() for a, c, b in placed)
    letters = [c for a, c, b in placed if c not in _SYMBOLS and _stands_well(a, c, b, script.latin)]
    return (max(sum(map(weight, letters)) for weight in script.languages) + symbols) / len(placed)


def _stands_well(before: str, letter: str, behind: str, latin: bool) -> bool:
    """Whether a letter may stand between these: no capital behind a small letter, no word of two scripts."""
    beside = [c for c in (before, behind) if c.isalpha()]
    ascii_beside = any(c.isascii() for c in beside)
    return not (letter.isupper() and before.islower()) and (ascii_beside or not beside if latin else not ascii_beside)
