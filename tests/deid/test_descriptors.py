"""Of descriptions only radiology's words are left."""

import hypothesis
import pytest
from hypothesis import strategies as st

from radkit.deid import descriptors

# Common given names and surnames of several countries, those above all that are words or abbreviations of radiology.
_NAMES = """
smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson
thomas taylor moore jackson martin lee perez thompson white harris sanchez clark ramirez lewis robinson walker
young allen king wright scott torres nguyen hill flores green adams nelson baker hall rivera campbell mitchell
carter roberts gomez phillips evans turner diaz parker cruz edwards collins reyes stewart morris morales murphy
cook rogers gutierrez ortiz morgan cooper peterson bailey reed kelly howard ramos kim cox ward richardson watson
brooks chavez wood bennett gray mendoza ruiz hughes price alvarez castillo sanders patel myers long ross foster
jimenez powell jenkins perry russell sullivan bell coleman butler henderson barnes fisher vasquez simmons jordan
patterson reynolds hamilton graham gonzales alexander griffin wallace moreno west cole hayes bryant herrera
gibson ellis tran medina aguilar stevens murray ford castro marshall owens harrison fernandez mcdonald woods
washington kennedy wells vargas henry chen freeman webb tucker guzman burns crawford olson simpson porter hunter
gordon mendez silva shaw snyder mason dixon munoz hunt hicks holmes palmer wagner black robertson boyd stone
salazar fox warren mills meyer rice schmidt garza daniels ferguson nichols stephens soto weaver ryan gardner
payne grant dunn kelley spencer hawkins arnold pierce hansen peters santos hart bradley knight elliott
cunningham duncan armstrong hudson carroll lane riley andrews alvarado ray delgado berry perkins hoffman johnston
matthews pena richards contreras willis carpenter lawrence sandoval guerrero george chapman rios estrada ortega
watkins greene nunez wheeler valdez harper burke larson santiago maldonado morrison franklin carlson austin
dominguez carr lawson jacobs obrien lynch singh vega bishop montgomery oliver jensen harvey williamson gilbert
dean sims espinoza howell li wong reid hanson le mccoy garrett burton fuller wang weber welch rojas lucas marquez
fields park yang little banks padilla day walsh bowman schultz luna fowler mejia
james robert john michael david william richard joseph christopher charles daniel matthew anthony mark donald
steven paul andrew joshua kenneth kevin brian timothy ronald jason edward jeffrey jacob gary nicholas eric
jonathan larry justin brandon benjamin samuel gregory patrick frank raymond jack dennis jerry tyler aaron jose
mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy betty sandra margaret ashley
kimberly emily donna michelle carol amanda melissa deborah stephanie rebecca sharon laura cynthia dorothy amy
kathleen angela shirley emma brenda pamela nicole anna samantha katherine christine helen debra rachel carolyn
janet maria heather diane olivia julie joyce victoria ruth virginia lauren kelly christina joan evelyn judith
mueller schneider fischer becker schulz koch bauer richter klein wolf neumann schwarz zimmermann braun hofmann
lange krause lehmann herrmann walter mayer huber kaiser fuchs lang scholz vogel jung hahn roth gross stein frey
bernard dubois durand moreau laurent simon lefebvre leroy roux bertrand morel fournier girard bonnet dupont
rossi russo ferrari esposito bianchi romano ricci marino greco conti deluca costa giordano mancini rizzo
jansen devries vanberg bakker visser dekker vos bos mulder jong cor kees piet hans jan klaas
zhang liu huang zhao wu zhou xu sun ma zhu hu guo lin luo zheng liang xie tang han deng feng cao peng zeng xiao
tian dong pan yuan cai jiang yu du ye cheng wei su lu ding ren lai tan chin chan cheung lau tse ho yip fung
park choi jeong kang cho yoon jang lim shin sim seo kwon hwang ahn song ryu hong min jun in se
sato suzuki takahashi tanaka watanabe ito yamamoto nakamura kobayashi kato yoshida yamada sasaki
kumar sharma rao reddy gupta das shah khan ali ahmed hassan hussain omar abdo deep nav
vu bui dang do ngo duong ly the thanh tuan lao vang vue per line bold hila mar sol
hodgkin parkinson alzheimer crohn waters towne caldwell merchant doe roe iris carina sella ada may
april june rose violet dawn joy hope faith grace norm max bravo swan trace art rich will bill pat sal gene
short best sharp early blade colon cross stone good day close noble temple mann low high field page
"""
NAMES = frozenset(_NAMES.split())

