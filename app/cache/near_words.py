"""English words on which a question turns, for the guard of near reuse (app/cache/near.py)."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred hundreds thousand thousands million millions billion billions trillion "
    "dozen dozens half halves third thirds quarter quarters fourth fourths fifth fifths sixth "
    "seventh eighth ninth tenth tenths hundredth first second last next once twice thrice "
    "double doubles doubled triple triples tripled single pair pairs couple several both "
    "percent percentage"
)
UNITS = _words(
    "mm cm dm m km inch inches in ft foot feet yard yards yd mile miles mi mph kmh kph mg g kg "
    "gram grams kilogram kilograms ton tons tonne tonnes oz ounce ounces lb lbs pound pounds ml "
    "cl l liter liters litre litres gallon gallons pint pints quart quarts cup cups ms s sec "
    "secs seconds min mins minute minutes h hr hrs hour hours day days week weeks month months "
    "year years decade decades century centuries weekday weekend morning noon afternoon evening "
    "night midnight am pm today tomorrow yesterday cent cents dollar dollars euro euros usd eur "
    "gbp penny pennies nickel nickels dime dimes degree degrees radian radians celsius "
    "fahrenheit kelvin square cubic byte bytes kb mb gb tb bit bits volt volts watt watts kwh "
    "joule joules calorie calories acre acres"
)
NEGATIONS = _words(
    "not no never none nothing nobody nowhere neither nor without cannot except unless but "
    "excluding instead false wrong incorrect opposite fail fails failed lack lacks missing "
    "avoid dont doesnt didnt isnt arent wasnt werent wont wouldnt cant couldnt shouldnt hasnt "
    "havent hadnt non un"
)
COMPARISONS = _words(
    "more less most least fewer fewest many much greater greatest larger largest bigger biggest "
    "smaller smallest higher highest lower lowest longer longest shorter shortest taller "
    "tallest older oldest younger youngest faster fastest slower slowest earlier earliest later "
    "latest heavier lighter cheaper better best worse worst than as same equal equals different "
    "exactly at above below over under up down before after until since between within beyond "
    "inside outside from to into onto off out per each every all any some only other another "
    "else also again even odd prime positive negative maximum minimum max min average mean "
    "median mode total sum product difference quotient remainder ratio left remaining rest add "
    "adds added subtract subtracted minus plus times multiply multiplied divide divided by "
    "increase increased increases decrease decreased decreases ascending descending increasing "
    "decreasing forward backward reverse gain gains gained lose loses lost win wins won buy "
    "buys bought sell sells sold give gives gave given take takes took taken get gets got "
    "receive received spend spends spent save saves saved earn earns earned open closed true "
    "right north south east west and or xor if then sin cos tan cot sec csc log ln exp sqrt gcd "
    "lcm mod"
)
"""Words that compare, place, order, move or calculate: their opposites look much alike."""
QUESTION_WORDS = _words(
    "who whom whose what which when where why how is are was were do does did can could will "
    "would should must may might has have had"
)
FIXED_WORDS = NUMBER_WORDS | UNITS | NEGATIONS | COMPARISONS | QUESTION_WORDS
"""What must be the same, word for word and in order."""
OPENERS = _words(
    "a an the this that these those there here it its he she they we you i my our your his her "
    "their calculate compute find determine evaluate solve simplify work tell show give list "
    "name write say state explain describe answer please kindly choose pick select suppose "
    "assume consider let given using use express convert round estimate count prove factor "
    "expand in on at for of to by with from after before during while since because so then now "
    "first next finally also each every all some many most one two three four five six seven "
    "eight nine ten hello hi hey thanks thank once today yesterday tomorrow however therefore "
    "meanwhile together"
)
"""Words that begin a sentence with a capital without being a name."""