WORDS = sorted(descriptors.vocabulary())
MEASURES = ["5mm", "3 mm", "1.5 t", "120 kV", "0,6 mm", "30 cm", "10ms", "400ml", "3T"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("HEAD^Routine 3.0 mm Dr. Example 01.02.1950", "HEAD Routine 3.0 mm"),
        ("t2_haste_sag_3mm", "t2 haste sag 3mm"),
        ("CT Thorax/Abdomen mit KM  1.5 B40f", "CT Thorax Abdomen mit KM B40f"),
        ("IRM du genou gauche", "IRM genou gauche"),
        ("RM rodilla derecha", "rodilla derecha"),
        ("L5/S1, T1w 1.5T", "L5 S1 T1w 1.5T"),
        ("5mm", "5mm"),
        ("3 mm", "3 mm"),
        ("1.5 t", "1.5 t"),
        ("120 kv", "120 kv"),
        ("b40f H30s", "b40f H30s"),
        ("", ""),
        ("   ", ""),
        # Names, also around known words; words of other scripts, of which no half is left.
        ("Smith^John head", "head"),
        ("Dixon Colon Tse", ""),
        ("Sch\u00e4del CT", "CT"),
        ("Scha\u0308CT", ""),
        ("\u80f8\u90e8CT \u0433\u0440\u0443\u0434\u044c", ""),
        ("5 \u212ahz 5\u2003mm", ""),
        # Ages, dates, years, heights, numbers.
        ("45 year old male", ""),
        ("45y M, 045Y, 3 months, in her 40s", ""),
        ("45 Min Soo, 45 Ms Roe, 45 MG, 45 ML, 45 CC", "MG ML CC"),
        ("12.03.1980 mm", ""),
        ("2024-03-04 T", ""),
        ("1980 T. Roe, 1980 mm, 175 cm, 80 kg", ""),
        ("5.mm 5/mm 5 x mm", ""),
        ("1234567 mm, 12.345 mm, MRN 1234", ""),
        ("+1 212 555 0100, roe@example.com, http://example.com/12", ""),
    ],
)
def test_known_words_stay_and_others_go(text: str, clean: str) -> None:
    assert descriptors.clean(text) == clean


def test_no_word_is_a_common_name() -> None:
    assert not descriptors.vocabulary() & NAMES


def test_the_vocabulary_is_sorted_lower_case_and_has_no_single_letters() -> None:
    lines = descriptors.VOCABULARY.read_text(encoding="ascii").splitlines()
    assert lines == sorted(set(lines))
    assert all(line.isalnum() and line == line.lower() and len(line) > 1 for line in lines)


def test_no_word_says_an_age_or_a_sex() -> None:
    said = {"adult", "child", "kind", "kinder", "pediatric", "infant", "newborn", "baby", "male", "female", "man",
            "woman", "mann", "frau", "year", "years", "old", "yo", "jahre", "ans", "senior", "juvenile"}  # fmt: skip
    assert not descriptors.vocabulary() & said


@pytest.mark.parametrize("word", WORDS[::7])
def test_each_word_of_the_vocabulary_stays(word: str) -> None:
    assert descriptors.clean(word.upper()) == word.upper()


def is_allowed(clean: str) -> bool:
    """Returns whether a cleaned text holds the vocabulary's words and numbers with units alone."""
    words = clean.split(" ") if clean else []
    for before, word in zip(["", *words], words):
        known = word.lower() in descriptors.vocabulary()
        unit = word.lower() in descriptors.LIMITS and before[:1].isdigit()
        number = word[0].isdigit() and sum(character.isdigit() for character in word) <= 4
        if not (known or unit or number):
            return False
    return True


PIECES = st.one_of(
    st.sampled_from([*WORDS, *MEASURES, *descriptors.LIMITS, "45", "1980", "Roe", "."]), st.text(max_size=5)
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.tuples(st.lists(PIECES), st.sampled_from([" ", "_", "^", "", "-", "."])).map(
        lambda drawn: drawn[1].join(drawn[0])
    ),
)


@hypothesis.given(TEXTS)
def test_what_is_clean_stays_so_and_holds_known_words_alone(text: str) -> None:
    clean = descriptors.clean(text)
    assert descriptors.clean(clean) == clean
    assert is_allowed(clean)
    assert clean.isascii()
    assert len(clean) <= len(text)


@hypothesis.given(st.lists(st.sampled_from([*WORDS, *MEASURES])), st.sampled_from("_/^;|()"))
def test_known_words_stay_in_order(words: list[str], gap: str) -> None:
    # Not a blank: a unit's name among the words would come after a number.
    assert descriptors.clean(gap.join(words)) == " ".join(words)


@hypothesis.given(
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.one_of(
        st.sampled_from(sorted(NAMES)), st.from_regex(r"[a-z]{9,14}|[0-9]{5,12}|[0-9]{2}[A-Z]{5}", fullmatch=True)
    ),
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.sampled_from([" ", "^", "_", ", ", "\\"]),
)
def test_a_planted_string_vanishes(before: list[str], planted: str, after: list[str], gap: str) -> None:
    hypothesis.assume(planted not in descriptors.vocabulary())
    text = gap.join([*before, planted.title(), *after])
    assert descriptors.clean(text) == " ".join(before + after)
